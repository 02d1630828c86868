//! Tar archives: packed from and unpacked beneath a directory descriptor, never by path.
//!
//! [`unpack`] treats every archive as hostile. Names are taken apart here, parents are opened with openat2 inside the root,
//! the last component is only ever made, never followed; [`UnpackOptions`] says what callers may allow.
//! [`pack`] is deterministic: one tree gives one sequence of bytes.

mod attribute_ids;
mod decode;
mod header;
mod pack;
mod pax;
mod reader;
mod sparse;
mod unpack;
mod writer;

pub use decode::{Compression, decode, decode_as};
pub use header::{Entry, Kind};
pub use pack::{Filter, PackError, PackOptions, Packed, attributes, pack};
pub use reader::{DataError, Reader, TarError};
pub use sparse::SparseMap;
pub use unpack::{Devices, UnpackError, UnpackOptions, Unpacked, Whiteouts, unpack};
pub(crate) use unpack::{is_whiteout, shown};
pub use writer::Writer;

/// Prefix of a file that says "this name of a lower layer is gone"; spec: OCI `layer.md`, "Whiteouts".
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Name of a file that says "nothing of the lower layers shows in this directory".
pub(crate) const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// The attributes that travel in archives. Others belong to the host: overlayfs' own in `trusted.` and `user.overlay.` could
/// redirect a directory, `security.selinux` and `security.ima` label for a policy that is not ours.
pub fn xattr_travels(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !sys::overlay::is_note(name),
    }
}

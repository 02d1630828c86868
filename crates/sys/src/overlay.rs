//! The names under which overlayfs keeps its own notes with the files of a layer.
//!
//! `trusted.overlay.*` can be written only by the host's root. In a user namespace the same notes are called `user.overlay.*`, and
//! the mount says `userxattr` (kernel, "overlayfs", "User xattr"). A data root is used from one side or from the other.

use std::ffi::CStr;

use crate::user::is_in_subordinate_namespace;

/// Says of a directory that nothing of the layers below shows in it; its value is then `y`.
pub fn opaque() -> &'static CStr {
    if is_in_subordinate_namespace() { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" }
}

/// The notes that make a layer depend on those below it; hull's mounts make none.
pub fn entangling() -> [&'static CStr; 2] {
    match is_in_subordinate_namespace() {
        true => [c"user.overlay.redirect", c"user.overlay.metacopy"],
        false => [c"trusted.overlay.redirect", c"trusted.overlay.metacopy"],
    }
}

/// Whether the attribute `name` is a note of overlayfs, under either name.
pub fn is_note(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// The mount options, with their values, that keep upper directories layers by themselves: `redirect_dir`, `metacopy` and `index`
/// would make them unreadable without the very layers below.
pub fn options() -> &'static [(&'static str, Option<&'static str>)] {
    match is_in_subordinate_namespace() {
        // It turns the other two off by itself, and refuses to be told.
        true => &[("index", Some("off")), ("userxattr", None)],
        false => &[("index", Some("off")), ("redirect_dir", Some("off")), ("metacopy", Some("off"))],
    }
}

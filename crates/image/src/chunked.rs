//! Layers whose files can be had one by one: compressed file by file, with an index that says where each is.
//!
//! Two formats are read. *zstd:chunked* keeps the layer's bytes, so its diffID, as they are, and has the index in frames that
//! decompressors skip; it is what is written here. *eStargz* is gzip and has the index as one more file of the layer. In both,
//! annotations of the layer's descriptor in the manifest say where the index is and what digest it has; so who trusts the
//! manifest can verify the index, and with its digests each piece of a file.
//!
//! Specs: containers/storage, `zstd-chunked`; containerd/stargz-snapshotter, `docs/estargz.md`.

mod locate;
mod stream;
mod toc;
mod write;

pub use locate::{IndexPlace, LocateError};
pub use stream::{Announced, ChunkedStream};
pub use toc::{FileIndex, FileKind, Indexed, Piece, TocError};
pub use write::{Annotations, ChunkedWriter};

/// How the pieces of a layer are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceCompression {
    Gzip,
    Zstd,
}

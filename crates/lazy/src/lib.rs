//! Layers that containers use before they are here: a filesystem per layer, whose files are fetched when they are read.
//!
//! A layer that has an index of its files ([`image::chunked`]) is mounted at once: names, owners and sizes are in the index,
//! and what a file holds is fetched in pieces, each verified by its digest. Meanwhile the ordinary pull brings the layer as it
//! brings every layer, verified as a whole; it waits while somebody waits for a piece. When it is done, the layer's snapshot
//! takes the filesystem's place for everybody who comes later, and whoever has it mounted is served from the blob.
//!
//! Layout beneath the run root:
//!
//! ```text
//! lazy/<diffID hex>         a symbolic link: to `layer` in the mount below, later to the snapshot
//! lazy/<diffID hex>.lock    held by who serves it
//! lazy.mounts/<diffID hex>  where the filesystem is mounted until the layer is here
//! lazy.mounts/lock          held (shared) by every process that serves; without a holder, mounts are remains
//! lazy.mounts/start.lock    held while such a process is started
//! lazy.mounts/<pid>.service held by that process alone, which is found by it
//! ```
//!
//! Start reading at [`start()`] and `service.rs` for how it goes, [`Tree`] for what is served, [`Pieces`] for where the bytes come from.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod filesystem;
mod pieces;
mod service;
mod start;
mod tree;

pub use filesystem::{Filesystem, mount};
pub use pieces::{Pieces, Source};
pub use service::{end_services, main, remove_remains};
pub use start::{LazyError, start};
pub use tree::{Node, NodeId, NodeKind, Tree};

//! A container's or image's root as a detached mount: visible through its descriptor only, gone when that is closed.

use oci::DiffId;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use store::Store;
use sys::mount::Attributes;

/// The root of an image with these layers, base first; nothing can be written to it.
pub fn read_only(store: &Store, layers: &[DiffId]) -> io::Result<OwnedFd> {
    match layers {
        [] => Err(io::Error::new(io::ErrorKind::NotFound, "the image has no layers")),
        // An overlay needs two directories.
        [only] => sys::fs::open_dir(store.snapshots().path(only)),
        _ => overlay(&store.snapshots().lower_dirs(layers), None, Attributes::READ_ONLY),
    }
}

/// The root of a container that does not run; writes go to its writable layer.
pub fn writable(store: &Store, layers: &[DiffId], data_dir: &Path) -> io::Result<OwnedFd> {
    let layers = store.snapshots().lower_dirs(layers);
    overlay(&layers, Some(data_dir), Attributes::NONE)
}

/// The root of a container, running or not, that nothing can be written to: its writable layer is one more lower one.
pub fn merged(store: &Store, layers: &[DiffId], data_dir: &Path) -> io::Result<OwnedFd> {
    let mut directories = vec![data_dir.join("upper")];
    directories.extend(store.snapshots().lower_dirs(layers));
    overlay(&directories, None, Attributes::READ_ONLY)
}

/// Mounts `lower`, topmost first, with the writable layer of `data_dir` on top.
fn overlay(lower: &[PathBuf], data_dir: Option<&Path>, attributes: Attributes) -> io::Result<OwnedFd> {
    let over = data_dir.map(|data_dir| (data_dir.join("upper"), data_dir.join("work")));
    let over = over.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
    runtime::overlay::detached(lower, over, attributes).map(sys::mount::Tree::into_fd)
}

//! A container's or image's root as a detached mount: visible through its descriptor only, gone when that is closed.

use oci::DiffId;
use runtime::overlay;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use store::Store;
use sys::mount::{Attributes, Tree};

/// The root of an image with these layers, base first; nothing can be written to it.
pub fn read_only(store: &Store, layers: &[DiffId]) -> io::Result<OwnedFd> {
    match layers {
        [] => Err(io::Error::new(io::ErrorKind::NotFound, "the image has no layers")),
        // An overlay needs two directories.
        [only] => sys::fs::open_dir(store.snapshots().path(only)),
        _ => mount(&store.snapshots().lower_dirs(layers), None, Attributes::READ_ONLY),
    }
}

/// The same to be attached where anybody may find it: neither set-id programs nor devices do anything there, and the mount table
/// calls it `source`. `empty` is a directory without anything in it.
pub fn named(store: &Store, layers: &[DiffId], source: &str, empty: &Path) -> io::Result<Tree> {
    let mut layers = store.snapshots().lower_dirs(layers);
    // An overlay needs two directories.
    layers.push(empty.to_owned());
    let harmless = Attributes::READ_ONLY.with(Attributes::NO_SUID).with(Attributes::NO_DEV);
    overlay::detached(source, &layers, None, harmless)
}

/// The root of a container that does not run; writes go to its writable layer.
pub fn writable(store: &Store, layers: &[DiffId], data_dir: &Path) -> io::Result<OwnedFd> {
    let layers = store.snapshots().lower_dirs(layers);
    mount(&layers, Some(data_dir), Attributes::NONE)
}

/// The root of a container, running or not, that nothing can be written to: its writable layer is one more lower one.
pub fn merged(store: &Store, layers: &[DiffId], data_dir: &Path) -> io::Result<OwnedFd> {
    let mut directories = vec![data_dir.join("upper")];
    directories.extend(store.snapshots().lower_dirs(layers));
    mount(&directories, None, Attributes::READ_ONLY)
}

/// Mounts `lower`, topmost first, with the writable layer of `data_dir` on top.
fn mount(lower: &[PathBuf], data_dir: Option<&Path>, attributes: Attributes) -> io::Result<OwnedFd> {
    let over = data_dir.map(|data_dir| (data_dir.join("upper"), data_dir.join("work")));
    let over = over.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
    overlay::detached(overlay::SOURCE, lower, over, attributes).map(Tree::into_fd)
}

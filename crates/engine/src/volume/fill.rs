//! Fills an empty volume from the image's directory it is mounted on.

use super::{VolumeError, copy};
use crate::engine::Engine;
use crate::rootfs;
use oci::DiffId;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use sys::fs::{FileLock, LockKind, OFlags};

impl Engine {
    /// Copies what `layers` have at `target` into `directory`, with owners, modes and times; does nothing to a volume that is not
    /// empty or when the image has no such directory.
    ///
    /// # Errors
    /// [`VolumeError::Fill`]; a volume of our own is then still empty.
    pub(crate) fn fill_volume(
        &self,
        directory: &Path,
        layers: &[DiffId],
        target: &str,
    ) -> Result<(), VolumeError> {
        let name =
            directory.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let error = |source| VolumeError::Fill { name: name.clone(), path: target.to_owned(), source };
        if !is_empty(directory).map_err(error)? {
            return Ok(());
        }
        let root = rootfs::read_only(self.store(), layers).map_err(error)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let source = match sys::fs::open_in_root(&root, target, flags, 0) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            result => result.map_err(error)?,
        };
        // Two containers may be created on the same new volume at once.
        let place = directory.parent().unwrap_or(directory);
        let lock =
            sys::fs::open_dir(place).and_then(|fd| FileLock::wait(fd, LockKind::Exclusive)).map_err(error)?;
        if is_empty(directory).map_err(error)? {
            self.fill_locked(directory, source.as_fd()).map_err(error)?;
        }
        drop(lock);
        Ok(())
    }

    fn fill_locked(&self, directory: &Path, source: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        if !directory.starts_with(self.store().data().join("volumes")) {
            let destination = sys::fs::open_dir(directory)?;
            return copy::tree(source, destination.as_fd());
        }
        // A copy that was cut short must not look like a filled volume: only the whole one gets the name.
        let filling = directory.with_file_name("_fill");
        sys::fs::remove_tree(&filling)?;
        std::fs::create_dir(&filling)?;
        let filled = sys::fs::open_dir(&filling).and_then(|destination| {
            copy::tree(source, destination.as_fd())?;
            sys::fs::syncfs(&destination)
        });
        let filled = filled.and_then(|()| std::fs::rename(&filling, directory));
        if filled.is_err() {
            let _ = sys::fs::remove_tree(&filling);
        }
        filled
    }
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(directory)?.next().is_none())
}

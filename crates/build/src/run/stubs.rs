//! Mount points a step needed and the image did not have: they are no change of the step's and leave its layer again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::fs::{self, FileType, OFlags};

use crate::tree::{Last, Tree};

/// Removes from `upper` the empty files and directories that only mounting on `destinations` made.
pub fn remove<'p>(
    upper: &Path,
    lower: &Tree,
    destinations: impl Iterator<Item = &'p Path>,
) -> io::Result<()> {
    let upper = fs::open_dir(upper)?;
    for destination in destinations {
        // Where the runtime mounted: through the links of the image, which the step may have changed since.
        let Ok(resolved) = lower.resolve(destination, Last::Follow) else { continue };
        if resolved.entry.is_some() {
            continue;
        }
        let mut path = resolved.path.as_path();
        while let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let dir = match open(&upper, parent) {
                Ok(dir) => dir,
                Err(error) if crate::tree::is_absent(&error) || is_link(&error) => break,
                Err(error) => return Err(error),
            };
            match remove_one(&dir, name, lower, path) {
                Ok(true) => path = parent,
                Ok(false) => break,
                // The parent may be a stub that has other stubs in it, or never came to be.
                Err(error) if error.kind() == io::ErrorKind::NotFound => path = parent,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(crate::tree::ELOOP)
}

fn open(upper: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::open_plain(upper, path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Removes `name` when it holds nothing and says nothing that the layers below do not say.
fn remove_one(dir: &OwnedFd, name: &std::ffi::OsStr, lower: &Tree, path: &Path) -> io::Result<bool> {
    let stat = fs::stat_at(dir, name)?;
    let below = lower.resolve(path, Last::Keep)?.entry;
    match (FileType::from_raw_mode(stat.st_mode), below) {
        (FileType::RegularFile, None) if stat.st_size == 0 => fs::unlink_at(dir, name)?,
        (FileType::Directory, None) => {
            if !is_empty_dir(dir, name)? {
                return Ok(false);
            }
            fs::rmdir_at(dir, name)?;
        }
        (FileType::Directory, Some(below)) if below.is_dir() => {
            // Copied up because something was made in it, and that is gone.
            let same = (stat.st_mode, stat.st_uid, stat.st_gid)
                == (below.stat.st_mode, below.stat.st_uid, below.stat.st_gid);
            let opened = fs::open_dir_at(dir, name)?;
            let opaque = fs::get_xattr(&opened, sys::overlay::opaque())?.is_some();
            if !same || opaque || !is_empty_dir(dir, name)? {
                return Ok(false);
            }
            fs::rmdir_at(dir, name)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn is_empty_dir(dir: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<bool> {
    Ok(fs::read_dir(fs::open_dir_at(dir, name)?.as_fd())?.is_empty())
}

/// Whether `upper` says anything that `lower` does not.
pub fn has_changed(upper: &Path, lower: &Tree) -> io::Result<bool> {
    let dir = fs::open_dir(upper)?;
    if !fs::read_dir(dir.as_fd())?.is_empty() {
        return Ok(true);
    }
    let stat = fs::stat(&dir)?;
    Ok(lower.root()?.is_none_or(|root| {
        (root.stat.st_mode, root.stat.st_uid, root.stat.st_gid) != (stat.st_mode, stat.st_uid, stat.st_gid)
    }))
}

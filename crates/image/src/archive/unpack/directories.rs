//! What is set on directories at the end, when nothing is made in them any more.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use sys::fs::{self, OFlags};

use super::{UnpackError, io_error, set_xattrs};
use crate::archive::header::Entry;

/// Directories of the archive with what it says about them.
#[derive(Default)]
pub struct Pending {
    directories: Vec<Option<Directory>>,
    /// Index by path: an archive may name a directory twice, and the last one counts.
    by_path: HashMap<PathBuf, usize>,
}

struct Directory {
    path: PathBuf,
    entry: Entry,
    opaque: bool,
}

impl Pending {
    pub fn add(&mut self, path: PathBuf, entry: &Entry, owner: (u32, u32), opaque: bool) {
        let mut entry = entry.clone();
        (entry.uid, entry.gid) = owner;
        let mut opaque = opaque;
        if let Some(index) = self.by_path.insert(path.clone(), self.directories.len()) {
            opaque |= self.directories[index].take().is_some_and(|earlier| earlier.opaque);
        }
        self.directories.push(Some(Directory { path, entry, opaque }));
    }

    /// A directory was replaced by something else, with everything below it.
    pub fn forget(&mut self, path: &Path) {
        for slot in &mut self.directories {
            if let Some(directory) = slot.take_if(|d| d.path.starts_with(path)) {
                self.by_path.remove(&directory.path);
            }
        }
    }

    /// Sets everything, children before parents.
    pub fn finish(self, root: BorrowedFd<'_>) -> Result<(), UnpackError> {
        for Directory { path, entry, opaque } in self.directories.into_iter().rev().flatten() {
            let error = |action| io_error(action, &entry.path);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = fs::open_in_root(root, path.as_path(), flags, 0).map_err(error("open"))?;
            fs::chown(&fd, entry.uid, entry.gid).map_err(error("change the owner of"))?;
            fs::chmod(&fd, entry.mode).map_err(error("change the mode of"))?;
            if opaque {
                fs::set_xattr(&fd, sys::overlay::opaque(), b"y").map_err(error("set an attribute of"))?;
            }
            set_xattrs(&entry, |name, value| fs::set_xattr(&fd, name, value))?;
            fs::set_times(&fd, entry.mtime, entry.mtime).map_err(error("set the time of"))?;
        }
        Ok(())
    }
}

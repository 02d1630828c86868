//! Removing directory trees: beneath a descriptor, never through a link, never across a mount.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Deeper directories are first moved up, so that neither the stack nor the descriptors run out on a hostile tree.
const MAX_DEPTH: usize = 64;

/// Removes `path` and everything below it; a missing one is fine.
///
/// # Errors
/// `EXDEV` when something is mounted below `path`: what is mounted there is never touched.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    // The way there may well cross mounts: a root on a disk of its own.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match super::open_dir(parent.unwrap_or(Path::new("."))) {
        Ok(parent) => remove_tree_at(parent, name),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// As [`remove_tree`], for a name in `dir`.
pub fn remove_tree_at(dir: impl AsFd, name: impl super::Arg) -> io::Result<()> {
    let (dir, name) = (dir.as_fd(), name.into_c_str()?);
    let tree = match open_directory(dir, &name) {
        Ok(tree) => tree,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(rustix::fs::unlinkat(dir, &*name, AtFlags::empty())?),
        Err(e) => return Err(e.into()),
    };
    remove_contents(&tree)?;
    match rustix::fs::unlinkat(dir, &*name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Empties a directory.
pub fn remove_contents(tree: impl AsFd) -> io::Result<()> {
    let mut remover = Remover { top: tree.as_fd(), moved: 0 };
    // Each round removes the directories that the round before moved to the top.
    loop {
        let moved = remover.moved;
        remover.empty(tree.as_fd(), 0)?;
        if remover.moved == moved {
            return Ok(());
        }
    }
}

struct Remover<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Remover<'_> {
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> rustix::io::Result<()> {
        let mut entries = Dir::read_from(dir)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR) => {}
                    Err(e) => return Err(e),
                }
            }
            self.directory(dir, name, depth)?;
        }
        Ok(())
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> rustix::io::Result<()> {
        // Empty directories, the most common ones, need not be opened.
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        if depth >= MAX_DEPTH {
            self.moved += 1;
            let aside = CString::new(format!(".hull-removing-{}", self.moved)).expect("no NUL in a number");
            match rustix::fs::renameat_with(dir, name, self.top, &aside, rustix::fs::RenameFlags::NOREPLACE) {
                // Left by an interrupted removal: it goes first or last, this one takes another number next round.
                Err(Errno::EXIST) => return Ok(()),
                other => return other,
            }
        }
        let child = match open_directory(dir, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e),
        };
        self.empty(child.as_fd(), depth + 1)?;
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A directory deeper down waits at the top, or took a name that was in use: the next round removes this one.
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.moved > 0 => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV);
    match open() {
        // A directory its owner may not read; root never gets here.
        Err(Errno::ACCESS) => {
            super::chmod_at(dir, name, 0o700).map_err(|_| Errno::ACCESS)?;
            open()
        }
        other => other,
    }
}

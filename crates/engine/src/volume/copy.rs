//! Copies a tree with everything a file has but its links to elsewhere: owner, mode, times, extended attributes, holes.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::fs::{FileType, Node, OFlags, Stat};

/// Copies what is in the directory `from` into the empty directory `to`, then makes `to` itself look like `from`.
///
/// No path is ever followed: every entry is opened by its name in a directory that is already open.
pub fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut copier = Copier { links: HashMap::new(), targets: Vec::new() };
    copier.directory(from, to)
}

struct Copier {
    /// Files with several names, by device and inode, and the index of their first copy in `targets`.
    links: HashMap<(u64, u64), usize>,
    targets: Vec<OwnedFd>,
}

impl Copier {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        for (name, kind) in sys::fs::read_dir(from)? {
            self.entry(from, to, &name, kind)?;
        }
        let stat = sys::fs::stat(from)?;
        finish(from, to, &stat)
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> io::Result<()> {
        match kind {
            FileType::Directory => {
                let source = sys::fs::open_dir_at(from, name)?;
                sys::fs::mkdir_at(to, name, 0o700)?;
                let target = sys::fs::open_dir_at(to, name)?;
                self.directory(source.as_fd(), target.as_fd())
            }
            FileType::RegularFile => self.file(from, to, name),
            FileType::Symlink => {
                let stat = sys::fs::stat_at(from, name)?;
                sys::fs::symlink_at(sys::fs::read_link_at(from, name)?.as_c_str(), to, name)?;
                sys::fs::chown_at(to, name, stat.st_uid, stat.st_gid)?;
                let (access, modified) = times(&stat);
                sys::fs::set_times_at(to, name, access, modified)
            }
            _ => self.special(from, to, name),
        }
    }

    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let source = sys::fs::open_at(from, name, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
        let stat = sys::fs::stat(&source)?;
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            return sys::fs::link_open_file(&self.targets[*first], to, name);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let target = sys::fs::open_at(to, name, flags, 0o600)?;
        let (source, target) = (File::from(source), File::from(target));
        sys::fs::copy_hole_aware(&source, &target, stat.st_size as u64)?;
        finish(source.as_fd(), target.as_fd(), &stat)?;
        if stat.st_nlink > 1 {
            self.links.insert(key, self.targets.len());
            self.targets.push(target.into());
        }
        Ok(())
    }

    fn special(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let stat = sys::fs::stat_at(from, name)?;
        let (major, minor) = sys::fs::device_numbers(stat.st_rdev);
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Node::Character { major, minor },
            FileType::BlockDevice => Node::Block { major, minor },
            FileType::Fifo => Node::Fifo,
            // A socket is meaningless without the process that listens on it.
            _ => return Ok(()),
        };
        sys::fs::mknod_at(to, name, node, stat.st_mode & 0o7777)?;
        sys::fs::chown_at(to, name, stat.st_uid, stat.st_gid)?;
        sys::fs::chmod_at(to, name, stat.st_mode & 0o7777)
    }
}

/// Owner before mode, because changing the owner drops set-user-ID bits; times last.
fn finish(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    for attribute in sys::fs::list_xattrs(from)? {
        // Overlayfs keeps its own books there.
        if sys::overlay::is_note(attribute.to_bytes()) {
            continue;
        }
        if let Some(value) = sys::fs::get_xattr(from, &attribute)? {
            sys::fs::set_xattr(to, &attribute, &value)?;
        }
    }
    sys::fs::chown(to, stat.st_uid, stat.st_gid)?;
    sys::fs::chmod(to, stat.st_mode & 0o7777)?;
    let (access, modified) = times(stat);
    sys::fs::set_times(to, access, modified)
}

fn times(stat: &Stat) -> ((i64, u32), (i64, u32)) {
    ((stat.st_atime, stat.st_atime_nsec as u32), (stat.st_mtime, stat.st_mtime_nsec as u32))
}

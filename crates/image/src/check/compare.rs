//! Two trees side by side: a snapshot, and the same layer unpacked once more.
//!
//! What an archive cannot hold is no difference: sockets, attributes that belong to the host, fractions of seconds. Times of
//! directories are none either, because an archive need not name every directory, and those it leaves out have the time at
//! which they were unpacked.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::fs::{self, FileType, OFlags, Stat};

use crate::archive::{is_whiteout, shown, xattr_travels};

const BUFFER: usize = 128 << 10;

/// How a snapshot differs from its layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first one in order of names: `etc/passwd has other content`.
    pub first: String,
    pub count: u64,
}

/// Compares the tree `found` with the tree `expected`, entry by entry.
///
/// Trouble with reading `found` is a difference.
///
/// # Errors
/// Those of reading `expected`.
pub fn compare(found: BorrowedFd<'_>, expected: BorrowedFd<'_>) -> io::Result<Differences> {
    let mut comparison = Comparison::default();
    comparison.attributes(b".", &Side::of(found)?, &Side::of(expected)?);
    let mut levels =
        vec![comparison.level(Vec::new(), found.try_clone_to_owned()?, expected.try_clone_to_owned()?)?];
    // Without recursion; a tree may be deeper than a stack.
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.common.pop() else {
            levels.pop();
            continue;
        };
        let path = [&level.path, name.as_bytes()].concat();
        let (found, expected) = (level.found.as_fd(), level.expected.as_fd());
        if let Some((found, expected)) = comparison.member(&path, &name, found, expected)? {
            let below = comparison.level([&path, &b"/"[..]].concat(), found, expected)?;
            levels.push(below);
        }
    }
    Ok(comparison.differences)
}

/// A directory that both trees have.
struct Level {
    /// Relative to the root, with a slash at its end unless it is the root.
    path: Vec<u8>,
    found: OwnedFd,
    expected: OwnedFd,
    /// Names that both have and that are left to compare, last one first.
    common: Vec<CString>,
}

#[derive(Default)]
struct Comparison {
    differences: Differences,
    /// The file here for each file there that has several names, and the other way round.
    links: [HashMap<u64, u64>; 2],
    buffers: [Vec<u8>; 2],
}

/// One of the two that are compared.
struct Side {
    stat: Stat,
    xattrs: Vec<(CString, Option<Vec<u8>>)>,
}

impl Side {
    fn of(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let mut names = fs::list_xattrs(directory)?;
        names.retain(|name| matters(name));
        let mut xattrs = Vec::with_capacity(names.len());
        for name in names {
            let value = fs::get_xattr(directory, &name)?;
            xattrs.push((name, value));
        }
        xattrs.sort_unstable();
        Ok(Self { stat: fs::stat(directory)?, xattrs })
    }

    fn at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        let mut names = fs::list_xattrs_at(directory, name)?;
        names.retain(|name| matters(name));
        let mut xattrs = Vec::with_capacity(names.len());
        for attribute in names {
            let value = fs::get_xattr_at(directory, name, &attribute)?;
            xattrs.push((attribute, value));
        }
        xattrs.sort_unstable();
        Ok(Self { stat: fs::stat_at(directory, name)?, xattrs })
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn kind_name(&self) -> &'static str {
        match self.kind() {
            _ if is_whiteout(&self.stat) => "a whiteout",
            FileType::Directory => "a directory",
            FileType::RegularFile => "a file",
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a fifo",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            _ => "something else",
        }
    }
}

/// Whether an attribute comes from the layer.
fn matters(name: &CStr) -> bool {
    xattr_travels(name.to_bytes()) || name == sys::overlay::opaque()
}

impl Comparison {
    fn note(&mut self, path: &[u8], what: impl AsRef<str>) {
        if self.differences.count == 0 {
            self.differences.first = format!("{} {}", shown(path), what.as_ref());
        }
        self.differences.count += 1;
    }

    /// What is read of the tree found, or a note that it cannot be.
    fn readable<T>(&mut self, path: &[u8], read: io::Result<T>) -> Option<T> {
        read.map_err(|error| self.note(path, format!("cannot be read: {error}"))).ok()
    }

    /// Opens a directory of both, and notes the names that only one has.
    fn level(&mut self, path: Vec<u8>, found: OwnedFd, expected: OwnedFd) -> io::Result<Level> {
        let mut names: Vec<CString> = sorted(fs::read_dir(expected.as_fd())?);
        let mut common = Vec::with_capacity(names.len());
        let here = fs::read_dir(found.as_fd());
        let mut here = sorted(self.readable(&path, here).unwrap_or_default());
        while let Some(name) = [names.last(), here.last()].into_iter().flatten().max().cloned() {
            let wanted = names.pop_if(|last| *last == name).is_some();
            let there = here.pop_if(|last| *last == name).is_some();
            let whole = || [&path, name.as_bytes()].concat();
            match (wanted, there) {
                (true, true) => common.push(name),
                (true, false) => self.note(&whole(), "is missing"),
                _ if is_socket(found.as_fd(), &name) => {}
                _ => self.note(&whole(), "does not belong there"),
            }
        }
        Ok(Level { path, found, expected, common })
    }

    /// Compares what both have under one name; returns directories to go on with.
    fn member(
        &mut self,
        path: &[u8],
        name: &CStr,
        found: BorrowedFd<'_>,
        expected: BorrowedFd<'_>,
    ) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
        let there = Side::at(expected, name)?;
        let Some(here) = self.readable(path, Side::at(found, name)) else { return Ok(None) };
        let kind = there.kind();
        let links = (here.stat.st_nlink.max(there.stat.st_nlink) > 1)
            .then_some((here.stat.st_ino, there.stat.st_ino));
        if !self.attributes(path, &here, &there) {
            return Ok(None);
        }
        match kind {
            FileType::Directory => {
                let there = fs::open_dir_at(expected, name)?;
                let here = self.readable(path, fs::open_dir_at(found, name));
                return Ok(here.map(|here| (here, there)));
            }
            FileType::Symlink => {
                let there = fs::read_link_at(expected, name)?;
                let here = self.readable(path, fs::read_link_at(found, name));
                if here.is_some_and(|here| here != there) {
                    self.note(path, "leads elsewhere");
                }
            }
            // Content of a file with several names is compared once.
            FileType::RegularFile if links.is_none_or(|links| !self.seen(path, links)) => {
                self.content(path, name, found, expected)?
            }
            _ => {}
        }
        Ok(None)
    }

    /// Compares what describes a file; `false` when there is no use in looking further.
    fn attributes(&mut self, path: &[u8], here: &Side, there: &Side) -> bool {
        let kind = there.kind();
        if here.kind() != kind || is_whiteout(&here.stat) != is_whiteout(&there.stat) {
            self.note(path, format!("is {}, not {}", here.kind_name(), there.kind_name()));
            return false;
        }
        if is_whiteout(&there.stat) {
            return false;
        }
        let (found, expected) = (&here.stat, &there.stat);
        if kind != FileType::Symlink && found.st_mode != expected.st_mode {
            let (found, expected) = (found.st_mode & 0o7777, expected.st_mode & 0o7777);
            self.note(path, format!("has mode {found:04o}, not {expected:04o}"));
        }
        if (found.st_uid, found.st_gid) != (expected.st_uid, expected.st_gid) {
            let owner = |stat: &Stat| format!("{}:{}", stat.st_uid, stat.st_gid);
            self.note(path, format!("belongs to {}, not {}", owner(found), owner(expected)));
        }
        if here.xattrs != there.xattrs {
            self.note(path, "has other attributes");
        }
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
            && found.st_rdev != expected.st_rdev
        {
            self.note(path, "is another device");
        }
        if kind == FileType::RegularFile {
            if found.st_size != expected.st_size {
                self.note(path, format!("has {} bytes, not {}", found.st_size, expected.st_size));
                return false;
            }
            if found.st_mtime != expected.st_mtime {
                self.note(path, "has another time");
            }
        }
        true
    }

    /// Whether these two were met before, under other names. One of them alone is a link that is none, or one too many.
    fn seen(&mut self, path: &[u8], (here, there): (u64, u64)) -> bool {
        let [by_here, by_there] = &mut self.links;
        match (by_here.insert(here, there), by_there.insert(there, here)) {
            (None, None) => false,
            (Some(before_there), Some(before_here)) if (before_here, before_there) == (here, there) => true,
            _ => {
                self.note(path, "is linked to another file");
                false
            }
        }
    }

    fn content(
        &mut self,
        path: &[u8],
        name: &CStr,
        found: BorrowedFd<'_>,
        expected: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let open = |directory| fs::open_at(directory, name, OFlags::RDONLY | OFlags::NONBLOCK, 0);
        let mut there = File::from(open(expected)?);
        let Some(here) = self.readable(path, open(found)) else { return Ok(()) };
        let mut here = File::from(here);
        let mut buffers = std::mem::take(&mut self.buffers);
        let same = same_content(&mut here, &mut there, &mut buffers);
        self.buffers = buffers;
        if self.readable(path, same?) == Some(false) {
            self.note(path, "has other content");
        }
        Ok(())
    }
}

/// The outer result is of reading `there`, the inner one of reading `here`.
fn same_content(
    here: &mut File,
    there: &mut File,
    [left, right]: &mut [Vec<u8>; 2],
) -> io::Result<io::Result<bool>> {
    loop {
        fill(there, right)?;
        if let Err(error) = fill(here, left) {
            return Ok(Err(error));
        }
        if left != right || right.is_empty() {
            return Ok(Ok(left == right));
        }
    }
}

/// Reads the next piece of a file.
fn fill(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    file.take(BUFFER as u64).read_to_end(buffer).map(drop)
}

fn sorted(entries: Vec<(CString, FileType)>) -> Vec<CString> {
    let mut names: Vec<CString> = entries.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn is_socket(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    fs::stat_at(directory, name).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Socket)
}

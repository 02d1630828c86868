//! What a container changed, as `docker diff` lists it.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use sys::fs::{self, FileType};

use crate::archive::is_whiteout;

/// One changed path, absolute inside the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub path: PathBuf,
    pub kind: ChangeKind,
}

/// How it changed; shown as `A`, `C` and `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// Compares an overlay's upper directory with its lower ones, topmost first. Sorted by path.
///
/// # Errors
/// Those of reading the directories.
pub fn diff(upper: &Path, lowers: &[PathBuf]) -> io::Result<Vec<Change>> {
    let upper = fs::open_dir(upper)?;
    let lowers = lowers.iter().map(fs::open_dir).collect::<io::Result<Vec<_>>>()?;
    let mut changes = Vec::new();
    compare(&upper, &lowers, Vec::from(b"/"), &mut changes)?;
    changes.sort();
    Ok(changes)
}

/// `path` ends with a slash.
fn compare(upper: &OwnedFd, lowers: &[OwnedFd], path: Vec<u8>, changes: &mut Vec<Change>) -> io::Result<()> {
    let change = |name: &[u8], kind| Change { path: path_of([&*path, name].concat()), kind };
    let mut names: BTreeSet<CString> =
        fs::read_dir(upper.as_fd())?.into_iter().map(|(name, _)| name).collect();
    let opaque = fs::get_xattr(upper, sys::overlay::opaque())?.is_some_and(|value| value == b"y");
    if opaque {
        for name in visible_names(lowers)? {
            if !names.contains(&name) {
                changes.push(change(name.to_bytes(), ChangeKind::Deleted));
            }
        }
    }
    while let Some(name) = names.pop_first() {
        let stat = fs::stat_at(upper, &*name)?;
        let below = existing(lowers, &name)?;
        if is_whiteout(&stat) {
            if below.is_some() {
                changes.push(change(name.to_bytes(), ChangeKind::Deleted));
            }
            continue;
        }
        let kind = if below.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        changes.push(change(name.to_bytes(), kind));
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let next = [&*path, name.to_bytes(), b"/"].concat();
            compare(&fs::open_dir_at(upper, &*name)?, &below.unwrap_or_default(), next, changes)?;
        }
    }
    Ok(())
}

/// Whether a name shows in the lower directories; when it is a directory, those that make it up.
fn existing(lowers: &[OwnedFd], name: &CStr) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut found = None;
    for lower in lowers {
        let stat = match fs::stat_at(lower, name) {
            Ok(stat) => stat,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        if is_whiteout(&stat) {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Some(found.unwrap_or_default()));
        }
        let directory = fs::open_dir_at(lower, name)?;
        let opaque = fs::get_xattr(&directory, sys::overlay::opaque())?.is_some_and(|value| value == b"y");
        found.get_or_insert_with(Vec::new).push(directory);
        if opaque {
            break;
        }
    }
    Ok(found)
}

fn visible_names(lowers: &[OwnedFd]) -> io::Result<BTreeSet<CString>> {
    let mut names = BTreeSet::new();
    for lower in lowers {
        for (name, _) in fs::read_dir(lower.as_fd())? {
            names.insert(name);
        }
    }
    let mut visible = BTreeSet::new();
    for name in names {
        if existing(lowers, &name)?.is_some() {
            visible.insert(name);
        }
    }
    Ok(visible)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    std::ffi::OsString::from_vec(bytes).into()
}

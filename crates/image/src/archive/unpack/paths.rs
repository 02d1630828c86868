//! Names taken apart, and the directories they lead to.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sys::fs::{self, OFlags};

use super::{UnpackError, shown};

/// More open directories than this are not kept; archives are in order of directories anyway.
const MAX_OPEN: usize = 64;

/// Where an entry belongs.
pub enum Name<'a> {
    /// The directory the archive is unpacked into.
    Root,
    /// `last` in `parent`, which is relative, clean, and empty for the root.
    Below { parent: Vec<u8>, last: &'a [u8] },
}

/// Splits an entry's name. Leading slashes, doubled ones and `.` mean nothing.
pub fn name_of(path: &[u8]) -> Result<Name<'_>, UnpackError> {
    if path.is_empty() {
        return Err(UnpackError::Name(String::new()));
    }
    if path.contains(&0) {
        return Err(UnpackError::Name(shown(path)));
    }
    let mut components = path.split(|&b| b == b'/').filter(|c| !matches!(*c, b"" | b"."));
    let Some(mut last) = components.next() else { return Ok(Name::Root) };
    let mut parent = Vec::new();
    loop {
        if last == b".." {
            return Err(UnpackError::Escape(shown(path)));
        }
        let Some(next) = components.next() else { return Ok(Name::Below { parent, last }) };
        if !parent.is_empty() {
            parent.push(b'/');
        }
        parent.extend_from_slice(last);
        last = next;
    }
}

pub fn joined(parent: &[u8], last: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(parent)).join(OsStr::from_bytes(last))
}

/// Opens the directories entries are made in, and keeps some of them open.
pub struct Parents<'a> {
    root: BorrowedFd<'a>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl<'a> Parents<'a> {
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, open: HashMap::new(), last: None }
    }

    /// Opens `path` inside the root, making what is missing; `shown_as` is the entry that needs it.
    pub fn open(&mut self, shown_as: &[u8], path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        self.cached(path, |root, path| fs::create_dir_all_in_root(root, path, 0o755)).map_err(|source| {
            let name = shown(shown_as);
            match source.kind() {
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::NotFound => {
                    UnpackError::NotADirectory { name, parent: shown(path) }
                }
                _ => UnpackError::Io { action: "create the directory of", name, source },
            }
        })
    }

    /// Opens `path` inside the root, which must exist.
    pub fn existing(&mut self, path: &[u8]) -> std::io::Result<Rc<OwnedFd>> {
        self.cached(path, |root, path| fs::open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, 0))
    }

    /// Forgets what is open: a component may lead elsewhere now.
    pub fn clear(&mut self) {
        self.open.clear();
        self.last = None;
    }

    fn cached(
        &mut self,
        path: &[u8],
        open: impl FnOnce(BorrowedFd<'a>, &Path) -> std::io::Result<OwnedFd>,
    ) -> std::io::Result<Rc<OwnedFd>> {
        if let Some((_, fd)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(fd.clone());
        }
        let fd = match self.open.get(path) {
            Some(fd) => fd.clone(),
            None => {
                let name = if path.is_empty() { b"." } else { path };
                let fd = Rc::new(open(self.root, Path::new(OsStr::from_bytes(name)))?);
                if self.open.len() >= MAX_OPEN {
                    self.open.clear();
                }
                self.open.insert(path.to_vec(), fd.clone());
                fd
            }
        };
        self.last = Some((path.to_vec(), fd.clone()));
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<(&str, &str)>) {
        let found = match name_of(path.as_bytes()) {
            Ok(Name::Below { parent, last }) => {
                Some((String::from_utf8(parent).unwrap(), String::from_utf8_lossy(last).into_owned()))
            }
            Ok(Name::Root) => Some((String::new(), ".".to_owned())),
            Err(_) => None,
        };
        assert_eq!(found.as_ref().map(|(p, l)| (p.as_str(), l.as_str())), expected, "{path}");
    }

    #[test]
    fn names_are_taken_apart() {
        check("a", Some(("", "a")));
        check("./a//b/./c/", Some(("a/b", "c")));
        check("/etc/passwd", Some(("etc", "passwd")));
        check("./", Some(("", ".")));
        check("/", Some(("", ".")));
        check("...", Some(("", "...")));
        for path in ["", "..", "../a", "a/..", "a/../b", "/../a", "a\0b"] {
            check(path, None);
        }
    }
}

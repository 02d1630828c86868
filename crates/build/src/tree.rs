//! A directory tree made of one plain directory or of layers in overlayfs' format, read without mounting anything.
//!
//! Names are resolved component by component on descriptors that never follow a link by themselves, so a hostile tree can
//! point only at itself.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sys::fs::{self, FileType, OFlags, Stat};

/// Links followed in one path before it is `ELOOP`; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Too many links; the same number on every architecture Linux names here.
pub(crate) const ELOOP: i32 = 40;

/// A tree to read. Cloning shares the descriptors.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Topmost first.
    layers: Vec<Arc<OwnedFd>>,
    format: Format,
}

/// What special files and attributes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Nothing special.
    Plain,
    /// Whiteouts hide names of the layers below, opaque directories everything.
    Overlay,
}

/// Something in a tree, at a path without links.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Relative to the tree's root; empty for the root itself.
    pub path: PathBuf,
    pub stat: Stat,
    /// The layers that have it, topmost first: several only for a merged directory.
    layers: Vec<usize>,
}

/// Where a path leads.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Without links, relative to the root.
    pub path: PathBuf,
    /// `None` when nothing is there.
    pub entry: Option<Entry>,
}

/// Whether a link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    Follow,
    Keep,
}

impl Entry {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// The permission bits, set-id and sticky included.
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }
}

impl Tree {
    /// Opens the directories `layers`, topmost first.
    pub fn open(layers: &[PathBuf], format: Format) -> io::Result<Self> {
        let layers = layers
            .iter()
            .map(|path| fs::open_dir(path.as_path()).map(Arc::new))
            .collect::<io::Result<_>>()?;
        Ok(Self { layers, format })
    }

    /// This tree below one more layer.
    pub fn under(&self, top: Arc<OwnedFd>) -> Self {
        let layers = std::iter::once(top).chain(self.layers.iter().cloned()).collect();
        Self { layers, format: Format::Overlay }
    }

    /// The root; `None` for a tree of no layers.
    pub fn root(&self) -> io::Result<Option<Entry>> {
        let Some(top) = self.layers.first() else { return Ok(None) };
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            layers.push(index);
            if self.is_opaque(layer)? {
                break;
            }
        }
        Ok(Some(Entry { path: PathBuf::new(), stat: fs::stat(top)?, layers }))
    }

    /// The entry `name` of the directory `dir`.
    pub fn lookup(&self, dir: &Entry, name: &OsStr) -> io::Result<Option<Entry>> {
        let path = dir.path.join(name);
        let mut found: Option<Entry> = None;
        for &layer in &dir.layers {
            let fd = match fs::open_plain(&self.layers[layer], &path, OFlags::PATH | OFlags::NOFOLLOW, 0) {
                Ok(fd) => fd,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let stat = fs::stat(&fd)?;
            if self.format == Format::Overlay && is_whiteout(&stat) {
                break;
            }
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            match &mut found {
                None => found = Some(Entry { path: path.clone(), stat, layers: vec![layer] }),
                Some(entry) if is_dir => entry.layers.push(layer),
                Some(_) => break,
            }
            if !is_dir || self.format == Format::Plain {
                break;
            }
            let dir = fs::open_plain(&self.layers[layer], &path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
            if self.is_opaque(&dir)? {
                break;
            }
        }
        Ok(found)
    }

    fn is_opaque(&self, dir: &impl AsFd) -> io::Result<bool> {
        if self.format == Format::Plain {
            return Ok(false);
        }
        Ok(fs::get_xattr(dir.as_fd(), sys::overlay::opaque())?.as_deref() == Some(b"y"))
    }

    /// The names in a directory, sorted.
    pub fn list(&self, dir: &Entry) -> io::Result<Vec<OsString>> {
        let mut names = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for &layer in &dir.layers {
            let fd = self.open_dir(layer, &dir.path)?;
            for (name, kind) in fs::read_dir(fd.as_fd())? {
                let name = OsString::from_vec(name.into_bytes());
                if hidden.contains(&name) {
                    continue;
                }
                let maybe_whiteout = matches!(kind, FileType::CharacterDevice | FileType::Unknown);
                if self.format == Format::Overlay
                    && maybe_whiteout
                    && is_whiteout(&fs::stat_at(&fd, name.as_os_str())?)
                {
                    hidden.insert(name);
                    continue;
                }
                names.insert(name);
            }
        }
        Ok(names.into_iter().collect())
    }

    fn open_dir(&self, layer: usize, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::open_plain(&self.layers[layer], path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
    }

    /// Where `path` leads from the root, with `..` and links staying inside; what does not exist is taken literally.
    ///
    /// # Errors
    /// `ENOTDIR` when a component in the middle is not a directory, `ELOOP`.
    pub fn resolve(&self, path: &Path, last: Last) -> io::Result<Resolved> {
        let Some(root) = self.root()? else {
            return Ok(Resolved { path: lexical(path), entry: None });
        };
        // The directories walked through, root first; beyond them, names that do not exist.
        let mut stack = vec![root];
        let mut missing = PathBuf::new();
        let mut todo: Vec<OsString> = components(path).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if !missing.pop() && stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let parent = stack.last().expect("the root stays");
            if !missing.as_os_str().is_empty() {
                missing.push(name);
                continue;
            }
            if !parent.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            match self.lookup(parent, &name)? {
                None => missing.push(name),
                Some(entry)
                    if entry.kind() == FileType::Symlink && (last == Last::Follow || !todo.is_empty()) =>
                {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::from_raw_os_error(ELOOP));
                    }
                    let target = self.read_link(&entry)?;
                    if target.is_absolute() {
                        stack.truncate(1);
                    }
                    todo.extend(components(&target));
                }
                Some(entry) => stack.push(entry),
            }
        }
        let entry = stack.pop().expect("the root stays");
        if missing.as_os_str().is_empty() {
            return Ok(Resolved { path: entry.path.clone(), entry: Some(entry) });
        }
        if !entry.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Resolved { path: entry.path.join(missing), entry: None })
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, link: &Entry) -> io::Result<PathBuf> {
        let layer = &self.layers[link.layers[0]];
        let fd = fs::open_plain(layer, &link.path, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
        Ok(OsString::from_vec(fs::read_link_at(&fd, "")?.into_bytes()).into())
    }

    /// Opens a regular file, or the topmost of a merged directory, for reading.
    pub fn open_entry(&self, entry: &Entry) -> io::Result<File> {
        let layer = &self.layers[entry.layers[0]];
        let path = if entry.path.as_os_str().is_empty() { Path::new(".") } else { &entry.path };
        // NONBLOCK: a fifo that replaced the file meanwhile must not hang the build.
        let fd = fs::open_plain(layer, path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        Ok(File::from(fd))
    }

    /// Reads the whole regular file at `path`, `None` when there is none. One of more than `limit` bytes is an error.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let entry = match self.resolve(path, Last::Follow) {
            Ok(Resolved { entry: Some(entry), .. }) if entry.kind() == FileType::RegularFile => entry,
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        read_at_most(self.open_entry(&entry)?, limit).map(Some)
    }

    /// The host's paths of what `entry` is made of, topmost first: to be mounted elsewhere.
    pub fn host_paths(&self, entry: &Entry) -> io::Result<Vec<PathBuf>> {
        let path = if entry.path.as_os_str().is_empty() { Path::new(".") } else { &entry.path };
        let host_path = |layer: &usize| {
            let fd = fs::open_plain(&self.layers[*layer], path, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
            let link = fs::open(fs::fd_path(&fd), OFlags::PATH | OFlags::NOFOLLOW, 0)?;
            Ok(OsString::from_vec(fs::read_link_at(&link, "")?.into_bytes()).into())
        };
        entry.layers.iter().map(host_path).collect()
    }

    /// The extended attributes that belong to the file itself rather than to overlayfs.
    pub fn xattrs(&self, entry: &Entry) -> io::Result<Vec<(std::ffi::CString, Vec<u8>)>> {
        let file = self.open_entry(entry)?;
        let mut attributes = Vec::new();
        for name in fs::list_xattrs(&file)? {
            let bytes = name.to_bytes();
            if (bytes == b"security.capability"
                || (bytes.starts_with(b"user.") && !sys::overlay::is_note(bytes)))
                && let Some(value) = fs::get_xattr(&file, &name)?
            {
                attributes.push((name, value));
            }
        }
        attributes.sort();
        Ok(attributes)
    }

    /// Whether `entry`, a directory, exists in other layers than the topmost.
    pub(crate) fn lower_part(&self, entry: &Entry) -> Option<Entry> {
        let layers: Vec<usize> = entry.layers.iter().copied().filter(|layer| *layer > 0).collect();
        (!layers.is_empty()).then(|| Entry { layers, ..entry.clone() })
    }
}

/// The names of a path in reverse order, so that the next one is popped.
fn components(path: &Path) -> impl Iterator<Item = OsString> + use<> {
    let mut names: Vec<OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect();
    names.reverse();
    names.into_iter()
}

/// `path` without `.` and `..`, relative.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// All of `source`, which is an error when that is more than `limit` bytes.
pub fn read_at_most(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Nothing there, by any of its names.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A path as patterns and messages see it.
pub fn display(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests;

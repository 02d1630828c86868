//! Writing a new layer over existing ones, in overlayfs' format and without mounting: what COPY, ADD and WORKDIR do.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sys::fs::{self, FileType, Node, OFlags};

use crate::tree::{Entry, Last, Resolved, Tree};

/// Owner, permissions and times of something to create.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    /// Seconds and nanoseconds; now when `None`.
    pub modified: Option<(i64, u32)>,
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attributes {
    /// A new directory of `uid:gid`.
    pub fn dir(uid: u32, gid: u32) -> Self {
        Self { uid, gid, mode: 0o755, modified: None, xattrs: Vec::new() }
    }

    /// What `entry` has.
    pub fn of(entry: &Entry) -> Self {
        let stat = &entry.stat;
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: entry.mode(),
            modified: Some((stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))),
            xattrs: Vec::new(),
        }
    }
}

/// A layer being written.
pub struct Writer {
    upper: Arc<OwnedFd>,
    /// The upper over the lower layers: what the finished filesystem will show.
    view: Tree,
    /// The directory the last operation worked in; trees are copied in order, so it is mostly the next one's too.
    current: Option<Place>,
    /// Times of directories, set last: creating something inside would change them.
    dir_times: HashMap<PathBuf, (i64, u32)>,
    /// Paths whose lower part was replaced: it shows no more.
    hidden: HashSet<PathBuf>,
    changed: bool,
}

/// A directory that exists in the upper layer.
struct Place {
    path: PathBuf,
    upper: OwnedFd,
    /// The same directory in the layers below, when it is there.
    lower: Option<Entry>,
}

impl Writer {
    /// Writes into the empty directory `upper`, over `lower`.
    pub fn new(upper: &Path, lower: &Tree) -> io::Result<Self> {
        let upper = Arc::new(fs::open_dir(upper)?);
        if let Some(root) = lower.root()? {
            fs::chown(&upper, root.stat.st_uid, root.stat.st_gid)?;
            fs::chmod(&upper, root.mode())?;
        }
        let view = lower.under(Arc::clone(&upper));
        Ok(Self {
            upper,
            view,
            current: None,
            dir_times: HashMap::new(),
            hidden: HashSet::new(),
            changed: false,
        })
    }

    /// The filesystem as it is now, for resolving destinations and reading `/etc/passwd`.
    pub fn view(&self) -> &Tree {
        &self.view
    }

    /// Where `path` leads now.
    pub fn resolve(&self, path: &Path) -> io::Result<Resolved> {
        self.view.resolve(path, Last::Follow)
    }

    /// Makes sure that `path`, which has no links, is a directory; missing ones are created with `attributes`.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is in the way.
    pub fn ensure_dir(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        self.enter(path, attributes).map(drop)
    }

    /// As [`ensure_dir`](Self::ensure_dir), and gives the directory `attributes` even when it exists.
    pub fn put_dir(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let parents = Attributes::dir(attributes.uid, attributes.gid);
        let place = self.enter(path, &parents)?;
        fs::chown(&place.upper, attributes.uid, attributes.gid)?;
        fs::chmod(&place.upper, attributes.mode)?;
        for (name, value) in &attributes.xattrs {
            fs::set_xattr(&place.upper, name, value)?;
        }
        self.changed = true;
        if let Some(modified) = attributes.modified {
            self.dir_times.insert(path.to_owned(), modified);
        }
        Ok(())
    }

    /// Writes a regular file; `fill` provides its contents. Returns the file's descriptor position to nobody: it is closed.
    pub fn put_file(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let (place, name) = self.vacate(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let mut file = File::from(fs::open_at(&place.upper, name, flags, 0o600)?);
        fill(&mut file)?;
        file.flush()?;
        // The owner first: a change of owner clears the set-id bits and capabilities.
        fs::chown(&file, attributes.uid, attributes.gid)?;
        fs::chmod(&file, attributes.mode)?;
        for (name, value) in &attributes.xattrs {
            fs::set_xattr(&file, name, value)?;
        }
        if let Some(modified) = attributes.modified {
            fs::set_times(&file, modified, modified)?;
        }
        self.changed = true;
        Ok(())
    }

    /// Writes a symbolic link.
    pub fn put_link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> io::Result<()> {
        let (place, name) = self.vacate(path)?;
        fs::symlink_at(target, &place.upper, name)?;
        fs::chown_at(&place.upper, name, attributes.uid, attributes.gid)?;
        if let Some(modified) = attributes.modified {
            fs::set_times_at(&place.upper, name, modified, modified)?;
        }
        self.changed = true;
        Ok(())
    }

    /// Makes a device, fifo or socket.
    pub fn put_node(&mut self, path: &Path, node: Node, attributes: &Attributes) -> io::Result<()> {
        if sys::user::is_in_subordinate_namespace()
            && matches!(node, Node::Character { .. } | Node::Block { .. })
        {
            // As when an image is unpacked.
            return Ok(());
        }
        let (place, name) = self.vacate(path)?;
        fs::mknod_at(&place.upper, name, node, attributes.mode)?;
        fs::chown_at(&place.upper, name, attributes.uid, attributes.gid)?;
        // mknod's mode went through the umask, and chown cleared what it clears.
        fs::chmod_at(&place.upper, name, attributes.mode)?;
        if let Some(modified) = attributes.modified {
            fs::set_times_at(&place.upper, name, modified, modified)?;
        }
        self.changed = true;
        Ok(())
    }

    /// Makes `path` a second name of `existing`, which this layer wrote.
    pub fn put_hard_link(&mut self, path: &Path, existing: &Path) -> io::Result<()> {
        let (dir, old) = match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => {
                (fs::open_plain(&self.upper, parent, OFlags::PATH | OFlags::DIRECTORY, 0)?, name.to_owned())
            }
            (_, Some(name)) => {
                (fs::open_plain(&self.upper, ".", OFlags::PATH | OFlags::DIRECTORY, 0)?, name.to_owned())
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let (place, name) = self.vacate(path)?;
        fs::link_at(&dir, old.as_os_str(), &place.upper, name)?;
        self.changed = true;
        Ok(())
    }

    /// Removes what is at `path` in this layer, and hides what is there below, to make room for something of another kind.
    pub fn replace(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let place = self.enter(parent, &Attributes::dir(0, 0))?;
        fs::remove_tree_at(&place.upper, name)?;
        self.current = None;
        self.dir_times.retain(|dir, _| !dir.starts_with(path));
        self.hidden.retain(|hidden| !hidden.starts_with(path));
        self.hidden.insert(path.to_owned());
        Ok(())
    }

    /// Sets the directories' times and says whether the layer has anything in it.
    pub fn finish(self) -> io::Result<bool> {
        for (path, modified) in &self.dir_times {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let dir = fs::open_plain(&self.upper, path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
            fs::set_times(&dir, *modified, *modified)?;
        }
        Ok(self.changed)
    }

    /// Makes room for a new non-directory at `path`: its parent exists here, and nothing of its name does.
    fn vacate<'p>(&mut self, path: &'p Path) -> io::Result<(&Place, &'p OsStr)> {
        let (parent, name) = split(path)?;
        let view = self.view.clone();
        let hidden = self.hidden.contains(path);
        let place = self.enter(parent, &Attributes::dir(0, 0))?;
        match fs::stat_at(&place.upper, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(_) => fs::unlink_at(&place.upper, name)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(lower) = place.lower.as_ref().filter(|_| !hidden)
                    && view.lookup(lower, name)?.is_some_and(|entry| entry.is_dir())
                {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
            }
            Err(error) => return Err(error),
        }
        Ok((place, name))
    }

    /// Opens the directory `path` in the upper layer, creating it and its parents or copying their attributes from below.
    fn enter(&mut self, path: &Path, attributes: &Attributes) -> io::Result<&Place> {
        if self.current.as_ref().is_none_or(|place| place.path != path) {
            let place = self.walk(path, attributes)?;
            self.current = Some(place);
        }
        Ok(self.current.as_ref().expect("set above"))
    }

    fn walk(&mut self, path: &Path, attributes: &Attributes) -> io::Result<Place> {
        let root = self.view.root()?.ok_or(io::ErrorKind::NotFound)?;
        let mut place = Place {
            path: PathBuf::new(),
            upper: fs::open_plain(&self.upper, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?,
            lower: self.view.lower_part(&root),
        };
        for name in path.iter() {
            let path = place.path.join(name);
            let hidden = self.hidden.contains(&path);
            let below = match &place.lower {
                Some(lower) if !hidden => self.view.lookup(lower, name)?,
                _ => None,
            };
            let upper = match fs::open_dir_at(&place.upper, name) {
                Ok(dir) => {
                    // What this layer made anew does not continue below, where something else was replaced.
                    let below = below.filter(Entry::is_dir);
                    place = Place { path, upper: dir, lower: below };
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => &place.upper,
                // A link is ELOOP with O_NOFOLLOW; to the caller it is one more thing that is no directory.
                Err(error) if error.raw_os_error() == Some(crate::tree::ELOOP) => {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                Err(error) => return Err(error),
            };
            let (attributes, lower) = match below {
                Some(entry) if entry.is_dir() => (Attributes::of(&entry), Some(entry)),
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => (attributes.clone(), None),
            };
            fs::mkdir_at(upper, name, 0o700)?;
            let dir = fs::open_dir_at(upper, name)?;
            fs::chown(&dir, attributes.uid, attributes.gid)?;
            fs::chmod(&dir, attributes.mode)?;
            self.changed = true;
            if hidden {
                fs::set_xattr(&dir, sys::overlay::opaque(), b"y")?;
            }
            place = Place { path, upper: dir, lower };
        }
        Ok(place)
    }
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(io::ErrorKind::IsADirectory.into()),
    }
}

//! Unpacking beneath a directory.
//!
//! What keeps a hostile archive inside (CVE-2014-9357, CVE-2018-15664, CVE-2019-10152 and their kind):
//! - a name with a `..` component is refused; leading slashes are dropped;
//! - the parent is opened with openat2 `RESOLVE_IN_ROOT`, so that links in it, made by this archive or found there, resolve
//!   inside the root whatever they say;
//! - the last component is made by calls that do not follow it; what stands in its place is removed first;
//! - a hard link's target is looked up the same way, so it is a file of this tree;
//! - owner, mode, attributes and times of a directory are set after everything else, so that nothing is inherited from it.

mod directories;
mod paths;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use diag::{Class, Diagnose};
use sys::fs::{self, FileType, Node, OFlags};

use super::header::{Entry, Kind};
use super::reader::{DataError, Reader, TarError};
use super::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX, attribute_ids, xattr_travels};
use directories::Pending;
use paths::{Name, Parents, name_of};

/// What an archive may do to the tree.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    pub whiteouts: Whiteouts,
    pub devices: Devices,
    /// Gives every entry this owner instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// What the ids of the tree are more than those of the archive: the host's id of a container's 0, when the tree is that of
    /// a running container whose ids are not the host's.
    pub first_id: u32,
    /// Refuses to put a directory where something else is and the other way round, as `docker cp` does.
    pub keep_kinds: bool,
    /// The most bytes all files together may have; holes count nothing.
    pub max_bytes: u64,
    pub max_entries: u64,
}

impl UnpackOptions {
    /// Whose a file of the archive is in the tree.
    fn owner_of(&self, entry: &Entry) -> (u32, u32) {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        (uid.saturating_add(self.first_id), gid.saturating_add(self.first_id))
    }
}

/// What `.wh.` names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// Nothing: ordinary files.
    Plain,
    /// Those of an image layer; written as overlayfs has them.
    Overlay,
}

/// What happens to device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    Create,
    Skip,
    Refuse,
}

impl Default for UnpackOptions {
    /// An ordinary archive: no whiteouts, owners kept, devices refused.
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::Plain,
            devices: Devices::Refuse,
            owner: None,
            first_id: 0,
            keep_kinds: false,
            max_bytes: 1 << 44,
            max_entries: 1 << 26,
        }
    }
}

impl UnpackOptions {
    /// A layer of an image.
    pub fn layer() -> Self {
        Self { whiteouts: Whiteouts::Overlay, devices: Devices::Create, ..Self::default() }
    }
}

/// What was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub entries: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
}

/// Why an archive was not unpacked; names are shown as the archive has them.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] TarError),
    #[error("archive entry {0:?} leaves the directory it is unpacked into")]
    Escape(String),
    #[error("archive entry {0:?} has no usable name")]
    Name(String),
    #[error("archive entry {name:?} is below {parent:?}, which is not a directory")]
    NotADirectory { name: String, parent: String },
    #[error("archive entry {name:?} is a hard link to {target:?}, which is not a file of the same archive")]
    LinkTarget { name: String, target: String },
    #[error("archive entry {0:?} is a device")]
    Device(String),
    /// What layers below have would be gone without a `.wh.` name that says so.
    #[error("archive entry {0:?} is the device 0:0, which is how overlayfs itself writes whiteouts")]
    RawWhiteout(String),
    #[error("cannot overwrite {}directory {name:?} with {}directory", if *.directory { "" } else { "non-" }, if *.directory { "non-" } else { "" })]
    KindChange { name: String, directory: bool },
    #[error("archive has more than {0} bytes of files")]
    TooManyBytes(u64),
    #[error("archive has more than {0} entries")]
    TooManyEntries(u64),
    #[error("cannot {action} {name:?}")]
    Io { action: &'static str, name: String, source: io::Error },
}

impl Diagnose for UnpackError {
    fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } | Self::Archive(TarError::Read(source)) => Class::of_io(source),
            Self::KindChange { .. } => Class::Conflict,
            _ => Class::Invalid,
        }
    }
}

/// Unpacks the archive that `input` is into the directory `root`, to the very end of `input`.
///
/// # Errors
/// [`UnpackError`]; what was unpacked until then stays, so unpack into a directory of its own where that matters.
pub fn unpack<R: BufRead>(
    input: R,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let mut archive = Reader::new(input);
    let mut unpacker = Unpacker {
        options,
        parents: Parents::new(root),
        pending: Pending::default(),
        umask: umask(),
        total: Unpacked::default(),
    };
    let unpacked = unpacker.entries(&mut archive);
    let Unpacker { pending, total, .. } = unpacker;
    // Also the directories of an archive that could not be unpacked to its end: what stays of it is as it should be.
    let finished = pending.finish(root);
    unpacked?;
    finished?;
    Ok(total)
}

struct Unpacker<'a> {
    options: &'a UnpackOptions,
    parents: Parents<'a>,
    pending: Pending,
    umask: u32,
    total: Unpacked,
}

/// An entry's place: the directory that holds it, and its name there.
struct Place {
    parent: std::rc::Rc<OwnedFd>,
    name: CString,
    path: PathBuf,
}

impl Unpacker<'_> {
    fn entries<R: BufRead>(&mut self, archive: &mut Reader<R>) -> Result<(), UnpackError> {
        while let Some(mut entry) = archive.next_entry()? {
            attribute_ids::to_host(&mut entry.xattrs, self.options.first_id);
            self.total.entries += 1;
            if self.total.entries > self.options.max_entries {
                return Err(UnpackError::TooManyEntries(self.options.max_entries));
            }
            self.entry(archive, &entry)?;
        }
        Ok(archive.drain()?)
    }

    fn entry<R: BufRead>(&mut self, archive: &mut Reader<R>, entry: &Entry) -> Result<(), UnpackError> {
        let (parent, last) = match name_of(&entry.path)? {
            Name::Root if entry.kind == Kind::Directory => {
                self.pending.add(PathBuf::from("."), entry, self.options.owner_of(entry), false);
                return Ok(());
            }
            Name::Root => return Err(UnpackError::Name(shown(&entry.path))),
            Name::Below { parent, last } => (parent, last),
        };
        if self.options.whiteouts == Whiteouts::Overlay {
            if is_bookkeeping(&parent) {
                return Ok(());
            }
            // Nothing can be in a name that says something is gone.
            if parent.split(|&b| b == b'/').any(|name| name.starts_with(WHITEOUT_PREFIX)) {
                return Err(UnpackError::Name(shown(&entry.path)));
            }
            if last.starts_with(WHITEOUT_PREFIX) {
                return self.whiteout(&entry.path, &parent, last);
            }
            if entry.kind == Kind::Character && entry.device == (0, 0) {
                return Err(UnpackError::RawWhiteout(shown(&entry.path)));
            }
        }
        let place = self.place(&entry.path, &parent, last)?;
        match entry.kind {
            Kind::Directory => return self.directory(entry, place),
            Kind::Regular => {
                let file = self.make(entry, &place, |flags| {
                    fs::open_at(&place.parent, &*place.name, flags, entry.mode)
                })?;
                let filled = self.fill(archive, entry, File::from(file));
                if filled.is_err() {
                    // Nobody should take half a file for a whole one.
                    let _ = self.remove(&place);
                }
                return filled;
            }
            Kind::HardLink => return self.hard_link(entry, &place),
            Kind::Symlink => {
                let target = CString::new(entry.link.as_slice()).map_err(|_| TarError::Field("link"))?;
                self.make(entry, &place, |_| fs::symlink_at(&*target, &place.parent, &*place.name))?;
            }
            Kind::Fifo => self.node(entry, &place, Node::Fifo)?,
            Kind::Character | Kind::Block => {
                let (major, minor) = entry.device;
                let node = match entry.kind {
                    Kind::Character => Node::Character { major, minor },
                    _ => Node::Block { major, minor },
                };
                match self.options.devices {
                    // Nobody there may make one, and no container could open it. Images have them by accident: a container's
                    // /dev is mounted over them.
                    Devices::Create if sys::user::is_in_subordinate_namespace() => return Ok(()),
                    Devices::Create => self.node(entry, &place, node)?,
                    Devices::Skip => return Ok(()),
                    Devices::Refuse => return Err(UnpackError::Device(shown(&entry.path))),
                }
            }
        }
        self.attributes_at(entry, &place)
    }

    fn place(&mut self, shown_as: &[u8], parent: &[u8], last: &[u8]) -> Result<Place, UnpackError> {
        let fd = self.parents.open(shown_as, parent)?;
        let name = CString::new(last).map_err(|_| UnpackError::Name(shown(shown_as)))?;
        Ok(Place { parent: fd, name, path: paths::joined(parent, last) })
    }

    /// Runs `create`, and once more after removing what stands in the way.
    fn make<T>(
        &mut self,
        entry: &Entry,
        place: &Place,
        create: impl Fn(OFlags) -> io::Result<T>,
    ) -> Result<T, UnpackError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let error = |action| io_error(action, &entry.path);
        match create(flags) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let existing = fs::stat_at(&place.parent, &*place.name).map_err(error("replace"))?;
                if FileType::from_raw_mode(existing.st_mode) == FileType::Directory {
                    if self.options.keep_kinds {
                        return Err(UnpackError::KindChange { name: shown(&entry.path), directory: true });
                    }
                    self.pending.forget(&place.path);
                }
                self.remove(place).map_err(error("replace"))?;
                create(flags).map_err(error("create"))
            }
            other => other.map_err(error("create")),
        }
    }

    fn remove(&mut self, place: &Place) -> io::Result<()> {
        // Parents may have been reached through what goes now.
        self.parents.clear();
        fs::remove_tree_at(&place.parent, &*place.name)
    }

    fn directory(&mut self, entry: &Entry, place: Place) -> Result<(), UnpackError> {
        let error = |action| io_error(action, &entry.path);
        let mut opaque = false;
        match fs::mkdir_at(&place.parent, &*place.name, 0o700) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let existing = fs::stat_at(&place.parent, &*place.name).map_err(error("replace"))?;
                if FileType::from_raw_mode(existing.st_mode) != FileType::Directory {
                    if self.options.keep_kinds {
                        return Err(UnpackError::KindChange { name: shown(&entry.path), directory: false });
                    }
                    // Removed and made again in one layer: what lower layers have there must not show.
                    opaque = self.options.whiteouts == Whiteouts::Overlay && is_whiteout(&existing);
                    self.remove(&place).map_err(error("replace"))?;
                    fs::mkdir_at(&place.parent, &*place.name, 0o700).map_err(error("create"))?;
                }
            }
            Err(e) => return Err(error("create")(e)),
        }
        self.pending.add(place.path, entry, self.options.owner_of(entry), opaque);
        Ok(())
    }

    fn node(&mut self, entry: &Entry, place: &Place, node: Node) -> Result<(), UnpackError> {
        self.make(entry, place, |_| fs::mknod_at(&place.parent, &*place.name, node, entry.mode))
    }

    fn hard_link(&mut self, entry: &Entry, place: &Place) -> Result<(), UnpackError> {
        let refused = || UnpackError::LinkTarget { name: shown(&entry.path), target: shown(&entry.link) };
        let Name::Below { parent, last } = name_of(&entry.link)? else { return Err(refused()) };
        let target_parent = self.parents.existing(parent.as_slice()).map_err(|_| refused())?;
        let target = CString::new(last).map_err(|_| refused())?;
        let found = fs::stat_at(&target_parent, &*target).map_err(|_| refused())?;
        // A whiteout is no file; a second name for it would be a whiteout that nothing in the archive calls one.
        let whiteout = self.options.whiteouts == Whiteouts::Overlay && is_whiteout(&found);
        if whiteout || FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(refused());
        }
        if let Ok(existing) = fs::stat_at(&place.parent, &*place.name) {
            // A link to itself, or one that is there already, must not be removed first.
            if (existing.st_dev, existing.st_ino) == (found.st_dev, found.st_ino) {
                return Ok(());
            }
        }
        self.make(entry, place, |_| fs::link_at(&target_parent, &*target, &place.parent, &*place.name))
    }

    /// Writes a file's data and then what describes it: owner first, because changing it takes capabilities and set-id away.
    fn fill<R: BufRead>(
        &mut self,
        archive: &mut Reader<R>,
        entry: &Entry,
        mut file: File,
    ) -> Result<(), UnpackError> {
        let error = |action| io_error(action, &entry.path);
        self.total.bytes = self.total.bytes.saturating_add(archive.remaining());
        if self.total.bytes > self.options.max_bytes {
            return Err(UnpackError::TooManyBytes(self.options.max_bytes));
        }
        archive.write_data(entry, &mut file).map_err(|failed| match failed {
            DataError::Archive(damage) => damage.into(),
            DataError::Write(source) => error("write")(source),
        })?;
        let (uid, gid) = self.options.owner_of(entry);
        fs::chown(&file, uid, gid).map_err(error("change the owner of"))?;
        if entry.mode & (self.umask | 0o7000) != 0 {
            fs::chmod(&file, entry.mode).map_err(error("change the mode of"))?;
        }
        set_xattrs(entry, |name, value| fs::set_xattr(&file, name, value))?;
        fs::set_times(&file, entry.mtime, entry.mtime).map_err(error("set the time of"))
    }

    fn attributes_at(&mut self, entry: &Entry, place: &Place) -> Result<(), UnpackError> {
        let error = |action| io_error(action, &entry.path);
        let (uid, gid) = self.options.owner_of(entry);
        fs::chown_at(&place.parent, &*place.name, uid, gid).map_err(error("change the owner of"))?;
        if entry.kind != Kind::Symlink {
            fs::chmod_at(&place.parent, &*place.name, entry.mode).map_err(error("change the mode of"))?;
        }
        set_xattrs(entry, |name, value| fs::set_xattr_at(&place.parent, &*place.name, name, value))?;
        fs::set_times_at(&place.parent, &*place.name, entry.mtime, entry.mtime)
            .map_err(error("set the time of"))
    }

    fn whiteout(&mut self, shown_as: &[u8], parent: &[u8], last: &[u8]) -> Result<(), UnpackError> {
        let error = |source| io_error("create", shown_as)(source);
        if last == OPAQUE_WHITEOUT {
            let fd = self.parents.open(shown_as, parent)?;
            // The descriptor may be O_PATH, which takes no attributes: go through its name.
            return fs::set_xattr_at(&fd, c".", sys::overlay::opaque(), b"y").map_err(error);
        }
        let name = &last[WHITEOUT_PREFIX.len()..];
        if is_bookkeeping(last) {
            return Ok(());
        }
        // A whiteout removes a name of the layers below, never the directory it is in or the one above.
        if matches!(name, b"" | b"." | b"..") {
            return Err(UnpackError::Name(shown(shown_as)));
        }
        let place = self.place(shown_as, parent, name)?;
        match fs::mknod_at(&place.parent, &*place.name, Node::Character { major: 0, minor: 0 }, 0) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // This layer has something of that name itself, which is not what the whiteout is about.
                let existing = fs::stat_at(&place.parent, &*place.name).map_err(error)?;
                if FileType::from_raw_mode(existing.st_mode) == FileType::Directory {
                    fs::set_xattr_at(&place.parent, &*place.name, sys::overlay::opaque(), b"y")
                        .map_err(error)?;
                }
                Ok(())
            }
            other => other.map_err(error),
        }
    }
}

/// Whether `path` begins with one of aufs' own files, which old layers have by accident: `.wh..wh.plnk` and the like.
fn is_bookkeeping(path: &[u8]) -> bool {
    path.strip_prefix(WHITEOUT_PREFIX).is_some_and(|rest| rest.starts_with(WHITEOUT_PREFIX))
}

pub(crate) fn is_whiteout(stat: &fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn set_xattrs(
    entry: &Entry,
    set: impl Fn(&std::ffi::CStr, &[u8]) -> io::Result<()>,
) -> Result<(), UnpackError> {
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| xattr_travels(name)) {
        let name = CString::new(name.as_slice()).map_err(|_| TarError::Extended("xattr"))?;
        match set(&name, value) {
            // A filesystem without such attributes; user attributes are for files and directories only.
            Err(e) if matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {}
            Err(source) => {
                return Err(UnpackError::Io {
                    action: "set an attribute of",
                    name: shown(&entry.path),
                    source,
                });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn io_error<'a>(action: &'static str, name: &'a [u8]) -> impl FnOnce(io::Error) -> UnpackError + 'a {
    move |source| UnpackError::Io { action, name: shown(name), source }
}

pub(crate) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

/// The process's file mode mask, without changing it even for a moment.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777)
}

#[cfg(test)]
mod tests;

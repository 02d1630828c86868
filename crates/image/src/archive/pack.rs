//! Packing a tree: names sorted, ids numeric, times in whole seconds, so that one tree gives one digest.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use diag::{Class, Diagnose};
use sys::fs::{self, FileType, OFlags, Stat};

use super::header::{Entry, Kind};
use super::unpack::{is_whiteout, shown};
use super::writer::Writer;
use super::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX, Whiteouts, attribute_ids, xattr_travels};

/// Decides about one path.
pub type Filter<'a> = &'a dyn Fn(&[u8]) -> bool;

/// How a tree is packed.
pub struct PackOptions<'a> {
    /// [`Whiteouts::Overlay`]: the tree is an overlay's upper directory, whose whiteouts become `.wh.` names.
    pub whiteouts: Whiteouts,
    /// Gives every entry this owner.
    pub owner: Option<(u32, u32)>,
    /// What the ids of the tree are more than those of the archive; see [`UnpackOptions::first_id`](super::UnpackOptions::first_id).
    pub first_id: u32,
    /// Put before every name, without a slash at its end; empty for none.
    pub prefix: &'a [u8],
    /// Whether a path (relative, without prefix) is packed; what is below a directory left out is left out with it.
    pub filter: Option<Filter<'a>>,
}

impl Default for PackOptions<'_> {
    fn default() -> Self {
        Self { whiteouts: Whiteouts::Plain, owner: None, first_id: 0, prefix: b"", filter: None }
    }
}

impl PackOptions<'_> {
    /// A layer of an image, from an overlay's upper directory.
    pub fn layer() -> Self {
        Self { whiteouts: Whiteouts::Overlay, ..Self::default() }
    }
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub entries: u64,
    /// Bytes of all regular files, hard links counted once.
    pub bytes: u64,
}

/// Why a tree could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot {action} {name:?}")]
    Io { action: &'static str, name: String, source: io::Error },
    #[error("{name:?} changed while it was read")]
    Changed { name: String },
    /// The overlay was mounted with features whose trees mean nothing without their lower layers.
    #[error("directory {name:?} was moved by overlayfs itself ({attribute})")]
    Redirect { name: String, attribute: &'static str },
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl Diagnose for PackError {
    fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } | Self::Write(source) => Class::of_io(source),
            Self::Changed { .. } => Class::Conflict,
            Self::Redirect { .. } => Class::Unsupported,
        }
    }
}

/// Packs what is below `root` into `archive`, which the caller finishes.
///
/// The root itself gets an entry (`./`) only when it is not a plain root-owned directory of mode 0755.
///
/// # Errors
/// [`PackError`].
pub fn pack<W: Write>(
    archive: &mut Writer<W>,
    root: BorrowedFd<'_>,
    options: &PackOptions<'_>,
) -> Result<Packed, PackError> {
    let mut packer = Packer {
        archive,
        options,
        links: HashMap::new(),
        total: Packed::default(),
        buffer: vec![0; 128 << 10],
    };
    let stat = fs::stat(root).map_err(io_error("read", b"."))?;
    let xattrs = xattrs_of(root, b".")?;
    let path = if options.prefix.is_empty() { b".".to_vec() } else { options.prefix.to_vec() };
    let plain = stat.st_mode & 0o7777 == 0o755 && (stat.st_uid, stat.st_gid) == (0, 0);
    if !options.prefix.is_empty() || !plain || !xattrs.is_empty() {
        let entry = packer.entry(path, &stat, Kind::Directory, xattrs);
        packer.write_header(entry)?;
    }
    packer.directory(root.try_clone_to_owned().map_err(io_error("read", b"."))?)?;
    Ok(packer.total)
}

struct Packer<'a, W> {
    archive: &'a mut Writer<W>,
    options: &'a PackOptions<'a>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    total: Packed,
    buffer: Vec<u8>,
}

/// A directory being packed: names that are left, last one first.
struct Level {
    fd: OwnedFd,
    /// Relative to the root, with a slash at its end unless it is the root.
    path: Vec<u8>,
    names: Vec<CString>,
}

impl<W: Write> Packer<'_, W> {
    /// Walks without recursion; a tree may be deeper than a stack.
    fn directory(&mut self, root: OwnedFd) -> Result<(), PackError> {
        let mut levels = vec![self.level(root, Vec::new())?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = [&level.path, name.as_bytes()].concat();
            if self.options.filter.is_some_and(|keeps| !keeps(&path)) {
                continue;
            }
            let fd = level.fd.as_fd();
            if let Some(child) = self.member(fd, &name, &path)? {
                let below = [&path, &b"/"[..]].concat();
                let level = self.level(child, below)?;
                levels.push(level);
            }
        }
        Ok(())
    }

    fn level(&mut self, fd: OwnedFd, path: Vec<u8>) -> Result<Level, PackError> {
        if self.options.whiteouts == Whiteouts::Overlay {
            for attribute in sys::overlay::entangling() {
                if fs::get_xattr(&fd, attribute).map_err(io_error("read", &path))?.is_some() {
                    let attribute = attribute.to_str().expect("a literal");
                    return Err(PackError::Redirect { name: shown(&path), attribute });
                }
            }
            if fs::get_xattr(&fd, sys::overlay::opaque())
                .map_err(io_error("read", &path))?
                .is_some_and(|v| v == b"y")
            {
                let entry = Entry { path: self.named(&path, OPAQUE_WHITEOUT), ..Entry::default() };
                self.write_header(entry)?;
            }
        }
        let entries = fs::read_dir(fd.as_fd()).map_err(io_error("read", &path))?;
        let mut names: Vec<CString> = entries.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Level { fd, path, names })
    }

    /// Writes one member; returns a directory to go on with.
    fn member(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
    ) -> Result<Option<OwnedFd>, PackError> {
        let stat = fs::stat_at(dir, name).map_err(io_error("read", path))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::Regular,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            // Sockets live as long as their server; no archive format has them.
            _ => return Ok(None),
        };
        if self.options.whiteouts == Whiteouts::Overlay && is_whiteout(&stat) {
            let parent = &path[..path.len() - name.count_bytes()];
            let whiteout = [WHITEOUT_PREFIX, name.to_bytes()].concat();
            self.write_header(Entry { path: self.named(parent, &whiteout), ..Entry::default() })?;
            return Ok(None);
        }
        if kind == Kind::Directory {
            let fd = fs::open_dir_at(dir, name).map_err(io_error("open", path))?;
            let entry = self.entry(self.named(path, b""), &stat, kind, xattrs_of(fd.as_fd(), path)?);
            self.write_header(entry)?;
            return Ok(Some(fd));
        }
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                let link = first.clone();
                let mut entry = self.entry(self.named(path, b""), &stat, Kind::HardLink, Vec::new());
                entry.link = link;
                return self.write_header(entry).map(|()| None);
            }
            self.links.insert(inode, self.named(path, b""));
        }
        match kind {
            Kind::Regular => self.file(dir, name, path)?,
            _ => {
                let xattrs = xattrs_at(dir, name, path)?;
                let mut entry = self.entry(self.named(path, b""), &stat, kind, xattrs);
                if kind == Kind::Symlink {
                    entry.link = fs::read_link_at(dir, name).map_err(io_error("read", path))?.into_bytes();
                }
                self.write_header(entry)?;
            }
        }
        Ok(None)
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<(), PackError> {
        // Not to block should the file have become a fifo meanwhile.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME;
        let file = fs::open_at(dir, name, flags, 0)
            .or_else(|e| match e.kind() {
                // Only a file's owner may leave its access time alone.
                io::ErrorKind::PermissionDenied => fs::open_at(dir, name, flags - OFlags::NOATIME, 0),
                _ => Err(e),
            })
            .map_err(io_error("open", path))?;
        let stat = fs::stat(&file).map_err(io_error("read", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(PackError::Changed { name: shown(path) });
        }
        let entry = self.entry(self.named(path, b""), &stat, Kind::Regular, xattrs_of(file.as_fd(), path)?);
        let size = entry.size;
        self.total.bytes += size;
        self.write_header(entry)?;
        let (mut file, mut left) = (File::from(file), size);
        while left > 0 {
            let length = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let read = file.read(&mut self.buffer[..length]).map_err(io_error("read", path))?;
            if read == 0 {
                return Err(PackError::Changed { name: shown(path) });
            }
            self.archive.output().write_all(&self.buffer[..read]).map_err(PackError::Write)?;
            left -= read as u64;
        }
        self.archive.pad(size).map_err(PackError::Write)
    }

    fn entry(&self, mut path: Vec<u8>, stat: &Stat, kind: Kind, mut xattrs: Xattrs) -> Entry {
        attribute_ids::to_container(&mut xattrs, self.options.first_id);
        if kind == Kind::Directory {
            path.push(b'/');
        }
        let inner = |id: u32| id.checked_sub(self.options.first_id).unwrap_or(id);
        let (uid, gid) = self.options.owner.unwrap_or((inner(stat.st_uid), inner(stat.st_gid)));
        Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            size: if kind == Kind::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            mtime: (stat.st_mtime, 0),
            device: match kind {
                Kind::Character | Kind::Block => fs::device_numbers(stat.st_rdev),
                _ => (0, 0),
            },
            xattrs,
            ..Entry::default()
        }
    }

    /// The name in the archive of `path` (as in [`Level::path`]) followed by `last`.
    fn named(&self, path: &[u8], last: &[u8]) -> Vec<u8> {
        match self.options.prefix {
            b"" => [path, last].concat(),
            prefix => [prefix, b"/", path, last].concat(),
        }
    }

    fn write_header(&mut self, entry: Entry) -> Result<(), PackError> {
        self.total.entries += 1;
        self.archive.header(&entry).map_err(PackError::Write)
    }
}

fn io_error<'a>(action: &'static str, path: &'a [u8]) -> impl FnOnce(io::Error) -> PackError + 'a {
    move |source| PackError::Io { action, name: shown(path), source }
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of an open file as an archive has them; for `first_id` see [`PackOptions::first_id`].
///
/// # Errors
/// [`PackError::Io`].
pub fn attributes(file: BorrowedFd<'_>, path: &[u8], first_id: u32) -> Result<Xattrs, PackError> {
    let mut xattrs = xattrs_of(file, path)?;
    attribute_ids::to_container(&mut xattrs, first_id);
    Ok(xattrs)
}

fn xattrs_of(fd: BorrowedFd<'_>, path: &[u8]) -> Result<Xattrs, PackError> {
    let names = fs::list_xattrs(fd).map_err(io_error("read", path))?;
    travelling(names, path, |name| fs::get_xattr(fd, name))
}

fn xattrs_at(dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Xattrs, PackError> {
    let names = fs::list_xattrs_at(dir, name).map_err(io_error("read", path))?;
    travelling(names, path, |attribute| fs::get_xattr_at(dir, name, attribute))
}

fn travelling(
    mut names: Vec<CString>,
    path: &[u8],
    get: impl Fn(&CStr) -> io::Result<Option<Vec<u8>>>,
) -> Result<Xattrs, PackError> {
    names.retain(|name| xattr_travels(name.as_bytes()));
    names.sort_unstable();
    let mut xattrs = Vec::with_capacity(names.len());
    for name in names {
        if let Some(value) = get(&name).map_err(io_error("read", path))? {
            xattrs.push((name.into_bytes(), value));
        }
    }
    Ok(xattrs)
}

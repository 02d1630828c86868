//! Files in and out of containers, as tar archives.
//!
//! A running container's tree is the one its first process sees, mounts included; a stopped one's is mounted detached, and paths
//! below its volumes and binds go to their sources. Every path is resolved by the kernel beneath that root (openat2), so that
//! a link planted in the container leads nowhere else, also when it is exchanged meanwhile (CVE-2018-15664, CVE-2019-14271).

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::record::{Container, MountSource};
use crate::rootfs;
use crate::volume::VolumeError;
use diag::{Class, Diagnose};
use image::archive::{self, Entry, Kind, PackError, PackOptions, UnpackError, UnpackOptions, Writer};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use sys::fs::{FileType, OFlags};

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArchiveError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("Could not find the file {path} in container {name}")]
    NotFound { path: String, name: String },
    #[error("extraction point is not a directory: {path} in container {name}")]
    NotADirectory { path: String, name: String },
    #[error("cannot open the files of container {name}")]
    Root { name: String, source: io::Error },
    #[error("cannot read {path} in container {name}")]
    Read { path: String, name: String, source: io::Error },
    #[error("cannot copy {path} out of container {name}")]
    Pack { path: String, name: String, source: PackError },
    #[error("cannot copy into {path} of container {name}")]
    Unpack { path: String, name: String, source: UnpackError },
    #[error("container rootfs is marked read-only")]
    ReadOnly { name: String },
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl Diagnose for ArchiveError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotFound { .. } => Class::NotFound,
            Self::NotADirectory { .. } => Class::Invalid,
            Self::Root { source, .. } | Self::Read { source, .. } | Self::Write(source) => {
                Class::of_io(source)
            }
            Self::Pack { source, .. } => source.class(),
            Self::Unpack { source, .. } => source.class(),
            Self::ReadOnly { .. } => Class::Denied,
            Self::Volume(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Volume(error) => error.hint(),
            Self::Unpack { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// What a path in a container is; `X-Docker-Container-Path-Stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// Last component of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Last change of the content.
    pub modified_ns: i64,
    /// Where a symbolic link points.
    pub link_target: String,
}

impl PathStat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Symlink
    }
}

/// How an archive is unpacked into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Refuse to replace a directory by something else and the other way round.
    pub keep_kinds: bool,
    /// Give everything this owner instead of the archive's.
    pub owner: Option<(u32, u32)>,
}

/// An opened root and a path below it.
struct Place {
    root: OwnedFd,
    path: PathBuf,
    read_only: bool,
    /// The host's id of the container's 0, as the tree's owners show it; 0 when they are the container's own ids.
    first_id: u32,
    /// Whether [`KERNEL`] is part of the tree.
    shows_kernel: bool,
}

/// Where a running container sees the kernel instead of files. Nothing below is copied with what is around it, as with Docker.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

impl Engine {
    /// What `path` in a container is; a link at its end is not followed unless the path ends in a slash.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat, ArchiveError> {
        let container = self.find(name)?;
        let place = self.place(&container, path)?;
        Ok(locate(&container, path, &place)?.stat)
    }

    /// Writes `path` of a container to `output` as a tar archive whose names begin with the path's last component.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn archive_get(
        &self,
        name: &str,
        path: &str,
        output: &mut dyn Write,
    ) -> Result<PathStat, ArchiveError> {
        let container = self.find(name)?;
        let place = self.place(&container, path)?;
        let found = locate(&container, path, &place)?;
        let mut writer = Writer::new(output);
        let pack_error =
            |source| ArchiveError::Pack { path: path.to_owned(), name: container.name.clone(), source };
        let read_error =
            |source| ArchiveError::Read { path: path.to_owned(), name: container.name.clone(), source };
        match found.target {
            Target::Directory(fd) => {
                let is_file = |below: &[u8]| {
                    let path = place.path.join(OsStr::from_bytes(below));
                    !KERNEL.iter().any(|kernel| path.starts_with(kernel) && path != Path::new(kernel))
                };
                // Whoever names a directory inside, such as one of /dev/shm, wants that.
                let is_around = KERNEL.iter().any(|kernel| Path::new(kernel).starts_with(&place.path));
                let options = PackOptions {
                    prefix: found.stat.name.as_bytes(),
                    first_id: place.first_id,
                    filter: (place.shows_kernel && is_around).then_some(&is_file),
                    ..PackOptions::default()
                };
                archive::pack(&mut writer, fd.as_fd(), &options).map_err(pack_error)?;
            }
            Target::Other { parent, name } => {
                let stat = sys::fs::stat_at(&parent, name.as_c_str()).map_err(read_error)?;
                let mut entry = Entry::file(&found.stat.name, 0);
                entry.mode = stat.st_mode & 0o7777;
                let inner = |id: u32| id.checked_sub(place.first_id).unwrap_or(id);
                (entry.uid, entry.gid) = (inner(stat.st_uid), inner(stat.st_gid));
                entry.mtime = (stat.st_mtime, 0);
                entry.link = found.stat.link_target.clone().into_bytes();
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => {
                        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                        let file = File::from(
                            sys::fs::open_at(&parent, name.as_c_str(), flags, 0).map_err(read_error)?,
                        );
                        entry.xattrs =
                            archive::attributes(file.as_fd(), found.stat.name.as_bytes(), place.first_id)
                                .map_err(pack_error)?;
                        entry.size = file.metadata().map_err(read_error)?.len();
                        writer.append(&entry, file.take(entry.size)).map_err(ArchiveError::Write)?;
                    }
                    other => {
                        entry.kind = match other {
                            FileType::Symlink => Kind::Symlink,
                            FileType::Fifo => Kind::Fifo,
                            FileType::CharacterDevice => Kind::Character,
                            FileType::BlockDevice => Kind::Block,
                            _ => {
                                let source =
                                    io::Error::new(io::ErrorKind::Unsupported, "a socket cannot be copied");
                                return Err(read_error(source));
                            }
                        };
                        entry.device = sys::fs::device_numbers(stat.st_rdev);
                        writer.append(&entry, io::empty()).map_err(ArchiveError::Write)?;
                    }
                }
            }
        }
        writer.finish().map_err(ArchiveError::Write)?;
        self.emit(&crate::events::container(&container, "archive-path"));
        Ok(found.stat)
    }

    /// Unpacks a tar archive, compressed or not, into the directory `path` of a container.
    ///
    /// # Errors
    /// [`ArchiveError`]; what was unpacked before it stays.
    pub fn archive_put(
        &self,
        name: &str,
        path: &str,
        input: &mut (dyn Read + Send),
        options: &PutOptions,
    ) -> Result<(), ArchiveError> {
        let container = self.find(name)?;
        let place = self.place(&container, path)?;
        if place.read_only {
            return Err(ArchiveError::ReadOnly { name: container.name });
        }
        let directory =
            sys::fs::open_in_root(&place.root, place.path.as_path(), OFlags::RDONLY | OFlags::DIRECTORY, 0);
        let directory = directory.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                ArchiveError::NotFound { path: path.to_owned(), name: container.name.clone() }
            }
            io::ErrorKind::NotADirectory => {
                ArchiveError::NotADirectory { path: path.to_owned(), name: container.name.clone() }
            }
            _ => ArchiveError::Read { path: path.to_owned(), name: container.name.clone(), source },
        })?;
        let unpack = UnpackOptions {
            keep_kinds: options.keep_kinds,
            owner: options.owner,
            first_id: place.first_id,
            devices: archive::Devices::Create,
            ..UnpackOptions::default()
        };
        let (_, decoded) = archive::decode(input).map_err(ArchiveError::Write)?;
        // Through the container's id maps only who has an id in them can make files.
        let ids = (place.first_id > 0).then(|| sys::process::own_files_as(place.first_id, place.first_id));
        let _ids =
            ids.transpose().map_err(|source| ArchiveError::Root { name: container.name.clone(), source })?;
        archive::unpack(decoded, directory.as_fd(), &unpack).map_err(|source| ArchiveError::Unpack {
            path: path.to_owned(),
            name: container.name.clone(),
            source,
        })?;
        self.emit(&crate::events::container(&container, "extract-to-dir"));
        Ok(())
    }

    /// Writes all files of a container, without its mounts, to `output` as a tar archive.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn export(&self, name: &str, output: &mut dyn Write) -> Result<(), ArchiveError> {
        let container = self.find(name)?;
        // What a killed monitor left running must not go on writing to it.
        self.observe(&container)?;
        let root = rootfs::merged(self.store(), &container.layers, &self.data_dir(&container.id))
            // A new mount's descriptor stands for a place only; files are read through an open directory.
            .and_then(|root| {
                sys::fs::open_in_root(&root, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY, 0)
            })
            .map_err(|source| ArchiveError::Root { name: container.name.clone(), source })?;
        let mut writer = Writer::new(output);
        archive::pack(&mut writer, root.as_fd(), &PackOptions::default()).map_err(|source| {
            ArchiveError::Pack { path: "/".into(), name: container.name.clone(), source }
        })?;
        writer.finish().map_err(ArchiveError::Write)?;
        self.emit(&crate::events::container(&container, "export"));
        Ok(())
    }

    /// Opens the tree that `path` of a container is in.
    fn place(&self, container: &Container, path: &str) -> Result<Place, ArchiveError> {
        let error = |source| ArchiveError::Root { name: container.name.clone(), source };
        let read_only_root = container.doc.spec.isolation.read_only;
        let path = clean(path);
        let state = self.observe(container)?.state;
        if state.status.is_active() && state.pid != 0 {
            // The kernel itself refuses writes below read-only mounts of a running container.
            let root = sys::fs::open_dir(format!("/proc/{}/root", state.pid).as_str()).map_err(error)?;
            let first_id = state.first_id.unwrap_or(0);
            return Ok(Place { root, path, read_only: false, first_id, shows_kernel: true });
        }
        let mounts = container.doc.mounts.iter().filter(|mount| path.starts_with(&mount.target));
        if let Some(mount) = mounts.max_by_key(|mount| mount.target.len()) {
            let source = match &mount.source {
                MountSource::Bind { path, .. } => Some(path.clone()),
                MountSource::Volume { name, .. } => Some(self.ensure_volume_directory(name)?),
                // Nothing of it is there while the container does not run.
                MountSource::Tmpfs { .. } => None,
            };
            if let Some(source) = source.filter(|source| source.is_dir()) {
                let below = path.strip_prefix(&mount.target).unwrap_or(Path::new(""));
                let root = sys::fs::open_dir(source.as_path()).map_err(error)?;
                let path = Path::new("/").join(below);
                return Ok(Place {
                    root,
                    path,
                    read_only: mount.read_only,
                    first_id: 0,
                    shows_kernel: false,
                });
            }
        }
        let root = rootfs::writable(self.store(), &container.layers, &self.data_dir(&container.id))
            .map_err(error)?;
        Ok(Place { root, path, read_only: read_only_root, first_id: 0, shows_kernel: false })
    }
}

/// What a path led to.
struct Located {
    stat: PathStat,
    target: Target,
}

enum Target {
    Directory(OwnedFd),
    Other { parent: OwnedFd, name: CString },
}

/// Makes a path absolute and takes `.` and `..` out of it by their letters, as Docker does. A trailing `/` or `/.` stays visible
/// to [`locate`] through the original text.
fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    cleaned
}

fn locate(container: &Container, path: &str, place: &Place) -> Result<Located, ArchiveError> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ArchiveError::NotFound { path: path.to_owned(), name: container.name.clone() }
        }
        _ => ArchiveError::Read { path: path.to_owned(), name: container.name.clone(), source },
    };
    let shown =
        clean(path).file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    let directory = OFlags::RDONLY | OFlags::DIRECTORY;
    let follow = path.ends_with('/') || path.ends_with("/.");
    if let (false, Some(parent), Some(name)) = (follow, place.path.parent(), place.path.file_name()) {
        let parent = sys::fs::open_in_root(&place.root, parent, directory, 0).map_err(error)?;
        let name = c_string(name).map_err(error)?;
        let stat = sys::fs::stat_at(&parent, name.as_c_str()).map_err(error)?;
        let mut described = describe(shown, &stat);
        if described.is_link() {
            let link = sys::fs::read_link_at(&parent, name.as_c_str()).map_err(error)?;
            described.link_target = link.to_string_lossy().into_owned();
        }
        if !described.is_dir() {
            return Ok(Located { stat: described, target: Target::Other { parent, name } });
        }
        let fd = sys::fs::open_dir_at(&parent, name.as_c_str()).map_err(error)?;
        return Ok(Located { stat: described, target: Target::Directory(fd) });
    }
    let fd = sys::fs::open_in_root(&place.root, place.path.as_path(), directory, 0).map_err(error)?;
    let stat = sys::fs::stat(&fd).map_err(error)?;
    Ok(Located { stat: describe(shown, &stat), target: Target::Directory(fd) })
}

fn describe(name: String, stat: &sys::fs::Stat) -> PathStat {
    PathStat {
        name,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        modified_ns: stat.st_mtime * 1_000_000_000 + i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        link_target: String::new(),
    }
}

fn c_string(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_letters() {
        for (path, expected) in
            [("etc/../../a", "/a"), ("/", "/"), ("", "/"), ("/a/./b/", "/a/b"), ("..", "/")]
        {
            assert_eq!(clean(path), Path::new(expected), "{path}");
        }
    }
}

//! Files beneath a root (openat2), locks, renames, extended attributes, device nodes, syncing.
//!
//! Everything is relative to a directory descriptor. A path that comes from an archive, an image or a container is only ever
//! given to [`open_in_root`], [`open_beneath`] or [`open_plain`]; the `*_at` functions take a single name in a directory
//! that was reached that way, and never follow a symbolic link in their last component.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timestamps};
pub use rustix::path::Arg;

use rustix::fs::{self as raw, Gid, RenameFlags, ResolveFlags, Timespec, Uid};

mod copy;
mod lock;
mod new_file;
mod remove;
mod xattr;

pub use copy::{copy_contents, copy_hole_aware};
pub use lock::{FileLock, LockKind, ProcessLock, try_lock_byte};
pub use new_file::NewFile;
pub use remove::{remove_contents, remove_tree, remove_tree_at};
pub use xattr::{get_xattr, get_xattr_at, list_xattrs, list_xattrs_at, set_xattr, set_xattr_at};

/// Opens `path` as the process sees it, close-on-exec.
pub fn open(path: impl Arg, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    Ok(raw::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?)
}

/// Opens an existing directory for `*_at` calls and reading.
pub fn open_dir(path: impl Arg) -> io::Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Gives `file` its first `size` bytes on the disk, to be had without finding room for them later.
pub fn allocate(file: impl AsFd, size: u64) -> io::Result<()> {
    Ok(raw::fallocate(file, raw::FallocateFlags::empty(), 0, size)?)
}

/// Opens `name` in `dir` without following it when it is a symbolic link.
pub fn open_at(dir: impl AsFd, name: impl Arg, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    Ok(raw::openat(dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::from_raw_mode(mode))?)
}

/// Opens the directory `name` in `dir`, which must not be a symbolic link.
pub fn open_dir_at(dir: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

fn open_resolving(
    root: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: u32,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let (root, path) = (root.as_fd(), path.into_c_str()?);
    let mode = Mode::from_raw_mode(mode);
    // EAGAIN: a rename elsewhere on the system raced with the check that a `..` stays inside (openat2(2)).
    for _ in 0..128 {
        match raw::openat2(root, &*path, flags | OFlags::CLOEXEC, mode, resolve | ResolveFlags::NO_MAGICLINKS)
        {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Opens `path` as if `root` were `/`: absolute names and links, and `..`, stay inside (as after chroot).
pub fn open_in_root(root: impl AsFd, path: impl Arg, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    open_resolving(root, path, flags, mode, ResolveFlags::IN_ROOT)
}

/// Opens `path` below `root`; anything that would leave it, even for a moment, is `EXDEV`.
pub fn open_beneath(root: impl AsFd, path: impl Arg, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    open_resolving(root, path, flags, mode, ResolveFlags::BENEATH)
}

/// Opens `path` below `root` where no component may be a symbolic link (`ELOOP`).
pub fn open_plain(root: impl AsFd, path: impl Arg, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    open_resolving(root, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Makes every missing directory of `path` below `root` (links resolved inside it) and opens the last one.
///
/// A link that leads nowhere has its target made, inside the root as well. A component that exists as something other than a
/// directory is `ENOTDIR`.
pub fn create_dir_all_in_root(root: impl AsFd, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    create_dirs(root.as_fd(), path, mode, 0)
}

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

fn create_dirs(root: BorrowedFd<'_>, path: &Path, mode: u32, links: u32) -> io::Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    match open_in_root(root, path, directory, 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut reached = PathBuf::from("/");
    let mut current = open_in_root(root, "/", directory, 0)?;
    for component in path.components() {
        let name = match component {
            std::path::Component::Normal(name) => name,
            std::path::Component::ParentDir => {
                reached.push("..");
                current = open_in_root(root, &reached, directory, 0)?;
                continue;
            }
            _ => continue,
        };
        match raw::mkdirat(&current, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                let made = open_dir_at(&current, name)?;
                // The caller's mask took something away: what is in an image must not depend on it.
                if stat(&made)?.st_mode & mode != mode {
                    chmod(&made, mode)?;
                }
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let parent = reached.clone();
        // Reached again from the root, because an existing component may be a link and must then resolve inside it.
        reached.push(name);
        current = match open_in_root(root, &reached, directory, 0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && links < MAX_LINKS => {
                let target = read_link_at(&current, name)?;
                let target = parent.join(std::ffi::OsStr::from_bytes(target.to_bytes()));
                create_dirs(root, &target, mode, links + 1)?
            }
            other => other?,
        };
    }
    Ok(current)
}

/// The path through which calls that only take paths reach what `fd` refers to.
pub fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

pub fn mkdir_at(dir: impl AsFd, name: impl Arg, mode: u32) -> io::Result<()> {
    Ok(raw::mkdirat(dir, name, Mode::from_raw_mode(mode))?)
}

pub fn symlink_at(target: impl Arg, dir: impl AsFd, name: impl Arg) -> io::Result<()> {
    Ok(raw::symlinkat(target, dir, name)?)
}

/// Makes a second name for a file; a symbolic link is linked itself.
pub fn link_at(old_dir: impl AsFd, old: impl Arg, new_dir: impl AsFd, new: impl Arg) -> io::Result<()> {
    Ok(raw::linkat(old_dir, old, new_dir, new, AtFlags::empty())?)
}

/// Gives an unnamed file (opened with `O_TMPFILE`) its name; `AlreadyExists` when that is taken.
pub fn link_open_file(file: impl AsFd, dir: impl AsFd, name: impl Arg) -> io::Result<()> {
    // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH; the link in procfs needs nothing.
    Ok(raw::linkat(CWD, fd_path(file), dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// A file that is neither regular, directory nor link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Fifo,
    Socket,
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
}

pub fn mknod_at(dir: impl AsFd, name: impl Arg, node: Node, mode: u32) -> io::Result<()> {
    let (kind, device) = match node {
        Node::Fifo => (FileType::Fifo, 0),
        Node::Socket => (FileType::Socket, 0),
        Node::Character { major, minor } => (FileType::CharacterDevice, device(major, minor)?),
        Node::Block { major, minor } => (FileType::BlockDevice, device(major, minor)?),
    };
    Ok(raw::mknodat(dir, name, kind, Mode::from_raw_mode(mode), device)?)
}

/// The kernel has twelve bits for one number and twenty for the other and drops the rest: 4096:0 would become 0:0, a whiteout.
fn device(major: u32, minor: u32) -> io::Result<u64> {
    match major >> 12 == 0 && minor >> 20 == 0 {
        true => Ok(raw::makedev(major, minor)),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Major and minor number of a device.
pub fn device_numbers(device: u64) -> (u32, u32) {
    (raw::major(device), raw::minor(device))
}

pub fn unlink_at(dir: impl AsFd, name: impl Arg) -> io::Result<()> {
    Ok(raw::unlinkat(dir, name, AtFlags::empty())?)
}

pub fn rmdir_at(dir: impl AsFd, name: impl Arg) -> io::Result<()> {
    Ok(raw::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

pub fn read_link_at(dir: impl AsFd, name: impl Arg) -> io::Result<CString> {
    Ok(raw::readlinkat(dir, name, Vec::new())?)
}

/// Status of `name` itself, also when it is a symbolic link.
pub fn stat_at(dir: impl AsFd, name: impl Arg) -> io::Result<Stat> {
    Ok(raw::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub fn stat(fd: impl AsFd) -> io::Result<Stat> {
    Ok(raw::fstat(fd)?)
}

pub fn chown_at(dir: impl AsFd, name: impl Arg, uid: u32, gid: u32) -> io::Result<()> {
    Ok(raw::chownat(dir, name, Some(uid_of(uid)?), Some(gid_of(gid)?), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub fn chown(fd: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    Ok(raw::fchown(fd, Some(uid_of(uid)?), Some(gid_of(gid)?))?)
}

// The all-ones id means "leave as it is" to chown(2) and is not an id.
fn uid_of(uid: u32) -> io::Result<Uid> {
    if uid == u32::MAX { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(Uid::from_raw(uid)) }
}

fn gid_of(gid: u32) -> io::Result<Gid> {
    if gid == u32::MAX { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(Gid::from_raw(gid)) }
}

pub fn chmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(raw::fchmod(fd, Mode::from_raw_mode(mode))?)
}

/// Sets the mode of `name`; a symbolic link, which has none, is `Unsupported`.
pub fn chmod_at(dir: impl AsFd, name: impl Arg, mode: u32) -> io::Result<()> {
    // fchmodat(2) follows links, and a container may put one there between two calls (CVE-2018-15664): what was opened
    // without following is changed through its own descriptor.
    let file = open_at(dir, name, OFlags::PATH, 0)?;
    Ok(raw::chmod(fd_path(file.as_fd()), Mode::from_raw_mode(mode))?)
}

/// Sets access and modification time, each in seconds and nanoseconds since 1970.
pub fn set_times_at(
    dir: impl AsFd,
    name: impl Arg,
    access: (i64, u32),
    modified: (i64, u32),
) -> io::Result<()> {
    Ok(raw::utimensat(dir, name, &timestamps(access, modified), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub fn set_times(fd: impl AsFd, access: (i64, u32), modified: (i64, u32)) -> io::Result<()> {
    Ok(raw::futimens(fd, &timestamps(access, modified))?)
}

fn timestamps(access: (i64, u32), modified: (i64, u32)) -> Timestamps {
    let spec = |(tv_sec, nanos): (i64, u32)| Timespec { tv_sec, tv_nsec: nanos.into() };
    Timestamps { last_access: spec(access), last_modification: spec(modified) }
}

pub fn rename_at(old_dir: impl AsFd, old: impl Arg, new_dir: impl AsFd, new: impl Arg) -> io::Result<()> {
    Ok(raw::renameat(old_dir, old, new_dir, new)?)
}

/// Renames `old` to `new` unless `new` exists (`AlreadyExists`).
pub fn rename_noreplace(old: impl Arg, new: impl Arg) -> io::Result<()> {
    Ok(raw::renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE)?)
}

/// Swaps two names in one step.
pub fn exchange(a: impl Arg, b: impl Arg) -> io::Result<()> {
    Ok(raw::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

/// Writes everything of the filesystem `fd` is on to the disk.
pub fn syncfs(fd: impl AsFd) -> io::Result<()> {
    Ok(raw::syncfs(fd)?)
}

/// Tells the filesystem that the directories to be made in `dir` have nothing to do with each other, so that it spreads them:
/// `chattr +T`, which only the ext family knows.
///
/// # Errors
/// Those of `ioctl_iflags(2)`; on other filesystems `EOPNOTSUPP` or `ENOTTY`.
pub fn set_top_of_hierarchies(dir: impl AsFd) -> io::Result<()> {
    let flags = raw::ioctl_getflags(&dir)?;
    Ok(raw::ioctl_setflags(&dir, flags | raw::IFlags::TOPDIR)?)
}

/// Makes names created in or renamed into the directory `path` durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    Ok(raw::fsync(open_dir(path)?)?)
}

/// Replaces the file at `path` by `contents` in one step; with `durable` it survives a power cut from then on.
pub fn write_atomic(path: &Path, contents: &[u8], mode: u32, durable: bool) -> io::Result<()> {
    use std::io::Write as _;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = open_dir(parent)?;
    let mut temporary = b".".to_vec();
    temporary.extend_from_slice(name.as_bytes());
    temporary.extend_from_slice(format!(".{}.new", std::process::id()).as_bytes());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let mut file = File::from(open_at(&dir, temporary.as_slice(), flags, mode)?);
    let written = file.write_all(contents).and_then(|()| if durable { file.sync_data() } else { Ok(()) });
    let renamed = written.and_then(|()| rename_at(&dir, temporary.as_slice(), &dir, name));
    if let Err(e) = renamed {
        let _ = unlink_at(&dir, temporary.as_slice());
        return Err(e);
    }
    if durable { Ok(raw::fsync(dir)?) } else { Ok(()) }
}

/// The user whose rights decide what files this process may touch.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The filesystem's type number (statfs `f_type`), its size and what is free, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem {
    pub kind: i64,
    pub total_bytes: u64,
    pub available_bytes: u64,
}

pub fn filesystem(fd: impl AsFd) -> io::Result<Filesystem> {
    let stat = raw::fstatfs(fd)?;
    let block = u64::try_from(stat.f_bsize).unwrap_or(4096);
    Ok(Filesystem {
        #[allow(clippy::unnecessary_cast)]
        kind: stat.f_type as i64,
        total_bytes: stat.f_blocks * block,
        available_bytes: stat.f_bavail * block,
    })
}

/// The names in a directory with what is known of their types, without `.` and `..`.
pub fn read_dir(dir: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            entries.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;

//! The mount API: mount(2), fsopen, open_tree, move_mount, mount_setattr, pivot_root, umount2.
//!
//! A [`Tree`] is a mount that is attached nowhere: it is configured through its descriptor, and then [attached](Tree::attach)
//! to a descriptor, so that no path is looked up between the check of a mount point and its use.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::path::Arg;

/// What a mount allows, whatever its file system does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    pub const NONE: Self = Self(0);
    pub const READ_ONLY: Self = Self(0x1);
    pub const NO_SUID: Self = Self(0x2);
    pub const NO_DEV: Self = Self(0x4);
    pub const NO_EXEC: Self = Self(0x8);
    /// The access-time modes are values of one field: setting one means clearing [`Self::ACCESS_TIME`] with it.
    pub const RELATIVE_ACCESS_TIME: Self = Self(0x0);
    pub const NO_ACCESS_TIME: Self = Self(0x10);
    pub const STRICT_ACCESS_TIME: Self = Self(0x20);
    pub const ACCESS_TIME: Self = Self(0x70);
    pub const NO_DIRECTORY_ACCESS_TIME: Self = Self(0x80);
    pub const NO_SYMLINK_FOLLOW: Self = Self(0x20_0000);

    /// Both together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How mounts made below a mount spread to its peers; see mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
    Unbindable,
}

impl Propagation {
    const fn flag(self) -> MountPropagationFlags {
        match self {
            Self::Private => MountPropagationFlags::PRIVATE,
            Self::Slave => MountPropagationFlags::DOWNSTREAM,
            Self::Shared => MountPropagationFlags::SHARED,
            Self::Unbindable => MountPropagationFlags::UNBINDABLE,
        }
    }
}

/// Whether a call is about one mount or also about those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    One,
    Recursive,
}

/// A change for [`Tree::change`] and [`change`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub set: Attributes,
    pub clear: Attributes,
    pub propagation: Option<Propagation>,
}

impl Change {
    /// Only adds `set`.
    pub const fn set(set: Attributes) -> Self {
        Self { set, clear: Attributes::NONE, propagation: None }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A new file system being configured.
#[derive(Debug)]
pub struct Context(OwnedFd);

impl Context {
    /// Starts with the file system type, such as `tmpfs`.
    pub fn open(kind: &str) -> io::Result<Self> {
        Ok(Self(rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?))
    }

    /// Starts to change the file system `fd` is on, which exists.
    pub fn pick(fd: impl AsFd) -> io::Result<Self> {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        Ok(Self(rustix::mount::fspick(fd, c"", flags)?))
    }

    /// Sets the option `key=value`.
    pub fn set(&self, key: &str, value: impl Arg) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_string(self.0.as_fd(), key, value)?)
    }

    /// Sets the option `key`.
    pub fn flag(&self, key: &str) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_flag(self.0.as_fd(), key)?)
    }

    /// Makes the file system and a mount of it.
    pub fn mount(&self, attributes: Attributes) -> io::Result<Tree> {
        rustix::mount::fsconfig_create(self.0.as_fd())?;
        let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
        Ok(Tree(rustix::mount::fsmount(self.0.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// Changes the file system that was [picked](Self::pick).
    pub fn reconfigure(&self) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_reconfigure(self.0.as_fd())?)
    }

    /// What the kernel says about the last failure, when it says anything.
    pub fn complaint(&self) -> Option<String> {
        let mut buffer = [0; 512];
        let mut last = None;
        // One message a read, oldest first, each starting with its level and a space.
        while let Ok(length @ 1..) = rustix::io::read(&self.0, &mut buffer) {
            last = Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
        }
        last.map(|text| text.strip_prefix("e ").unwrap_or(&text).to_owned())
    }
}

/// A mount, or a tree of them, attached nowhere yet; gone when dropped before that.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// Copies the mount at `path`, looked up from `dir` (a bind mount to be).
    pub fn copy_at(dir: impl AsFd, path: impl Arg, depth: Depth) -> io::Result<Self> {
        Self::open(dir, path, depth, OpenTreeFlags::empty())
    }

    /// Copies the mount at `path` as the process sees it.
    pub fn copy(path: impl Arg, depth: Depth) -> io::Result<Self> {
        Self::copy_at(CWD, path, depth)
    }

    /// Copies the mount at what `fd` refers to.
    pub fn copy_fd(fd: impl AsFd, depth: Depth) -> io::Result<Self> {
        Self::open(fd, c"", depth, OpenTreeFlags::AT_EMPTY_PATH)
    }

    fn open(dir: impl AsFd, path: impl Arg, depth: Depth, more: OpenTreeFlags) -> io::Result<Self> {
        let mut flags = more | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if depth == Depth::Recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        Ok(Self(rustix::mount::open_tree(dir, path, flags)?))
    }

    /// Changes attributes or propagation.
    pub fn change(&self, change: Change, depth: Depth) -> io::Result<()> {
        set_attributes(self.0.as_fd(), change, depth)
    }

    /// Shows the files' owners through the id maps of the user namespace behind `users`: an id of the file system is taken for
    /// one inside that namespace. Possible once, before the tree is attached; needs a file system that knows of such mounts.
    pub fn map_ids(&self, users: BorrowedFd<'_>, depth: Depth) -> io::Result<()> {
        let attr = MountAttr {
            set: MOUNT_ATTR_IDMAP,
            user_namespace: users.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        mount_setattr(self.0.as_fd(), &attr, depth)
    }

    /// A tree that came from another process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Attaches the tree on top of what `target` refers to.
    pub fn attach(&self, target: impl AsFd) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(self.0.as_fd(), c"", target, c"", flags)?)
    }

    /// The descriptor as such, for a file kept open on the detached mount.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Changes the mount at the root of which `fd` is.
pub fn change(fd: impl AsFd, change: Change, depth: Depth) -> io::Result<()> {
    set_attributes(fd.as_fd(), change, depth)
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_attributes(fd: BorrowedFd<'_>, change: Change, depth: Depth) -> io::Result<()> {
    let attr = MountAttr {
        set: change.set.0,
        clear: change.clear.0,
        propagation: change.propagation.map_or(0, |p| u64::from(p.flag().bits())),
        ..MountAttr::default()
    };
    mount_setattr(fd, &attr, depth)
}

/// From linux/mount.h.
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

fn mount_setattr(fd: BorrowedFd<'_>, attr: &MountAttr, depth: Depth) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if depth == Depth::Recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the kernel reads a C string constant and `attr`, whose layout and size are those of its structure; both
    // outlive the call, which keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Changes how the mount at `path` propagates.
pub fn set_propagation(path: impl Arg, propagation: Propagation, depth: Depth) -> io::Result<()> {
    let mut flags = propagation.flag();
    if depth == Depth::Recursive {
        flags |= MountPropagationFlags::REC;
    }
    Ok(rustix::mount::mount_change(path, flags)?)
}

/// Mounts an overlay, which the mount table calls `source`, on `target` with the options of one page, by mount(2): faster than a
/// [`Context`], and all kernels know it.
pub fn mount_overlay(source: impl Arg, target: impl Arg, options: &CStr) -> io::Result<()> {
    let none = rustix::mount::MountFlags::empty();
    Ok(rustix::mount::mount(source, target, c"overlay", none, options)?)
}

/// Makes the directory `new_root` refers to the root of this mount namespace and lets go of the old one.
///
/// The new root is stacked over the old one at `/` and the old one unmounted from there: no directory is needed for it.
pub fn pivot_root(new_root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(new_root)?;
    rustix::process::pivot_root(c".", c".")?;
    // The working directory is still the old root, whose mounts must not take what happens here with them.
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Moves the mount `new_root` refers to over `/` and makes it the root of this process; others keep theirs.
pub fn move_root(new_root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::mount::move_mount(new_root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(new_root)?;
    rustix::process::chroot(c".")?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Unmounts what is at `path`; fails with EBUSY while somebody uses it.
pub fn unmount(path: impl Arg) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::NOFOLLOW)?)
}

/// Unmounts what is at `path` now or when its last user leaves.
pub fn detach(path: impl Arg) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// The number that tells which type of file system `fd` is on (`statfs.f_type`).
pub fn file_system_magic(fd: impl AsFd) -> io::Result<i64> {
    Ok(rustix::fs::fstatfs(fd)?.f_type)
}

/// Whether the mount `fd` is on is read-only.
pub fn is_read_only(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatvfs(fd)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// `statfs.f_type` of procfs.
pub const PROC_MAGIC: i64 = libc::PROC_SUPER_MAGIC;
/// `statfs.f_type` of the pipes of pipe(2).
pub const PIPE_MAGIC: i64 = 0x5049_5045;
/// `statfs.f_type` of devpts.
pub const DEVPTS_MAGIC: i64 = 0x1cd1;

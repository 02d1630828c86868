//! What a caller asks for.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cgroup::Cgroup;
use oci::runtime::{NamespaceType, Spec};
use serde::{Deserialize, Serialize};
use sys::terminal::WindowSize;

use crate::seccomp::Seccomp;

/// A container to create.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The container's id; names its keyring and its errors.
    pub id: &'a str,
    /// Everything the specification covers, but what is given here by itself: `root.path` (`root.readonly` counts),
    /// `linux.cgroupsPath` and `linux.resources` (`cgroup`), `linux.seccomp` (`seccomp`, which must be the same:
    /// [`Seccomp::of`]).
    pub spec: &'a Spec,
    pub rootfs: &'a Rootfs,
    pub user: &'a UserSpec,
    /// More supplementary groups, by name or number, resolved in the container.
    pub extra_groups: &'a [String],
    /// The control group the container lives in; without one it stays in the caller's.
    pub cgroup: Option<&'a Cgroup>,
    pub seccomp: &'a Seccomp,
    pub stdio: Stdio,
    /// Namespaces to join instead of those the specification says.
    pub join: &'a [(NamespaceType, BorrowedFd<'a>)],
    /// Whether PID 1 is hull's reaper, which forwards signals to the program and collects orphans.
    pub init: bool,
    /// The bundle's directory, absolute, as hooks are told.
    pub bundle: &'a Path,
    pub lifetime: Lifetime,
    /// How many descriptors after the standard streams the program inherits.
    pub preserve_fds: u32,
    /// Whether the root is switched by moving it and chroot(2), for roots on which pivot_root(2) does not work (a ramdisk's).
    pub no_pivot: bool,
}

/// How long a container's first process may live, and who starts its program.
#[derive(Debug)]
pub enum Lifetime {
    /// As long as the caller, which starts it.
    Caller,
    /// Its own: whoever connects to this socket may [`start`](crate::start) it, when the caller is long gone.
    Own(UnixListener),
}

/// Where the root filesystem comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// Layers under a writable directory, combined by overlayfs.
    Overlay {
        /// The layers' directories, topmost first.
        lower: Vec<PathBuf>,
        upper: PathBuf,
        /// An empty directory on the file system of `upper`.
        work: PathBuf,
        /// Skips the sync of the whole file system at unmount; what is in `upper` after a power loss is then undefined.
        volatile: bool,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

impl Rootfs {
    /// Lets a volatile overlay be mounted again: the kernel refuses to while the mark of the mount before is there, because a
    /// crash may have lost what it held. For a caller that knows there was none.
    pub fn forget_volatile_mount(&self) {
        if let Self::Overlay { work, volatile: true, .. } = self {
            let _ = std::fs::remove_dir_all(work.join("work/incompat/volatile"));
        }
    }
}

/// The standard streams of the process.
#[derive(Debug)]
pub enum Stdio {
    /// All three are the container's `/dev/null`.
    Null,
    /// The caller's own.
    Inherit,
    /// These; `None` is `/dev/null`.
    Fds { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    /// A pseudo-terminal of the container's devpts; the caller gets its controlling side.
    Terminal { size: Option<WindowSize> },
}

/// Who the process runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserSpec {
    /// The numbers in `spec.process.user`.
    Ids,
    /// `user`, `uid`, `user:group`, as Docker reads it from the container's `/etc/passwd` and `/etc/group`; empty is root.
    Named(String),
}

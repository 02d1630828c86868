//! Creating and joining namespaces; see namespaces(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

impl Kind {
    const fn flag(self) -> libc::c_int {
        match self {
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::User => libc::CLONE_NEWUSER,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => libc::CLONE_NEWTIME,
        }
    }

    /// The file below `/proc/<pid>/ns`.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Mount => "mnt",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet(libc::c_int);

impl KindSet {
    pub const EMPTY: Self = Self(0);

    /// The set with `kind` added.
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.flag())
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.flag() != 0
    }

    pub(crate) const fn flags(self) -> libc::c_int {
        self.0
    }
}

/// Opens the namespace of `kind` that process `pid` is in.
pub fn open(pid: i32, kind: Kind) -> io::Result<OwnedFd> {
    open_path(format!("/proc/{pid}/ns/{}", kind.file()).as_ref())
}

/// Opens the namespace of `kind` that this thread is in.
pub fn open_own(kind: Kind) -> io::Result<OwnedFd> {
    open_path(format!("/proc/thread-self/ns/{}", kind.file()).as_ref())
}

/// Opens a namespace by the file that names it.
pub fn open_path(path: &std::path::Path) -> io::Result<OwnedFd> {
    // A FIFO in its place must not make us wait for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Whether `namespace` is one, and of `kind`.
pub fn is_of(namespace: &OwnedFd, kind: Kind) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument and only returns a number, or an error for other files.
    let found = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    found == kind.flag()
}

/// From linux/nsfs.h.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Moves this thread into new namespaces; a new pid namespace takes its next children only.
pub fn unshare(kinds: KindSet) -> io::Result<()> {
    // SAFETY: unshare reads an integer; none of the flags of a KindSet unshares memory or descriptors.
    check(unsafe { libc::unshare(kinds.flags()) })
}

/// Moves this thread into `namespace`, which must be of `kind`; a pid namespace takes its next children only.
pub fn join(namespace: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
    // SAFETY: setns reads two integers and writes no memory; the borrow keeps the descriptor open for the call.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind.flag()) })
}

/// Moves this thread into the namespaces of `kinds` that the process behind `pidfd` is in, all or none.
pub fn join_process(pidfd: BorrowedFd<'_>, kinds: KindSet) -> io::Result<()> {
    // SAFETY: as in `join`.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), kinds.flags()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

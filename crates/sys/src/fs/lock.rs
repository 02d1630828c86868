//! Advisory locks on whole files (flock(2)) and on single bytes of them (fcntl(2)); they belong to the open file and vanish with
//! it, however its holder dies.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, fcntl_lock, flock};

use super::{Arg, OFlags, open};

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    Shared,
    Exclusive,
}

/// A held lock; dropping it releases it, even when another thread has just forked and its child still has a copy of the descriptor.
///
/// A child that is a copy of this process must not drop its own: that would release this one.
#[derive(Debug)]
pub struct FileLock(Option<OwnedFd>);

impl FileLock {
    /// Creates `path` when missing and waits until the lock is granted.
    pub fn acquire(path: impl Arg, kind: LockKind) -> io::Result<Self> {
        Self::wait(open(path, OFlags::RDWR | OFlags::CREATE, 0o600)?, kind)
    }

    /// Creates `path` when missing; `None` when somebody else holds a lock that excludes this one.
    pub fn try_acquire(path: impl Arg, kind: LockKind) -> io::Result<Option<Self>> {
        Self::attempt(open(path, OFlags::RDWR | OFlags::CREATE, 0o600)?, kind)
    }

    /// As [`FileLock::try_acquire`], for a file that must exist.
    pub fn try_existing(path: impl Arg, kind: LockKind) -> io::Result<Option<Self>> {
        Self::attempt(open(path, OFlags::RDWR, 0)?, kind)
    }

    /// Locks a file that is already open, waiting as long as it takes.
    pub fn wait(fd: OwnedFd, kind: LockKind) -> io::Result<Self> {
        let operation = match kind {
            LockKind::Shared => FlockOperation::LockShared,
            LockKind::Exclusive => FlockOperation::LockExclusive,
        };
        rustix::io::retry_on_intr(|| flock(&fd, operation))?;
        Ok(Self(Some(fd)))
    }

    /// Locks a file that is already open; `None` when somebody else holds a lock that excludes this one.
    pub fn attempt(fd: OwnedFd, kind: LockKind) -> io::Result<Option<Self>> {
        let operation = match kind {
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::io::retry_on_intr(|| flock(&fd, operation)) {
            Ok(()) => Ok(Some(Self(Some(fd)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Releases the lock but keeps the file open for the next [`FileLock::wait`].
    pub fn release(mut self) -> io::Result<OwnedFd> {
        let fd = self.0.take().expect(HELD);
        flock(&fd, FlockOperation::Unlock)?;
        Ok(fd)
    }

    /// Leaves the lock to a process that has inherited it.
    pub fn leave(mut self) {
        drop(self.0.take());
    }
}

const HELD: &str = "only what consumes a lock takes it";

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Some(fd) = &self.0 {
            // Should it fail, closing does the same as soon as no child has a copy.
            let _ = flock(fd, FlockOperation::Unlock);
        }
    }
}

/// A held lock of this process (fcntl(2)): unlike a [`FileLock`] it is not a child's, nor does a copy of the descriptor keep it.
///
/// Opening and closing the same file elsewhere in the process would release it.
#[derive(Debug)]
pub struct ProcessLock(#[expect(dead_code, reason = "held, not read")] OwnedFd);

impl ProcessLock {
    /// Creates `path` when missing and waits until no other process holds it.
    pub fn acquire(path: impl Arg) -> io::Result<Self> {
        let fd = open(path, OFlags::RDWR | OFlags::CREATE, 0o600)?;
        rustix::io::retry_on_intr(|| fcntl_lock(&fd, FlockOperation::LockExclusive))?;
        Ok(Self(fd))
    }

    /// `None` when another process holds it; the file must exist.
    pub fn try_existing(path: impl Arg) -> io::Result<Option<Self>> {
        let fd = open(path, OFlags::RDWR, 0)?;
        match rustix::io::retry_on_intr(|| fcntl_lock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether another process holds the lock of the file at `path`.
    pub fn is_held(path: impl Arg) -> io::Result<bool> {
        Ok(Self::lock_of(path)?.is_some())
    }

    /// The process that holds the lock of the file at `path`; `None` also when it cannot be seen from this pid namespace.
    pub fn holder(path: impl Arg) -> io::Result<Option<i32>> {
        Ok(Self::lock_of(path)?.and_then(|lock| lock.pid).map(rustix::process::Pid::as_raw_pid))
    }

    fn lock_of(path: impl Arg) -> io::Result<Option<rustix::process::Flock>> {
        let fd = open(path, OFlags::RDONLY, 0)?;
        let wanted = rustix::process::Flock::from(rustix::process::FlockType::WriteLock);
        Ok(rustix::process::fcntl_getlk(fd, &wanted)?)
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect(HELD).as_fd()
    }
}

/// Locks the byte at `offset` of an open file exclusively; `false` when another open file holds it.
///
/// The byte need not exist. One open file may hold many; they are released when it is closed.
pub fn try_lock_byte(fd: impl AsFd, offset: i64) -> io::Result<bool> {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: F_OFD_SETLK reads one structure, which outlives the call; the borrow keeps the descriptor open.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match result {
        -1 => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            error => Err(error),
        },
        _ => Ok(true),
    }
}

//! Steps into another network namespace and back, and the lock that everything in one namespace shares.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use sys::fs::{FileLock, LockKind};
use sys::namespace::{self, Kind, KindSet};

/// Runs `f` with this thread inside `netns`. Sockets opened there stay there.
pub(crate) fn inside<T>(netns: BorrowedFd<'_>, f: impl FnOnce() -> T) -> io::Result<T> {
    let home = namespace::open_own(Kind::Network)?;
    namespace::join(netns, Kind::Network)?;
    let result = f();
    namespace::join(home.as_fd(), Kind::Network)
        .expect("a namespace this thread has just left, by its own descriptor, can be joined again");
    Ok(result)
}

/// Makes a network namespace; this thread, which the kernel moves into it, comes back.
pub fn new_netns() -> io::Result<OwnedFd> {
    let home = namespace::open_own(Kind::Network)?;
    namespace::unshare(KindSet::EMPTY.with(Kind::Network))?;
    let made = namespace::open_own(Kind::Network);
    namespace::join(home.as_fd(), Kind::Network)
        .expect("a namespace this thread has just left, by its own descriptor, can be joined again");
    made
}

/// How long to wait for a lock that any user of the host can hold too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Excludes every other hull, of whatever data root, from changing this thread's network namespace.
///
/// It is a lock on the namespace's own file, so it has the same scope as what it protects, goes with its holder and leaves
/// nothing behind. Since anybody may open that file, waiting ends after five seconds: without the lock the operation is
/// still correct, unless another hull chooses a subnet in the same millisecond.
pub(crate) fn lock() -> io::Result<Option<FileLock>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let file = namespace::open_own(Kind::Network)?;
        if let Some(lock) = FileLock::attempt(file, LockKind::Exclusive)? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_micros(200));
    }
}

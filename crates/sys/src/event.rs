//! Readiness: poll, signalfd, inotify.
//!
//! Deadlines are poll's timeout; hull's loops compute the nearest one themselves. The one timer stands in for inotify.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::Timespec;
pub use rustix::event::{PollFd, PollFlags};
pub use rustix::fs::inotify::{ReadFlags as InotifyEvents, WatchFlags};

/// Waits until a descriptor is ready or `timeout` has passed, and returns how many are; see ppoll(2).
///
/// An interrupting signal counts as nobody being ready: callers loop and recompute their deadlines anyway.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(|t| Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(t.subsec_nanos()),
    });
    match rustix::event::poll(fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready),
        Err(rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one descriptor; true when it became ready for any of `events` (or hung up) in time.
pub fn poll_one(fd: BorrowedFd<'_>, events: PollFlags, timeout: Option<Duration>) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::from_borrowed_fd(fd, events)], timeout)? > 0)
}

/// Signals as a readable descriptor; see signalfd(2).
///
/// The signals stay blocked in the whole process and are inherited blocked over clone and exec, so whoever starts a
/// program resets its mask.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in this thread and opens a non-blocking, close-on-exec descriptor that reports them.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set it is given; sigaddset then only touches that initialised set.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for &signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            set.assume_init()
        };
        // SAFETY: the set was initialised above and lives over the call; the old mask is not asked for.
        let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        // SAFETY: as above; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call just returned this new descriptor and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next pending signal's number, if there is one.
    pub fn take(&self) -> io::Result<Option<i32>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut buffer = [0u8; SIZE];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(SIZE) => {
                // ssi_signo is the structure's first field.
                let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                Ok(i32::try_from(number).ok())
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One change reported by an [`Inotify`] instance.
#[derive(Debug, Clone)]
pub struct Change {
    /// The watch that saw it, as [`Inotify::watch`] returned it.
    pub watch: i32,
    /// What happened.
    pub events: InotifyEvents,
    /// The entry concerned, when a directory is watched.
    pub name: Option<OsString>,
}

/// Tells that something may have changed: as soon as it has, or, when the user's inotify instances are used up, every
/// [`TICK`]. Many readers at once then cost time, not their answers.
#[derive(Debug)]
pub enum Notifier {
    Inotify(Inotify),
    Timer(OwnedFd),
}

/// How often a [`Notifier`] without inotify has its reader look.
const TICK: Duration = Duration::from_millis(50);

impl Notifier {
    /// Opens a non-blocking instance.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> io::Result<Self> {
        match Inotify::new() {
            Ok(inotify) => Ok(Self::Inotify(inotify)),
            // inotify_init1(2): the limit of instances per user and that of descriptors share an errno.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => Self::timer(),
            Err(error) => Err(error),
        }
    }

    fn timer() -> io::Result<Self> {
        use rustix::time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        };
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: tick, it_value: tick },
        )?;
        Ok(Self::Timer(timer))
    }

    /// Watches `path` for `events`.
    ///
    /// # Errors
    /// As [`Inotify::watch`].
    pub fn watch(&self, path: &Path, events: WatchFlags) -> io::Result<()> {
        match self {
            Self::Inotify(inotify) => inotify.watch(path, events).map(drop),
            Self::Timer(_) => Ok(()),
        }
    }

    /// Takes everything that is pending.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    pub fn take(&self) -> io::Result<()> {
        match self {
            Self::Inotify(inotify) => inotify.take().map(drop),
            Self::Timer(timer) => read_now(timer.as_fd(), &mut [0; 8]).map(drop),
        }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Inotify(inotify) => inotify.as_fd(),
            Self::Timer(timer) => timer.as_fd(),
        }
    }
}

/// Changes of files and directories as a readable descriptor; see inotify(7).
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl Inotify {
    /// Opens a non-blocking instance.
    pub fn new() -> io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, init};
        Ok(Self(init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches `path` for `events`; returns the number of the watch.
    pub fn watch(&self, path: &Path, events: WatchFlags) -> io::Result<i32> {
        Ok(rustix::fs::inotify::add_watch(&self.0, path, events)?)
    }

    /// Takes everything that is pending.
    pub fn take(&self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = rustix::fs::inotify::Reader::new(&self.0, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => changes.push(Change {
                    watch: event.wd(),
                    events: event.events(),
                    name: event.file_name().map(|n| OsString::from_vec(n.to_bytes().to_vec())),
                }),
                Err(rustix::io::Errno::AGAIN) => return Ok(changes),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes reads and writes of `fd` return `WouldBlock` instead of waiting.
///
/// The flag belongs to the open file description, so it also holds for every duplicate: do not use it on inherited
/// standard streams.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut value = i32::from(on);
    // SAFETY: FIONBIO reads one int, which lives over the call; the borrow keeps the descriptor open.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut value) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads into `buffer` once; `None` when nothing is there now.
pub fn read_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::io::read(fd, buffer) {
        Ok(n) => Ok(Some(n)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes as much of `bytes` as fits now and returns how much that was (possibly nothing).
pub fn write_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match rustix::io::write(fd, bytes) {
        Ok(n) => Ok(n),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inotify_names_the_entry() {
        let dir = std::env::temp_dir().join(format!("hull-inotify-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.watch(&dir, WatchFlags::CREATE).unwrap();
        assert!(inotify.take().unwrap().is_empty());
        std::fs::write(dir.join("new"), b"").unwrap();
        assert!(poll_one(inotify.as_fd(), PollFlags::IN, Some(Duration::from_secs(5))).unwrap());
        let changes = inotify.take().unwrap();
        assert_eq!(changes[0].name.as_deref(), Some(std::ffi::OsStr::new("new")));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

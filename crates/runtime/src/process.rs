//! A process that runs in a container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A running (or ended, but not yet waited for) process, a child of the caller.
#[derive(Debug)]
pub struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
}

impl Process {
    /// The process id as the caller sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The descriptor that becomes readable when the process ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Takes the controlling side of the process's terminal, when it has one.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Sends `signal`; a process that has ended is no error.
    pub fn kill(&self, signal: i32) -> io::Result<()> {
        sys::process::send_signal(self.pidfd.as_fd(), signal)
    }

    /// Waits for the end.
    pub fn wait(&self) -> io::Result<Exit> {
        Ok(Exit::from(sys::process::wait(self.pidfd.as_fd())?))
    }

    /// How it ended, when it has.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        Ok(sys::process::try_wait(self.pidfd.as_fd())?.map(Exit::from))
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    Signal(i32),
}

impl Exit {
    /// The status as shells and Docker show it: the code, or 128 plus the signal.
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl From<sys::process::Ended> for Exit {
    fn from(ended: sys::process::Ended) -> Self {
        match ended {
            sys::process::Ended::Exited(code) => Self::Code(code),
            sys::process::Ended::Signaled(signal) => Self::Signal(signal),
        }
    }
}

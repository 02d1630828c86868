//! Terminals: raw mode, window sizes, pseudo-terminal pairs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

/// The size of a terminal in character cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// The size of the terminal `fd`.
pub fn window_size(fd: BorrowedFd<'_>) -> io::Result<WindowSize> {
    let size = rustix::termios::tcgetwinsize(fd)?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Changes the size of the terminal `fd`; its foreground processes get SIGWINCH when it differs.
pub fn set_window_size(fd: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(fd, size)?)
}

/// A terminal in raw mode; dropping it restores what was before.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Switches the terminal `fd` to raw mode: no echo, no line editing, no signals from keys.
    ///
    /// Output processing stays off too, as in Docker: the terminal in the container does it.
    pub fn enter(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = fd.try_clone_to_owned()?;
        let before = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }

    /// Restores the terminal now and reports whether that worked.
    pub fn leave(self) -> io::Result<()> {
        self.restore()
    }

    fn restore(&self) -> io::Result<()> {
        Ok(rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = self.restore();
    }
}

/// The controlling side of a new pseudo-terminal from the host's `/dev/ptmx`, unlocked.
pub fn open_pty() -> io::Result<OwnedFd> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlock_pty(master.as_fd())?;
    Ok(master)
}

/// Unlocks the other side of the pseudo-terminal `master`, which may come from any devpts instance.
pub fn unlock_pty(master: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::pty::unlockpt(master)?)
}

/// Opens the process's side of the pseudo-terminal `master` without going through a path (TIOCGPTPEER).
pub fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(rustix::pty::ioctl_tiocgptpeer(master, flags)?)
}

/// Makes the terminal `fd` the controlling terminal of this session leader.
pub fn set_controlling(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(fd)?)
}

/// Makes the process group this process leads the foreground one of the terminal `fd`.
pub fn set_foreground(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::termios::tcsetpgrp(fd, rustix::process::getpid())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_raw_mode_of_a_pair() {
        let master = open_pty().unwrap();
        let peer = open_peer(master.as_fd()).unwrap();
        assert!(is_terminal(peer.as_fd()));
        let size = WindowSize { rows: 33, columns: 120 };
        set_window_size(master.as_fd(), size).unwrap();
        assert_eq!(window_size(peer.as_fd()).unwrap(), size);
        let modes = || rustix::termios::tcgetattr(&peer).unwrap().local_modes;
        let before = modes();
        let raw = RawMode::enter(peer.as_fd()).unwrap();
        assert_ne!(modes(), before);
        // Draining needs nobody at the other end here: nothing was written.
        raw.leave().unwrap();
        assert_eq!(modes(), before);
    }
}

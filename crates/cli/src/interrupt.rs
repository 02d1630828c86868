//! Ctrl-C for commands that work on several threads: each request to end is told, none kills in the middle of something.

use std::io;
use std::os::fd::AsFd as _;

use diag::{Class, Diagnose};
use sys::event::{PollFlags, SignalFd, poll_one};

/// Exit status of a command that was interrupted, as shells have it.
pub const EXIT_INTERRUPTED: u8 = 130;

const INT: i32 = 2;
const TERM: i32 = 15;

/// Signals cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("cannot wait for signals")]
pub struct InterruptError {
    source: io::Error,
}

impl Diagnose for InterruptError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }
}

/// From now on a request to end waits until somebody asks for it; for commands that have a moment in which to take all back.
pub fn hold() -> Result<SignalFd, InterruptError> {
    SignalFd::new(&[INT, TERM]).map_err(|source| InterruptError { source })
}

/// From now on `told` is called, with 1, 2, 3 and so on, each time the user or the system asks this process to end.
///
/// To be called before other threads are started: they inherit that these signals wait.
pub fn watch(told: impl Fn(u32) + Send + 'static) -> Result<(), InterruptError> {
    let signals = hold()?;
    std::thread::spawn(move || {
        let mut count = 0;
        while poll_one(signals.as_fd(), PollFlags::IN, None).is_ok() {
            while let Ok(Some(_)) = signals.take() {
                count += 1;
                told(count);
            }
        }
    });
    Ok(())
}

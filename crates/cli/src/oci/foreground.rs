//! Staying with a process until it ends.

use std::process::ExitCode;

use diag::Failure;
use runtime::Process;
use sys::event::SignalFd;

use super::error::OciError;
use super::process::Streams;
use crate::session::{self, DetachKeys, process};

/// Holds signals back to pass them on; before there is a process to pass them to, so that none is lost.
pub fn watch(id: &str) -> Result<SignalFd, OciError> {
    session::watch_signals(true).map_err(|source| OciError::Session { id: id.to_owned(), source })
}

/// Connects our streams and signals to the process, and ends as it ends.
pub fn run(id: &str, process: Process, streams: Streams, signals: &SignalFd) -> Result<ExitCode, Failure> {
    let failed = |source| OciError::Session { id: id.to_owned(), source };
    let no_keys = DetachKeys::from_flag(Some(""))?;
    match process::run(process, streams, signals, &no_keys).map_err(failed)? {
        process::End::Exited(exit) => Ok(ExitCode::from(exit.status() as u8)),
        process::End::Detached(_) => Ok(ExitCode::SUCCESS),
    }
}

//! A container in the foreground: attached streams, forwarded signals, its exit status as ours.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use diag::{Class, Diagnose};
use engine::Engine;
use engine::model::ContainerId;
use monitor::client::{AttachOptions, AttachStream};
use sys::event::SignalFd;

use crate::commands::{Ended, Outcome};
use crate::session::{self, DetachKeys, End, Options};

/// What is connected, and how.
pub struct Foreground {
    /// Input, output, errors.
    pub streams: [bool; 3],
    pub tty: bool,
    keys: DetachKeys,
    sig_proxy: bool,
}

/// Why a session cannot begin or did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum ForegroundError {
    #[error("the input device is not a TTY")]
    NotATerminal,
    #[error("lost the connection to container {id}")]
    Lost { id: String },
    #[error("cannot attach to container {id}")]
    Session { id: String, source: io::Error },
    #[error("cannot protect the program from the container")]
    Seal { source: io::Error },
    #[error("cannot wait for signals")]
    Signals { source: io::Error },
}

impl Diagnose for ForegroundError {
    fn class(&self) -> Class {
        match self {
            ForegroundError::NotATerminal => Class::Invalid,
            ForegroundError::Lost { .. } => Class::Unavailable,
            ForegroundError::Session { source, .. }
            | ForegroundError::Seal { source }
            | ForegroundError::Signals { source } => Class::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ForegroundError::NotATerminal => {
                Some("leave out `-t` when standard input is a pipe or a file".into())
            }
            ForegroundError::Lost { id } => Some(format!(
                "its monitor was killed; see `hull ps -a` and `hull logs {}`",
                &id[..id.len().min(12)]
            )),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        matches!(self, ForegroundError::NotATerminal).then_some(1)
    }
}

impl Foreground {
    /// Connects `streams` (input, output, errors) of a container, which has a terminal when `tty`.
    pub fn new(
        streams: [bool; 3],
        tty: bool,
        keys: DetachKeys,
        sig_proxy: bool,
    ) -> Result<Self, ForegroundError> {
        if tty && streams[0] && !io::stdin().is_terminal() {
            return Err(ForegroundError::NotATerminal);
        }
        Ok(Self { streams, tty, keys, sig_proxy: sig_proxy && !tty })
    }

    /// Rows and columns of our terminal, for a container that gets one.
    pub fn size(&self) -> Option<(u16, u16)> {
        session::terminal_size().filter(|_| self.tty).map(|size| (size.rows, size.columns))
    }

    /// Whether anything the container prints is shown.
    pub fn shows_output(&self) -> bool {
        self.streams[1] || self.streams[2]
    }

    /// What the monitor is asked for.
    pub fn attach_options(&self, will_remove: bool) -> AttachOptions {
        let [stdin, stdout, stderr] = self.streams;
        AttachOptions { stdin, stdout, stderr, size: self.size(), will_remove }
    }

    /// Holds back the signals the session handles, so that none is lost between here and there.
    pub fn block_signals(&self) -> Result<SignalFd, ForegroundError> {
        session::watch_signals(self.sig_proxy).map_err(|source| ForegroundError::Signals { source })
    }

    /// What the session connects, `forward` being how signals are passed on.
    pub fn options<'a>(&self, forward: &'a dyn Fn(i32), reap: Option<&'a dyn Fn()>) -> Options<'a> {
        let [stdin, stdout, stderr] = self.streams;
        let forward = self.sig_proxy.then_some(forward);
        Options { stdin, stdout, stderr, detach_keys: self.keys.clone(), forward, reap }
    }

    /// Runs the session; `remove` is for a container that removes itself and that nobody else removes.
    pub fn run(
        &self,
        engine: &Engine,
        id: &ContainerId,
        stream: AttachStream,
        signals: SignalFd,
        remove: bool,
    ) -> Outcome {
        let forward = |signal: i32| {
            // The container may have ended meanwhile; the session is about to see that.
            let _ = engine.kill(id.as_str(), &signal.to_string());
        };
        let begin_removal = || engine.discard_files(id);
        let options = self.options(&forward, remove.then_some(&begin_removal));
        let end = session::run(stream, &signals, &options)
            .map_err(|source| ForegroundError::Session { id: id.to_string(), source })?;
        match end {
            End::Exited(ended) => {
                if remove && !ended.restarting {
                    engine.finish_run(id)?;
                }
                Ok(exit_code(ended.code))
            }
            End::Detached => Ok(ExitCode::SUCCESS),
            End::Abandoned => Err(Ended::Reported(1)),
            End::Lost => {
                engine.recover(id);
                Err(ForegroundError::Lost { id: id.to_string() }.into())
            }
        }
    }
}

/// A container's exit code as ours.
pub fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

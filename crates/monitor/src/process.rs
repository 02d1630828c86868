//! The life of a monitor process: from its command line to its last act.
//!
//! ```text
//! exec ── lay the groundwork, wait for the launch request ── lock ── launch ── report ── supervise ── take down ── record ── exit or reap
//!                                │ channel closed              │ failed
//!                                └─ leave without a trace      └─ undo everything, report, leave
//! ```

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use diag::{Class, Diagnose, Failure};

use crate::client::{CHANNEL_FD, NetworkHint, id_of, receive_line, send_line};
use crate::failure::Remote;
use crate::protocol::{AttachOptions, Reply, Request, SOCKET};
use crate::sandbox::Groundwork;
use crate::state::{self, LOCK_FILE, STATE_FILE, State};
use crate::supervisor::Supervisor;

/// How long a start waits for the monitor of the run before to finish cleaning up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a monitor itself finds wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitorError {
    #[error("cannot {action} {what}")]
    Io { action: &'static str, what: String, source: io::Error },
    #[error("container {id} is already running")]
    AlreadyRunning { id: String },
    #[error("Container {id} is not running")]
    NotRunning { id: String },
    #[error("Container {id} is already paused")]
    AlreadyPaused { id: String },
    #[error("Container {id} is not paused")]
    NotPaused { id: String },
    #[error("Container {id} is paused, unpause the container before {action}")]
    Paused { id: String, action: &'static str },
    #[error("Container {id} is restarting, wait until the container is running")]
    Restarting { id: String },
    #[error("container {id} has no terminal")]
    NoTerminal { id: String },
    #[error("cannot {action}: the container uses a network namespace that is not its own")]
    SharedNetwork { action: &'static str },
    #[error("the container is already connected to network {network}")]
    Connected { network: String },
    #[error("the container is not connected to network {network}")]
    NotConnected { network: String },
    #[error("unexpected request")]
    Unexpected,
}

impl Diagnose for MonitorError {
    fn class(&self) -> Class {
        match self {
            Self::Io { .. } => Class::Internal,
            Self::NoTerminal { .. } | Self::Unexpected => Class::Invalid,
            Self::NotConnected { .. } => Class::NotFound,
            _ => Class::Conflict,
        }
    }
}

/// Runs the hidden command `monitor`; `args` are those after its name: the run directory and what is known of the network.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(run_dir), Some(network), None) = (args.next(), args.next(), args.next()) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let Some(network) = NetworkHint::parse(&network) else { return ExitCode::from(diag::EXIT_USAGE) };
    let Ok(channel) = sys::spawn::claim_inherited(CHANNEL_FD) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let _ = sys::process::set_name(c"hull-monitor");
    // Not to keep anybody's directory busy, nor to pass on anybody's mask.
    let _ = std::env::set_current_dir("/");
    sys::process::set_umask(0o022);
    let mut channel = UnixStream::from(channel);
    let groundwork = Groundwork::lay(network);
    let Ok(Some(Request::Launch { attach })) = receive_line(&mut channel) else { return ExitCode::SUCCESS };
    match launch(run_dir.into(), groundwork, &channel, attach) {
        Ok(supervisor) => {
            drop(channel);
            sys::process::release_free_memory();
            supervisor.supervise()
        }
        Err(failure) => {
            // The launcher may be gone; the state file has it, too.
            let _ = send_line(&mut channel, &Reply::Failed(Remote::new(&failure)));
            ExitCode::FAILURE
        }
    }
}

/// Launches and reports. Not part of its caller's frame, so that the stack it needs can be given back.
#[inline(never)]
fn launch(
    run_dir: PathBuf,
    groundwork: Groundwork,
    channel: &UnixStream,
    attach: Option<AttachOptions>,
) -> Result<Box<Supervisor>, Failure> {
    let mut supervisor = Home::enter(run_dir).and_then(|home| Supervisor::launch(home, groundwork))?;
    supervisor.report(channel.try_clone(), attach)?;
    Ok(supervisor)
}

/// A container's run directory, held by this monitor.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) run_dir: PathBuf,
    directory: File,
    lock: File,
}

impl Home {
    /// Takes the lock of `run_dir`. A predecessor that is still cleaning up after the last run is waited for.
    fn enter(run_dir: PathBuf) -> Result<Self, Failure> {
        let failed =
            |action, source| MonitorError::Io { action, what: run_dir.display().to_string(), source };
        let directory = File::open(&run_dir).map_err(|e| failed("open", e))?;
        let lock = File::create(run_dir.join(LOCK_FILE)).map_err(|e| failed("create a lock in", e))?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed("lock", error).into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let running =
                matches!(state::load(&run_dir.join(STATE_FILE)), Ok(Some(s)) if s.status.is_active());
            if running || Instant::now() > patience {
                return Err(MonitorError::AlreadyRunning { id: id_of(&run_dir) }.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { run_dir, directory, lock })
    }

    /// Opens the socket for requests.
    pub(crate) fn listen(&self) -> Result<UnixListener, Failure> {
        let _ = fs::remove_file(self.run_dir.join(SOCKET));
        let listener = sys::socket::listen_in(self.directory.as_fd(), SOCKET).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let what = self.run_dir.join(SOCKET).display().to_string();
        Ok(listener.map_err(|source| MonitorError::Io { action: "listen on", what, source })?)
    }

    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        state.save(&self.run_dir, STATE_FILE)
    }

    /// Makes a change that takes several steps. Who reads the state meanwhile waits for the last one; nobody is waited for.
    pub(crate) fn change(&self, change: impl FnOnce()) {
        let _ = self.directory.try_lock();
        change();
        let _ = self.directory.unlock();
    }

    /// Lets the container go: it can be launched again, or removed, from here on.
    pub(crate) fn leave(self) {
        let _ = fs::remove_file(self.run_dir.join(SOCKET));
        drop(self.lock);
    }
}

/// Becomes the command that removes the container.
pub(crate) fn reap(command: &[String]) -> ExitCode {
    let env: Vec<Vec<u8>> =
        std::env::vars_os().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat()).collect();
    let args: Vec<Vec<u8>> = command.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    if let Ok(vectors) = sys::process::Vectors::new(&args, &env) {
        let _ = sys::process::exec(c"/proc/self/exe", &vectors);
    }
    // The next command that looks at the container removes it.
    ExitCode::FAILURE
}

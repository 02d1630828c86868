//! Starting a monitor, in steps that let the caller work while it starts.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};

use super::{AttachOptions, AttachStream, id_of, receive_line, send_line};
use crate::failure::Remote;
use crate::plan::{LAUNCH_FILE, LaunchPlan, Networking};
use crate::protocol::{Reply, Request};

/// Why a container could not be launched. Nothing of the attempt is left but its plan.
#[derive(Debug, thiserror::Error)]
pub enum LaunchFailure {
    /// The monitor says why.
    #[error(transparent)]
    Refused(Remote),
    #[error("cannot write {}", path.display())]
    Plan { path: PathBuf, source: io::Error },
    #[error("cannot start the monitor of container {id}")]
    Spawn { id: String, source: io::Error },
    /// Killed, most likely.
    #[error("the monitor of container {id} ended while it launched the container")]
    Vanished { id: String },
    #[error("cannot talk to the monitor of container {id}")]
    Talk { id: String, source: io::Error },
}

impl Diagnose for LaunchFailure {
    fn class(&self) -> Class {
        match self {
            Self::Refused(remote) => remote.class(),
            Self::Plan { .. } | Self::Spawn { .. } => Class::Unavailable,
            Self::Vanished { .. } | Self::Talk { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(remote) => remote.hint(),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Refused(remote) => remote.exit_status(),
            _ => None,
        }
    }
}

/// The descriptor a monitor finds its launch channel under.
pub(crate) const CHANNEL_FD: i32 = 3;

/// What the launcher knows of the container's network before there is a plan, so that the monitor can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkHint {
    /// It gets a network namespace of its own.
    Private,
    /// It uses the host's, or another container's.
    Shared,
}

impl NetworkHint {
    fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private-network",
            Self::Shared => "shared-network",
        }
    }

    pub(crate) fn parse(word: &OsStr) -> Option<Self> {
        [Self::Private, Self::Shared].into_iter().find(|hint| word == hint.as_str())
    }
}

/// A monitor that has been started and waits for its plan; dropping this lets it go without a trace.
#[derive(Debug)]
pub struct Prepared {
    run_dir: PathBuf,
    socket: UnixStream,
    pid: i32,
}

/// A launch under way.
#[derive(Debug)]
pub struct Launching {
    run_dir: PathBuf,
    socket: UnixStream,
    pid: i32,
    attached: bool,
    tty: bool,
}

/// A launched container.
#[derive(Debug)]
pub struct Launched {
    /// The container's first process.
    pub pid: i32,
    /// The monitor, a child of this process: one that lives on owes it a wait after its end.
    pub monitor_pid: i32,
    pub ports: Vec<net::Published>,
    /// What it does without although it was to have it.
    pub warnings: Vec<String>,
    /// The stream asked for; it has everything the container wrote since its first instruction.
    pub stream: Option<AttachStream>,
}

/// Starts a monitor for the container with this run directory, which need not exist yet.
///
/// `program` is hull itself, on a sealed mount: `runtime::seal::program()`. It costs an exec, which runs beside whatever the caller does until [`Prepared::begin`].
pub fn prepare(
    program: BorrowedFd<'_>,
    run_dir: &Path,
    network: NetworkHint,
) -> Result<Prepared, LaunchFailure> {
    let failed = |source| LaunchFailure::Spawn { id: id_of(run_dir), source };
    // Not under the number that becomes the channel's before the exec.
    let program = sys::spawn::duplicate_above(program, CHANNEL_FD + 1).map_err(failed)?;
    let (socket, theirs) = UnixStream::pair().map_err(failed)?;
    let pid = sys::spawn::spawn_forgotten(&sys::spawn::Spawn {
        program: Path::new(&format!("/proc/self/fd/{}", program.as_raw_fd())),
        args: &["hull".as_ref(), "monitor".as_ref(), run_dir.as_os_str(), network.as_str().as_ref()],
        fds: &[(theirs.as_fd(), CHANNEL_FD)],
        new_session: true,
    })
    .map_err(failed)?;
    Ok(Prepared { run_dir: run_dir.to_owned(), socket, pid })
}

/// Launches the container of `plan` and waits until its program runs.
pub fn launch(
    program: BorrowedFd<'_>,
    run_dir: &Path,
    plan: &LaunchPlan,
    attach: Option<AttachOptions>,
) -> Result<Launched, LaunchFailure> {
    let network = match plan.network {
        Networking::Private { .. } => NetworkHint::Private,
        Networking::Host | Networking::Join(_) => NetworkHint::Shared,
    };
    prepare(program, run_dir, network)?.begin(plan, attach)?.finish()
}

impl Prepared {
    /// Writes the plan and lets the monitor go to work. `attach` turns the launch channel into an attached stream.
    pub fn begin(
        mut self,
        plan: &LaunchPlan,
        attach: Option<AttachOptions>,
    ) -> Result<Launching, LaunchFailure> {
        let failed = |source| LaunchFailure::Plan { path: self.run_dir.join(LAUNCH_FILE), source };
        match plan.save(&self.run_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.run_dir).map_err(failed)?;
                plan.save(&self.run_dir).map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        let sent = send_line(&mut self.socket, &Request::Launch { attach });
        let launching = Launching {
            attached: attach.is_some(),
            tty: plan.tty,
            run_dir: self.run_dir,
            socket: self.socket,
            pid: self.pid,
        };
        match sent {
            Ok(()) => Ok(launching),
            Err(error) => Err(launching.lost(error)),
        }
    }
}

impl Launching {
    /// Waits until the container's program runs, or until the launch has failed and been undone.
    pub fn finish(mut self) -> Result<Launched, LaunchFailure> {
        match receive_line(&mut self.socket) {
            Ok(Some(Reply::Started { pid, ports, warnings })) => Ok(Launched {
                pid,
                warnings,
                monitor_pid: self.pid,
                ports,
                stream: self.attached.then(|| AttachStream::new(self.socket, self.tty)),
            }),
            Ok(Some(Reply::Failed(remote))) => {
                self.reap();
                Err(LaunchFailure::Refused(remote))
            }
            Ok(Some(other)) => {
                let source =
                    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {other:?}"));
                Err(LaunchFailure::Talk { id: id_of(&self.run_dir), source })
            }
            Ok(None) => {
                self.reap();
                Err(LaunchFailure::Vanished { id: id_of(&self.run_dir) })
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn lost(&self, error: io::Error) -> LaunchFailure {
        let id = id_of(&self.run_dir);
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                self.reap();
                LaunchFailure::Vanished { id }
            }
            _ => LaunchFailure::Talk { id, source: error },
        }
    }

    /// Releases a monitor that has closed its channel without launching anything: it is on its way out.
    fn reap(&self) {
        if let Ok(monitor) = sys::process::open(self.pid) {
            let _ = sys::process::wait(monitor.as_fd());
        }
    }
}

impl AsFd for Launching {
    /// Readable when [`Launching::finish`] will not wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

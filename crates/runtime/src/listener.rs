//! The listener of a seccomp filter, on its way from the process that has the filter to the agent that answers for it.
//!
//! From the moment the filter is in force any call of the process may be one that waits for the agent. So the process makes none
//! before the agent has the listener: it says in advance which number the descriptor will have, and whoever starts the process
//! copies it from outside. Only then does the process read that it may go on.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use oci::runtime::{ContainerProcessState, State};
use serde::{Deserialize, Serialize};

use crate::channel::{At, Fault};
use crate::error::{LaunchError, Step};
use crate::plan::invalid;
use crate::seccomp::Program;

/// An agent's socket, and what to tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    path: PathBuf,
    /// Without the pid, which is known to those outside the container.
    process: ContainerProcessState,
}

impl Listener {
    /// `None` when no call of `program` waits for an agent.
    pub fn new(
        program: Option<&Program>,
        state: impl FnOnce() -> State,
    ) -> Result<Option<Self>, LaunchError> {
        let Some(agent) = program.and_then(Program::agent) else { return Ok(None) };
        let why = match fs::metadata(&agent.path) {
            Ok(metadata) if metadata.file_type().is_socket() => None,
            Ok(_) => Some("it is not a socket".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            return Err(invalid(format!("linux.seccomp.listenerPath {}", agent.path.display()), why));
        }
        let state = state();
        let process = ContainerProcessState {
            oci_version: state.oci_version.clone(),
            pid: 0,
            state,
            fds: vec!["seccompFd".to_owned()],
            metadata: agent.metadata.clone(),
        };
        Ok(Some(Self { path: agent.path.clone(), process }))
    }

    /// Copies the descriptor `number` of the process behind `pidfd`, once it is there, and sends it to the agent.
    ///
    /// The process is killed when that fails: its calls would wait for ever.
    pub fn pass_on(self, pidfd: BorrowedFd<'_>, number: RawFd) -> Result<(), Fault> {
        let path = self.path.display().to_string();
        let passed = wait_for_fd(pidfd, number).and_then(|listener| match listener {
            Some(listener) => self.send(sys::process::pid_of(pidfd)?, &listener),
            // It ended, and says why itself.
            None => Ok(()),
        });
        if passed.is_err() {
            let _ = sys::process::send_signal(pidfd, SIGKILL);
        }
        passed.at(Step::Listener, || path)
    }

    fn send(mut self, pid: i32, listener: &OwnedFd) -> io::Result<()> {
        self.process.pid = pid;
        self.process.state.pid.get_or_insert(pid);
        let text = serde_json::to_vec(&self.process)?;
        let agent = UnixStream::connect(&self.path)?;
        let sent = sys::socket::send_with_fds(agent.as_fd(), &text, &[listener.as_fd()])?;
        io::Write::write_all(&mut &agent, &text[sent..])
    }
}

/// Waits for the descriptor; `None` when the process has ended without it.
fn wait_for_fd(pidfd: BorrowedFd<'_>, number: RawFd) -> io::Result<Option<OwnedFd>> {
    loop {
        match sys::process::copy_fd(pidfd, number) {
            Ok(fd) => return Ok(Some(fd)),
            Err(error) => match error.raw_os_error() {
                Some(EBADF) => thread::sleep(Duration::from_micros(20)),
                Some(ESRCH) => return Ok(None),
                _ => return Err(error),
            },
        }
    }
}

const SIGKILL: i32 = 9;
const EBADF: i32 = 9;
const ESRCH: i32 = 3;

//! One more process in a running container.

use crate::create::{InvalidSpec, env_key};
use crate::engine::{Engine, INHERITED_FD};
use crate::events;
use crate::launch;
use crate::lookup::LookupError;
use crate::model::{ContainerId, ExecSpec};
use crate::record::Container;
use cgroup::CgroupError;
use diag::{Class, Diagnose};
use monitor::client::RequestError;
use monitor::plan::LaunchPlan;
use monitor::state::{State, Status};
use runtime::{Exec, LaunchError, Process, Stdio, UserSpec};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use sys::event::PollFlags;

/// Why a process could not be started in a container.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExecError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("Container {name} is paused, unpause the container before exec")]
    Paused { name: String },
    #[error("Container {name} is restarting, wait until the container is running")]
    Restarting { name: String },
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    #[error("cannot read the launch plan of container {name}")]
    Plan { name: String, source: io::Error },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("OCI runtime exec failed: exec failed: unable to start container process")]
    Launch(#[source] LaunchError),
    #[error("No such exec instance: {id}")]
    NoInstance { id: String },
    #[error("exec command {id} has already run")]
    HasRun { id: String },
    #[error("exec command {id} is not running")]
    InstanceNotRunning { id: String },
    #[error("cannot {action} exec instance {id}")]
    Instance { action: &'static str, id: String, source: io::Error },
    /// Whoever holds the process says why it was not started.
    #[error(transparent)]
    Held(#[from] RequestError),
}

impl Diagnose for ExecError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning { .. } | Self::Paused { .. } | Self::Restarting { .. } => Class::Conflict,
            Self::Invalid(error) => error.class(),
            Self::Plan { .. } => Class::Internal,
            Self::Cgroup(error) => error.class(),
            Self::Launch(error) => error.class(),
            Self::NoInstance { .. } => Class::NotFound,
            Self::HasRun { .. } | Self::InstanceNotRunning { .. } => Class::Conflict,
            Self::Instance { source, .. } => Class::of_io(source),
            Self::Held(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::NotRunning { id } => Some(format!("start it first: `start {}`", id.short())),
            Self::Launch(error) => error.hint(),
            Self::Held(error) => error.hint(),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            // Docker's for a command that cannot be invoked, whatever the reason.
            Self::Launch(error) => Some(error.exit_status().unwrap_or(126)),
            Self::Held(error) => error.exit_status(),
            _ => None,
        }
    }
}

impl ExecSpec {
    /// Refuses what no container could run.
    pub(crate) fn check(&self) -> Result<(), InvalidSpec> {
        if self.command.is_empty() {
            return Err(InvalidSpec::new("no exec command specified"));
        }
        match self.working_dir.as_ref().filter(|directory| !directory.starts_with('/')) {
            Some(directory) => Err(InvalidSpec::new(format!("Cwd must be an absolute path: {directory}"))),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// Starts a process in a running container; this process becomes its parent, so it must have one thread only and must
    /// have been sealed (`runtime::seal::ensure`).
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn exec(&self, name: &str, exec: &ExecSpec, stdio: Stdio) -> Result<Process, ExecError> {
        self.exec_as(None, name, exec, stdio)
    }

    /// As [`Engine::exec`], for the exec instance `id`.
    pub(crate) fn exec_as(
        &self,
        id: Option<&str>,
        name: &str,
        exec: &ExecSpec,
        stdio: Stdio,
    ) -> Result<Process, ExecError> {
        exec.check()?;
        let container = self.find(name)?;
        let state = self.state_for_exec(&container)?;
        let pidfd = match sys::process::open(state.pid) {
            Ok(pidfd) => pidfd,
            Err(_) => return Err(ExecError::NotRunning { id: container.id }),
        };
        let plan = LaunchPlan::read(&self.run_dir(&container.id))
            .map_err(|source| ExecError::Plan { name: container.name.clone(), source })?;
        let mut process = plan.spec.process.clone().unwrap_or_default();
        process.args.clone_from(&exec.command);
        process.terminal = exec.tty;
        if exec.tty && !process.env.iter().any(|entry| env_key(entry) == "TERM") {
            process.env.push("TERM=xterm".into());
        }
        for entry in &exec.env {
            match process.env.iter_mut().find(|have| env_key(have) == env_key(entry)) {
                Some(have) => have.clone_from(entry),
                None => process.env.push(entry.clone()),
            }
        }
        if let Some(directory) = &exec.working_dir {
            process.cwd = directory.into();
        }
        if exec.privileged {
            launch::grant_everything(&mut process);
        }
        let user = match &exec.user {
            Some(user) => UserSpec::Named(user.clone()),
            None => plan.user.clone(),
        };
        let cgroup = plan.group(self.hierarchy()?)?;
        let started = runtime::exec(Exec {
            id: container.id.as_str(),
            container: pidfd.as_fd(),
            process: &process,
            linux: plan.spec.linux.as_ref(),
            user: &user,
            extra_groups: &plan.extra_groups,
            cgroup: Some(&cgroup),
            seccomp: &plan.seccomp,
            state: Some(&plan.state(state.pid)),
            stdio,
            preserve_fds: 0,
        })
        .map_err(ExecError::Launch)?;
        let command = exec.command.join(" ");
        let event = events::container(&container, &format!("exec_start: {command}"));
        self.emit(&match id {
            Some(id) => event.with("execID", id),
            None => event,
        });
        Ok(started)
    }
}

impl Engine {
    /// The state of a container that can be given one more process.
    pub(crate) fn state_for_exec(&self, container: &Container) -> Result<State, ExecError> {
        let state = self.observe(container)?.state;
        let name = || container.name.clone();
        match state.status {
            Status::Running => Ok(state),
            Status::Paused => Err(ExecError::Paused { name: name() }),
            Status::Restarting => Err(ExecError::Restarting { name: name() }),
            Status::Created | Status::Exited => Err(ExecError::NotRunning { id: container.id.clone() }),
        }
    }
}

impl Engine {
    /// Leaves the terminal of an exec to a process of its own: the kernel hangs up on whom nobody holds the terminal of.
    ///
    /// # Errors
    /// That process cannot be started.
    pub fn hold_terminal(&self, terminal: &OwnedFd) -> io::Result<()> {
        self.spawn_hidden(&["hold-terminal".as_ref()], &[terminal.as_fd()])
    }
}

/// The hidden command `hold-terminal`: reads what nobody looks at any more, until the last process on the terminal has ended.
pub fn hold_terminal_main() -> ExitCode {
    let Ok(terminal) = sys::spawn::claim_inherited(INHERITED_FD) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let mut buffer = [0; 4096];
    while sys::event::poll_one(terminal.as_fd(), PollFlags::IN, None).is_ok() {
        match sys::event::read_now(terminal.as_fd(), &mut buffer) {
            Ok(None | Some(1..)) => {}
            // EIO is how a pseudo-terminal says that nobody has its other side open.
            Ok(Some(0)) | Err(_) => break,
        }
    }
    ExitCode::SUCCESS
}

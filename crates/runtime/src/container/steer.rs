//! Starting, signalling, pausing, limiting and measuring a container.

use std::os::fd::AsFd;

use oci::runtime::{LinuxResources, Status};

use super::{Container, ContainerError, GATE};
use crate::hooks;

impl Container {
    /// Lets a created container execute its program.
    ///
    /// # Errors
    /// What kept the program from being executed, or a poststart hook that failed; the container has stopped then.
    pub fn start(&mut self) -> Result<(), ContainerError> {
        let _lock = self.lock()?;
        let id = || self.id().to_owned();
        match self.status_of_complete()? {
            Status::Created if self.record.complete => {}
            Status::Running | Status::Paused => return Err(ContainerError::StartRunning { id: id() }),
            _ => return Err(ContainerError::StartStopped { id: id() }),
        }
        let gate = self.gate().map_err(|source| self.files(source))?;
        crate::start(gate, self.id()).map_err(|source| ContainerError::Create { source })?;
        // Nobody waits there any more; a gate that stays says the same.
        let _ = std::fs::remove_file(self.directory.join(GATE));
        if let Err(error) = hooks::run("poststart", &self.record.poststart, &self.state_as(Status::Running)) {
            self.end()?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Sends `signal` to the first process, or to `all` of the container's processes.
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), ContainerError> {
        let id = || self.id().to_owned();
        let failed = |source| ContainerError::Signal { id: self.id().to_owned(), source };
        let cgroup_failure = |source| self.group_failure(source);
        let group = self.group()?;
        if all {
            for pid in group.pids().map_err(cgroup_failure)? {
                match sys::process::kill(pid, signal) {
                    Err(error) if error.raw_os_error() == Some(ESRCH) => {}
                    sent => sent.map_err(failed)?,
                }
            }
        } else {
            let process = match (self.status()?, self.record.process) {
                (Status::Creating | Status::Stopped, _) | (_, None) => None,
                (_, Some(process)) => process.open().map_err(failed)?,
            };
            let process = process.ok_or_else(|| ContainerError::NotRunning { id: id() })?;
            sys::process::send_signal(process.as_fd(), signal).map_err(failed)?;
            if signal == SIGKILL && !self.record.own_pids {
                // No namespace ends the others with it.
                group.kill_all().map_err(cgroup_failure)?;
            }
        }
        if signal == SIGKILL && group.is_frozen().map_err(cgroup_failure)? {
            // Frozen by v1, nobody dies.
            group.thaw().map_err(cgroup_failure)?;
        }
        Ok(())
    }

    /// Freezes all processes.
    pub fn pause(&self) -> Result<(), ContainerError> {
        match self.status()? {
            Status::Created | Status::Running => {}
            _ => return Err(ContainerError::NotRunning { id: self.id().to_owned() }),
        }
        self.group()?.freeze().map_err(|source| self.group_failure(source))
    }

    /// Lets frozen processes go on.
    pub fn resume(&self) -> Result<(), ContainerError> {
        let group = self.group()?;
        // A container frozen before it was started shows as created.
        let frozen = self.status()? != Status::Stopped && group.is_frozen().unwrap_or(false);
        if !frozen {
            return Err(ContainerError::NotPaused { id: self.id().to_owned() });
        }
        group.thaw().map_err(|source| self.group_failure(source))
    }

    /// Changes limits; what `resources` does not name stays as it is.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), ContainerError> {
        self.alive_group()?;
        self.record.group.update(resources).map_err(|source| self.group_failure(source))
    }

    /// The processes of the container.
    pub fn pids(&self) -> Result<Vec<i32>, ContainerError> {
        self.alive_group()?.pids().map_err(|source| self.group_failure(source))
    }

    /// What the container has used.
    pub fn report(&self) -> Result<cgroup::Report, ContainerError> {
        self.alive_group()?.report().map_err(|source| self.group_failure(source))
    }

    fn alive_group(&self) -> Result<cgroup::Cgroup, ContainerError> {
        match self.status()? {
            Status::Creating | Status::Stopped => {
                Err(ContainerError::NotRunning { id: self.id().to_owned() })
            }
            _ => self.group(),
        }
    }
}

const SIGKILL: i32 = 9;
const ESRCH: i32 = 3;

//! Deleting a container, and whatever is left of one whose `create` was killed.

use std::os::fd::AsFd;
use std::time::Duration;

use oci::runtime::Status;
use sys::event::PollFlags;

use super::{Container, ContainerError};
use crate::hooks;

/// How long a killed process gets to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Removes a container that is stopped or was never started; with `force` any.
    pub fn delete(mut self, force: bool) -> Result<(), ContainerError> {
        let _lock = self.lock()?;
        let status = match self.record.complete {
            true => self.status_of_complete()?,
            // We hold the lock: nobody creates it.
            false => Status::Stopped,
        };
        if matches!(status, Status::Running | Status::Paused) && !force {
            return Err(ContainerError::NotStopped { id: self.id().to_owned(), status });
        }
        self.destroy()
    }

    /// Ends everything the record knows of and removes it; goes on when a step fails, and reports the first failure.
    pub(super) fn destroy(&self) -> Result<(), ContainerError> {
        self.end()?;
        let removed = self.record.group.remove();
        if let Some(rdt) = &self.record.intel_rdt {
            crate::leave_intel_rdt(rdt, self.id()).map_err(|source| self.files(source))?;
        }
        let hooked = hooks::run("poststop", &self.record.poststop, &self.state_as(Status::Stopped));
        sys::fs::remove_tree(&self.directory).map_err(|source| self.files(source))?;
        removed.map_err(|source| self.group_failure(source))?;
        Ok(hooked?)
    }

    /// Kills every process and waits for the first one's end.
    pub(super) fn end(&self) -> Result<(), ContainerError> {
        let failed = |source| ContainerError::Signal { id: self.id().to_owned(), source };
        let process = match self.record.process {
            Some(process) => process.open().map_err(failed)?,
            None => None,
        };
        if let Some(process) = &process {
            sys::process::send_signal(process.as_fd(), SIGKILL).map_err(failed)?;
        }
        // Also those that a killed `create` had no time to put on record.
        self.record.group.kill().map_err(|source| self.group_failure(source))?;
        let Some(process) = process else { return Ok(()) };
        match sys::event::poll_one(process.as_fd(), PollFlags::IN, Some(PATIENCE)).map_err(failed)? {
            true => Ok(()),
            false => {
                Err(ContainerError::StillRunning { id: self.id().to_owned(), seconds: PATIENCE.as_secs() })
            }
        }
    }
}

const SIGKILL: i32 = 9;

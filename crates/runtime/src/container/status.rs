//! Which status a container has, from what is the case now.

use oci::runtime::Status;
use sys::fs::ProcessLock;

use super::{Container, ContainerError, GATE, LOCK};

impl Container {
    /// Finds out.
    ///
    /// ```text
    /// no end of `create` on record, and it is at work   creating
    /// no end of `create` on record, and it is not       stopped: it was killed
    /// the first process has ended                       stopped
    /// somebody waits at the gate                        created
    /// the group is frozen                               paused
    /// else                                              running
    /// ```
    pub fn status(&self) -> Result<Status, ContainerError> {
        if !self.record.complete {
            let at_work = ProcessLock::is_held(self.directory.join(LOCK).as_path());
            return Ok(if matches!(at_work, Ok(true)) { Status::Creating } else { Status::Stopped });
        }
        self.status_of_complete()
    }

    pub(super) fn status_of_complete(&self) -> Result<Status, ContainerError> {
        if !self.record.process.is_some_and(|process| process.is_alive()) {
            return Ok(Status::Stopped);
        }
        if self.gate().is_ok() {
            return Ok(Status::Created);
        }
        let frozen = self.group()?.is_frozen();
        Ok(match frozen.map_err(|source| self.group_failure(source))? {
            true => Status::Paused,
            false => Status::Running,
        })
    }

    /// Connects to the first process, if it waits to be started. Letting the connection go changes nothing.
    pub(super) fn gate(&self) -> std::io::Result<std::os::unix::net::UnixStream> {
        use std::os::fd::AsFd;
        sys::socket::connect_in(sys::fs::open_dir(self.directory.as_path())?.as_fd(), GATE)
    }

    /// Its group, for what only a container created to the end is asked.
    pub(super) fn group(&self) -> Result<cgroup::Cgroup, ContainerError> {
        let group = self.record.group.open().map_err(|source| self.group_failure(source))?;
        group.ok_or_else(|| ContainerError::NotRunning { id: self.id().to_owned() })
    }

    pub(super) fn group_failure(&self, source: cgroup::CgroupError) -> ContainerError {
        ContainerError::Cgroup { id: self.id().to_owned(), source }
    }
}

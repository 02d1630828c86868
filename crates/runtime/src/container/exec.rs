//! One more process in a container.

use std::os::fd::AsFd;

use oci::runtime::{Spec, Status};

use super::bundle;
use super::{Container, ContainerError};
use crate::seccomp::Seccomp;
use crate::{Exec, Process, Stdio, UserSpec};

/// A process to start in a container.
#[derive(Debug)]
pub struct NewProcess<'a> {
    pub process: &'a oci::runtime::Process,
    pub stdio: Stdio,
    /// How many descriptors after the standard streams the program inherits; the caller made sure that they are open.
    pub preserve_fds: u32,
    /// Whether it may be started in a paused container, where it waits.
    pub ignore_paused: bool,
}

impl Container {
    /// The configuration it was created with.
    pub fn config(&self) -> Result<Spec, ContainerError> {
        Ok(bundle::read(&self.directory)?.1)
    }

    /// Starts a process, under the filter of system calls that `config` has for all.
    pub fn exec(&self, config: &Spec, new: NewProcess<'_>) -> Result<Process, ContainerError> {
        let id = || self.id().to_owned();
        match self.status()? {
            Status::Creating | Status::Stopped => return Err(ContainerError::ExecStopped { id: id() }),
            Status::Paused if !new.ignore_paused => return Err(ContainerError::ExecPaused { id: id() }),
            _ => {}
        }
        let first = self.record.process.map(|process| process.open()).transpose();
        let first = first.map_err(|source| ContainerError::Signal { id: id(), source })?.flatten();
        let first = first.ok_or_else(|| ContainerError::ExecStopped { id: id() })?;
        let group = self.group()?;
        let seccomp = Seccomp::of(config);
        let state = self.state_as(Status::Running);
        crate::exec(Exec {
            id: self.id(),
            container: first.as_fd(),
            process: new.process,
            linux: config.linux.as_ref(),
            user: &UserSpec::Ids,
            extra_groups: &[],
            cgroup: Some(&group),
            seccomp: &seccomp,
            state: Some(&state),
            stdio: new.stdio,
            preserve_fds: new.preserve_fds,
        })
        .map_err(|source| ContainerError::Exec { id: id(), source })
    }
}

//! One more process in a running container.

use std::os::fd::BorrowedFd;

use crate::{LaunchError, Process, Stdio, UserSpec};

/// A process to start in a container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's id, for errors.
    pub id: &'a str,
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    pub process: &'a oci::runtime::Process,
    pub user: &'a UserSpec,
    /// More supplementary groups, by name or number, resolved in the container.
    pub extra_groups: &'a [String],
    pub stdio: Stdio,
}

/// Starts a process in the namespaces, root and control group of a running container.
pub fn exec(_request: Exec<'_>) -> Result<Process, LaunchError> {
    Err(LaunchError::Unsupported { what: "exec (not landed yet)".to_owned() })
}

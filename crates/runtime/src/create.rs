//! Creating a container: clone, let the child build its world, let it execute.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::{Launch, LaunchError, Process};

/// A container whose first process exists and is setting itself up.
///
/// Dropping it without [`start`](Self::start) ends that process.
#[derive(Debug)]
pub struct Created {
    process: Process,
}

/// Creates the container's namespaces and first process, and returns while that one mounts and configures.
pub fn create(_launch: Launch<'_>) -> Result<Created, LaunchError> {
    Err(LaunchError::Unsupported { what: "creating containers (not landed yet)".to_owned() })
}

impl Created {
    /// The process id of the container's first process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The descriptor of that process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    /// Opens the container's network namespace.
    pub fn netns_fd(&self) -> io::Result<OwnedFd> {
        sys::namespace::open(self.process.pid(), sys::namespace::Kind::Network)
    }

    /// Waits until the container is ready and lets it execute its program.
    pub fn start(self) -> Result<Process, LaunchError> {
        Ok(self.process)
    }
}

//! The name server inside a container's network namespace: names of the networks from their directories, the rest forwarded.

pub mod resolv;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use diag::{Class, Diagnose};

use crate::names::NamesDir;

pub use resolv::{HostResolvers, host_resolvers};

/// Where questions go that no network answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Nowhere: the container has only internal networks.
    None,
    /// To the host's resolvers, read anew when its resolv.conf changes.
    Host,
    /// To the servers the user named (`--dns`).
    Fixed(Vec<SocketAddr>),
}

/// What a [`Server`] answers from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The container's networks; the first that knows a name answers.
    pub networks: Vec<NamesDir>,
    pub upstream: Upstream,
}

/// Why the name server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot enter the container's network namespace")]
    Namespace { source: io::Error },
    #[error("cannot bind the name server to {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot redirect port 53 to the name server")]
    Redirect { source: io::Error },
}

impl Diagnose for BindError {
    fn class(&self) -> Class {
        Class::Internal
    }
}

/// The name server of one container. One descriptor to poll for reading, one deadline, no threads.
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
}

impl Server {
    /// Binds inside `netns`; what is forwarded leaves through the caller's namespace.
    pub fn bind(_netns: BorrowedFd<'_>, _config: Config) -> Result<Self, BindError> {
        Err(BindError::Namespace { source: io::ErrorKind::Unsupported.into() })
    }

    /// Answers from other networks or forwards elsewhere from now on (`network connect`).
    pub fn reconfigure(&mut self, _config: Config) {}

    /// Does whatever can be done without waiting; call it when the descriptor is readable or the deadline has passed.
    pub fn ready(&mut self) {}

    /// When to call [`Server::ready`] at the latest; `None` while nothing is pending.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

//! Published ports: a bound socket that owns the host's port, and a map element that says where its packets go.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use crate::error::PublishError;
use crate::plan::{Context, Publish, Published};

/// The host ports one container holds; they are free again when this is dropped, so [`unpublish`] first.
#[derive(Debug)]
pub struct Reservation {
    address: Ipv4Addr,
    published: Vec<Published>,
    _sockets: Vec<OwnedFd>,
}

impl Reservation {
    /// The ports as they came to be, in the order they were asked for.
    pub fn published(&self) -> &[Published] {
        &self.published
    }

    /// The container's address the ports lead to.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

/// Publishes all of `ports` on the container at `address`, or none.
pub fn publish(
    context: &Context,
    _address: Ipv4Addr,
    _ports: &[Publish],
) -> Result<Reservation, PublishError> {
    Err(PublishError::Filter { table: context.owner(), source: io::ErrorKind::Unsupported.into() })
}

/// Takes the ports back, then frees them.
pub fn unpublish(context: &Context, _reservation: Reservation) -> Result<(), PublishError> {
    Err(PublishError::Filter { table: context.owner(), source: io::ErrorKind::Unsupported.into() })
}

/// Takes back the ports of a container whose monitor was killed, leaving alone those that somebody else holds by now.
pub fn unpublish_stale(
    context: &Context,
    _address: Ipv4Addr,
    _ports: &[Published],
) -> Result<(), PublishError> {
    Err(PublishError::Filter { table: context.owner(), source: io::ErrorKind::Unsupported.into() })
}

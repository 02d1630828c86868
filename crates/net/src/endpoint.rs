//! Realises endpoints: a veth made straight in the container's namespace, its address and routes.

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::AttachError;
use crate::plan::{Context, EndpointPlan};

/// What becomes of the namespace an endpoint leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netns {
    /// It is going: the veth dies with it, and nobody waits.
    Ending,
    /// The container lives on without this network: the veth is removed now.
    Alive,
}

/// Gives the namespace `netns` the endpoint and registers its names; ensures the network when its bridge is missing.
pub fn attach(_context: &Context, _netns: BorrowedFd<'_>, plan: &EndpointPlan) -> Result<(), AttachError> {
    Err(AttachError::Kernel {
        action: "create",
        interface: plan.interface.clone(),
        network: plan.network.name.clone(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// Forgets the endpoint's names, and removes its veth when the namespace lives on.
pub fn detach(_context: &Context, plan: &EndpointPlan, _netns: Netns) -> Result<(), AttachError> {
    Err(AttachError::Kernel {
        action: "remove",
        interface: plan.interface.clone(),
        network: plan.network.name.clone(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// Brings up the loopback interface of `netns`; `attach` does it too.
pub fn loopback_up(_netns: BorrowedFd<'_>) -> Result<(), AttachError> {
    Err(AttachError::Loopback { source: io::ErrorKind::Unsupported.into() })
}

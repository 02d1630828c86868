//! Bridge networks: chosen, made, repaired, listed, removed.

use std::io;
use std::net::Ipv4Addr;

use crate::addr::Ipv4Net;
use crate::error::NetworkError;
use crate::plan::{Context, NetworkPlan, Published};

/// What exists on the host of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Whether the packet filter table exists.
    pub table: bool,
    pub bridges: Vec<String>,
    /// Host ends of veths on those bridges.
    pub veths: Vec<String>,
    /// Published ports and the container address each leads to.
    pub published: Vec<(Published, Ipv4Addr)>,
}

/// The MTU of the interface the default route uses, or 1500.
pub fn uplink_mtu() -> u32 {
    1500
}

/// A subnet that overlaps neither `taken` nor any route of the host.
///
/// Another data root may choose the same at the same moment: `create` in one step with [`ensure_network`] is what prevents it.
pub fn choose_subnet(_taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    Err(NetworkError::Host { what: "routes", source: io::ErrorKind::Unsupported.into() })
}

/// Makes the bridge, its address and its place in the packet filter, or repairs what is missing.
pub fn ensure_network(_context: &Context, plan: &NetworkPlan) -> Result<(), NetworkError> {
    Err(unsupported("create", &plan.name))
}

/// Removes the bridge, its elements and its names; what is gone already is no failure.
pub fn remove_network(_context: &Context, plan: &NetworkPlan) -> Result<(), NetworkError> {
    Err(unsupported("remove", &plan.name))
}

/// Removes every bridge and the table of this instance.
pub fn remove_all(_context: &Context) -> Result<(), NetworkError> {
    Err(unsupported("remove", "*"))
}

/// Lists what exists of this instance.
pub fn inventory(_context: &Context) -> Result<Inventory, NetworkError> {
    Err(unsupported("list", "*"))
}

fn unsupported(action: &'static str, network: &str) -> NetworkError {
    NetworkError::Kernel { action, network: network.to_owned(), source: io::ErrorKind::Unsupported.into() }
}

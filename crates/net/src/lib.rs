//! Networks, endpoints, the packet filter, published ports and the name service.
//!
//! Everything speaks netlink; nothing here runs a program. What is global on the host carries the instance (one per data
//! root) or an id, so two data roots never meet: the nf_tables table `hull-<instance>`, bridges `hb-<network>`, veths
//! `hv-<endpoint>`.
//!
//! Invariants:
//! - A container costs elements in sets and maps, never a rule: the ruleset is constant however many there are.
//! - `ensure_*` may be repeated at any time and repairs what somebody else removed.
//! - The veth of a container that ends dies with its namespace; removing one explicitly waits 15 ms for the kernel.
//! - A published port is owned by whoever holds its bound socket; the map element only says where packets go.
//!
//! Start reading at [`plan`] for what is asked, then `network`, `filter`, `endpoint`, `publish`, [`names`], [`dns`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod addr;
pub mod dns;
mod endpoint;
mod error;
mod filter;
pub mod forward;
pub mod names;
mod netns;
mod network;
pub mod plan;
pub mod ports;
mod publish;

pub use addr::{Ipv4Net, Mac};
pub use endpoint::{Netns, attach, detach, loopback_up, set_default_route};
pub use error::{AttachError, NetworkError, PublishError};
pub use filter::can_guard;
pub use netns::new_netns;
pub use network::{
    Inventory, choose_subnet, create_network, ensure_network, inventory, remove_all, remove_network,
    uplink_mtu,
};
pub use plan::{
    Context, EndpointPlan, EndpointSource, NetworkPlan, Protocol, Publish, Published, bridge_name, veth_name,
};
pub use publish::{Reservation, publish, restore, unpublish, unpublish_stale};

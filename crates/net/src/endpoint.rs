//! Realises endpoints: a veth made straight in the container's namespace, its address and routes.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::netlink::Error;
use sys::netlink::route::{Change, RouteSocket};

use crate::addr::Mac;
use crate::error::AttachError;
use crate::filter::{self, Filter};
use crate::names;
use crate::netns;
use crate::network::ensured_bridge;
use crate::plan::{Context, EndpointPlan};

/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;

/// What becomes of the namespace an endpoint leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netns {
    /// It is going: the veth dies with it, and nobody waits.
    Ending,
    /// The container lives on without this network: the veth is removed now.
    Alive,
}

/// Gives the namespace `netns` the endpoint and registers its names; ensures the network first.
///
/// # Errors
/// Nothing of the endpoint is left when one is returned.
pub fn attach(context: &Context, netns: BorrowedFd<'_>, plan: &EndpointPlan) -> Result<(), AttachError> {
    let (host, bridge) = ensured_bridge(context, &plan.network)?;
    let inner = netns::inside(netns, || {
        // Networks are IPv4 for now: no link-local address, duplicate detection and router solicitation for nothing.
        // Interfaces made later start with this value; a kernel without IPv6 does not have it.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        RouteSocket::open()
    });
    let inner = inner.and_then(|socket| socket).map_err(|source| namespace(plan, source))?;
    // Before the veth, so that no packet passes unseen (CAP_NET_RAW is one of the default capabilities).
    Filter::open(context)
        .map_err(Into::into)
        .and_then(|filter| filter.bind(plan))
        .map_err(|error| kernel("guard", plan, error))?;
    create_veth(&host, bridge, netns, plan)?;
    configure(&inner, plan).and_then(|()| Ok(names::register(context, plan)?)).inspect_err(|_| {
        let _ = host.apply(&[Change::DeleteLink { name: &plan.host_interface() }]);
    })
}

fn create_veth(
    host: &RouteSocket,
    bridge: u32,
    netns: BorrowedFd<'_>,
    plan: &EndpointPlan,
) -> Result<(), AttachError> {
    let name = plan.host_interface();
    let Mac(peer_mac) = plan.mac;
    let veth = Change::CreateVeth {
        name: &name,
        bridge,
        group: if plan.may_forge { 0 } else { filter::group(plan.address) },
        mtu: plan.network.mtu,
        peer: &plan.interface,
        peer_mac,
        netns,
    };
    let hairpin = bridged_packets_are_filtered();
    let port = Change::Port { name: &name, isolated: !plan.network.icc, hairpin };
    let changes = [veth, port];
    let needed = if plan.network.icc && !hairpin { 1 } else { 2 };
    let result = match host.apply(&changes[..needed]) {
        // A veth of this name is left from a namespace the kernel has not got round to remove.
        Err(error) if error.is(Errno::EXIST) && host.index(&name).is_ok_and(|index| index.is_some()) => {
            let _ = host.apply(&[Change::DeleteLink { name: &name }]);
            host.apply(&changes[..needed])
        }
        result => result,
    };
    result.map_err(|error| {
        if error.index() == Some(1) {
            let _ = host.apply(&[Change::DeleteLink { name: &name }]);
        }
        kernel("create", plan, error)
    })
}

/// Whether br_netfilter shows bridged packets to the filter, as Docker sets it.
///
/// A packet for a port published by its own sender is then sent back by the bridge instead of the host's routing, and only
/// if the bridge may let a frame out where it came in.
fn bridged_packets_are_filtered() -> bool {
    fs::read("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.first() == Some(&b'1'))
}

fn configure(inner: &RouteSocket, plan: &EndpointPlan) -> Result<(), AttachError> {
    let refused = |error| kernel("configure", plan, error);
    let index = inner.index(&plan.interface).map_err(refused)?;
    let index = index.ok_or_else(|| kernel("find", plan, Errno::NODEV.into()))?;
    let subnet = plan.network.subnet;
    let changes = [
        Change::Up { index: LOOPBACK },
        Change::Up { index },
        Change::AddAddress {
            index,
            address: plan.address,
            prefix: subnet.prefix(),
            broadcast: subnet.broadcast(),
        },
        Change::DefaultRoute { gateway: plan.network.gateway },
    ];
    let routed = plan.default_route && !plan.network.internal;
    inner.apply(&changes[..if routed { 4 } else { 3 }]).map_err(refused)
}

/// Makes this endpoint's gateway the container's default route, when the network that had it was disconnected.
pub fn set_default_route(netns: BorrowedFd<'_>, plan: &EndpointPlan) -> Result<(), AttachError> {
    let inner = netns::inside(netns, RouteSocket::open).and_then(|socket| socket);
    let inner = inner.map_err(|source| namespace(plan, source))?;
    let change = Change::DefaultRoute { gateway: plan.network.gateway };
    inner.apply(&[change]).map_err(|error| kernel("route through", plan, error))
}

/// Forgets the endpoint's names, and removes its veth; one that dies with its namespace is cut off now.
///
/// The kernel takes its time to take a namespace apart. Until then it would answer for its address, which may be another's by
/// then: whoever asks the new owner could be refused by the old one.
pub fn detach(context: &Context, plan: &EndpointPlan, netns: Netns) -> Result<(), AttachError> {
    names::unregister(context, plan);
    let host = RouteSocket::open().map_err(|error| kernel("remove", plan, error.into()))?;
    let name = &plan.host_interface();
    let change = match netns {
        Netns::Ending => Change::ClosePort { name },
        Netns::Alive => Change::DeleteLink { name },
    };
    match host.apply(&[change]) {
        Err(error) if !error.is(Errno::NODEV) => Err(kernel("remove", plan, error)),
        _ => Ok(()),
    }
}

/// Brings up the loopback interface of `netns`; [`attach`] does it too.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), AttachError> {
    let failed = |source: io::Error| AttachError::Loopback { source };
    let inner = netns::inside(netns, RouteSocket::open).and_then(|socket| socket).map_err(failed)?;
    inner.apply(&[Change::Up { index: LOOPBACK }]).map_err(|error| failed(error.into()))
}

fn namespace(plan: &EndpointPlan, source: io::Error) -> AttachError {
    AttachError::Namespace { endpoint: plan.id.clone(), source }
}

fn kernel(action: &'static str, plan: &EndpointPlan, error: Error) -> AttachError {
    AttachError::Kernel {
        action,
        interface: plan.interface.clone(),
        network: plan.network.name.clone(),
        source: error.into(),
    }
}

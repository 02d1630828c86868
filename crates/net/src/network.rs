//! Bridge networks: chosen, made, repaired, listed, removed.

mod subnet;

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use rustix::io::Errno;
use sys::netlink::Error;
use sys::netlink::route::{Change, Link, RouteSocket};

use crate::addr::{Ipv4Net, Mac};
use crate::error::NetworkError;
use crate::filter::Filter;
use crate::names;
use crate::netns;
use crate::plan::{Context, NetworkPlan, Published};

pub use subnet::{choose_subnet, uplink_mtu};

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

/// Chooses a subnet that is free on the host, as [`choose_subnet`], and makes the network `plan` draws up for it, in one step
/// that no other data root can come between.
pub fn create_network(
    context: &Context,
    taken: &[Ipv4Net],
    plan: impl FnOnce(Ipv4Net) -> NetworkPlan,
) -> Result<NetworkPlan, NetworkError> {
    let _lock = lock()?;
    let plan = plan(choose_subnet(taken)?);
    Builder::new(context, &plan)?.build()?;
    Ok(plan)
}

/// Makes the bridge, its address and its place in the packet filter, or repairs what is missing.
pub fn ensure_network(context: &Context, plan: &NetworkPlan) -> Result<(), NetworkError> {
    ensured_bridge(context, plan).map(drop)
}

/// Ensures the network and finds its bridge.
pub(crate) fn ensured_bridge(
    context: &Context,
    plan: &NetworkPlan,
) -> Result<(RouteSocket, u32), NetworkError> {
    let builder = Builder::new(context, plan)?;
    let index = match builder.ready()? {
        Some(index) => index,
        None => {
            let _lock = lock()?;
            builder.build()?
        }
    };
    Ok((builder.route, index))
}

fn lock() -> Result<Option<sys::fs::FileLock>, NetworkError> {
    netns::lock().map_err(|source| NetworkError::Host { what: "network namespace", source })
}

/// Removes the bridge, its elements and its names; what is gone already is no failure.
pub fn remove_network(context: &Context, plan: &NetworkPlan) -> Result<(), NetworkError> {
    let builder = Builder::new(context, plan)?;
    builder.filter.forget(plan).map_err(|e| filtered("remove elements of", &builder.filter, e))?;
    names::forget_network(context, &plan.id);
    let link = builder.route.link(&plan.bridge).map_err(|e| kernel("find", plan, e))?;
    if !link.is_some_and(|link| is_ours(context, &link)) {
        return Ok(());
    }
    match builder.route.apply(&[Change::DeleteLink { name: &plan.bridge }]) {
        Err(error) if !error.is(Errno::NODEV) => Err(kernel("remove", plan, error)),
        _ => Ok(()),
    }
}

/// Removes every bridge, leftover veth, name and the table of this instance.
pub fn remove_all(context: &Context) -> Result<(), NetworkError> {
    let route = open_route()?;
    let filter = open_filter(context)?;
    filter.remove().map_err(|e| filtered("remove", &filter, e))?;
    let names = owned_links(context, &route)?;
    let changes: Vec<_> =
        names.0.iter().chain(&names.1).map(|name| Change::DeleteLink { name: name.as_str() }).collect();
    // Veths vanish by themselves at any moment, with the namespaces of containers that just ended.
    let result = route.apply(&changes);
    if let Err(error) = result
        && let Some(left) = owned_links(context, &route)?.0.first()
    {
        let network = left.clone();
        return Err(NetworkError::Kernel { action: "remove", network, source: error.into() });
    }
    let _ = fs::remove_dir_all(&context.run);
    Ok(())
}

/// Lists what exists of this instance.
pub fn inventory(context: &Context) -> Result<Inventory, NetworkError> {
    let filter = open_filter(context)?;
    let (bridges, veths) = owned_links(context, &open_route()?)?;
    let table = filter.exists().map_err(|e| filtered("read", &filter, e))?;
    let published = filter.ports().map_err(|e| filtered("read", &filter, e))?;
    Ok(Inventory { table, bridges, veths, published })
}

/// The names of the instance's bridges, and of the veths on them.
fn owned_links(context: &Context, route: &RouteSocket) -> Result<(Vec<String>, Vec<String>), NetworkError> {
    let links =
        route.links().map_err(|e| NetworkError::Host { what: "network interfaces", source: e.into() })?;
    let bridges: Vec<&Link> = links.iter().filter(|link| is_ours(context, link)).collect();
    let on_ours = |link: &&Link| link.master.is_some_and(|index| bridges.iter().any(|b| b.index == index));
    let veths =
        links.iter().filter(on_ours).filter(|link| link.kind == "veth").map(|l| l.name.clone()).collect();
    Ok((bridges.iter().map(|bridge| bridge.name.clone()).collect(), veths))
}

/// The alias tells whose bridge it is, also when the packet filter's table is gone.
fn is_ours(context: &Context, link: &Link) -> bool {
    link.kind == "bridge" && link.alias.as_deref() == Some(&context.owner())
}

/// One network on its way into the kernel.
struct Builder<'a> {
    context: &'a Context,
    plan: &'a NetworkPlan,
    route: RouteSocket,
    filter: Filter,
}

impl<'a> Builder<'a> {
    fn new(context: &'a Context, plan: &'a NetworkPlan) -> Result<Self, NetworkError> {
        let bridge = &plan.bridge;
        if bridge.is_empty()
            || bridge.len() > 15
            || bridge.starts_with('.')
            || bridge.contains(['/', ':', ' '])
        {
            return Err(NetworkError::BridgeName { bridge: bridge.clone() });
        }
        if !plan.subnet.contains(plan.gateway) {
            return Err(NetworkError::Gateway { gateway: plan.gateway, subnet: plan.subnet });
        }
        Ok(Self { context, plan, route: open_route()?, filter: open_filter(context)? })
    }

    /// The bridge's index when nothing is missing: all that a start has to ask.
    fn ready(&self) -> Result<Option<u32>, NetworkError> {
        let link = self.route.link(&self.plan.bridge).map_err(|e| kernel("find", self.plan, e))?;
        let fits = |link: &Link| link.up && link.mtu == self.plan.mtu && is_ours(self.context, link);
        let Some(link) = link.filter(fits) else { return Ok(None) };
        let known = self.filter.knows(self.plan).map_err(|e| filtered("read", &self.filter, e))?;
        Ok((known && forwarding()).then_some(link.index))
    }

    fn build(&self) -> Result<u32, NetworkError> {
        let plan = self.plan;
        let bridge = &plan.bridge;
        let refused = |action| move |error| kernel(action, plan, error);
        match self.route.link(bridge).map_err(refused("find"))? {
            Some(link) if !is_ours(self.context, &link) => {
                return Err(NetworkError::Foreign { bridge: bridge.clone() });
            }
            Some(link) if link.mtu != plan.mtu => {
                self.route
                    .apply(&[Change::Mtu { name: bridge, mtu: plan.mtu }])
                    .map_err(refused("set the MTU of"))?;
            }
            Some(_) => {}
            None => {
                self.refuse_overlap()?;
                let Mac(mac) = Mac::for_address(plan.gateway);
                let alias = self.context.owner();
                let create = Change::CreateBridge { name: bridge, mac, mtu: plan.mtu };
                let sign = Change::Alias { name: bridge, alias: &alias };
                self.route.apply(&[create, sign]).map_err(refused("create the bridge of"))?;
            }
        }
        self.configure().inspect_err(|_| {
            // Unless it had been there before, nothing is attached to it; the next attempt starts afresh.
            let empty = owned_links(self.context, &self.route).is_ok_and(|(_, veths)| veths.is_empty());
            if empty {
                let _ = self.route.apply(&[Change::DeleteLink { name: bridge }]);
            }
        })
    }

    fn configure(&self) -> Result<u32, NetworkError> {
        let plan = self.plan;
        let index = self.route.index(&plan.bridge).map_err(|e| kernel("find", plan, e))?;
        let index = index.ok_or_else(|| kernel("find", plan, Errno::NODEV.into()))?;
        // Before it is up, so that it never has an address of its own making or believes a router (CVE-2020-13401).
        self.setting(&format!("ipv6/conf/{}/accept_ra", plan.bridge), "0")?;
        self.setting(&format!("ipv6/conf/{}/disable_ipv6", plan.bridge), "1")?;
        self.setting(&format!("ipv4/conf/{}/route_localnet", plan.bridge), "1")?;
        let (address, prefix) = (plan.gateway, plan.subnet.prefix());
        self.route
            .apply(&[
                Change::AddAddress { index, address, prefix, broadcast: plan.subnet.broadcast() },
                Change::Up { index },
            ])
            .map_err(|e| kernel("bring up the bridge of", plan, e))?;
        self.filter.ensure(plan).map_err(|e| filtered("extend", &self.filter, e))?;
        // Last, so that the host never forwards what the filter does not yet know.
        if !forwarding() {
            self.setting(FORWARDING, "1")?;
        }
        Ok(index)
    }

    /// Refuses a subnet that another bridge of any hull has: both would be unreachable.
    fn refuse_overlap(&self) -> Result<(), NetworkError> {
        let host = |source: Error| NetworkError::Host { what: "routes", source: source.into() };
        let links = self.route.links().map_err(host)?;
        let hulls = |link: &&Link| link.alias.as_ref().is_some_and(|alias| alias.starts_with("hull-"));
        let bridges: Vec<u32> = links.iter().filter(hulls).map(|link| link.index).collect();
        let subnet = self.plan.subnet;
        let nets = self.route.routes().map_err(host)?.into_iter();
        let mut nets = nets.filter(|route| route.interface.is_some_and(|index| bridges.contains(&index)));
        match nets
            .find_map(|r| Ipv4Net::containing(r.destination, r.prefix).filter(|net| net.overlaps(&subnet)))
        {
            Some(other) => Err(NetworkError::Overlap { subnet, other }),
            None => Ok(()),
        }
    }

    fn setting(&self, name: &str, value: &str) -> Result<(), NetworkError> {
        match fs::write(format!("/proc/sys/net/{name}"), value) {
            // A kernel without IPv6 needs none of its settings.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("ipv6") => Ok(()),
            Err(source) => {
                let setting = format!("net.{}", name.replace('/', "."));
                Err(NetworkError::Setting { setting, network: self.plan.name.clone(), source })
            }
            Ok(()) => Ok(()),
        }
    }
}

const FORWARDING: &str = "ipv4/ip_forward";

fn forwarding() -> bool {
    fs::read(format!("/proc/sys/net/{FORWARDING}")).is_ok_and(|value| value.first() == Some(&b'1'))
}

fn open_route() -> Result<RouteSocket, NetworkError> {
    RouteSocket::open().map_err(|source| NetworkError::Host { what: "network interfaces", source })
}

fn open_filter(context: &Context) -> Result<Filter, NetworkError> {
    let failed = |source| NetworkError::Filter { action: "open", table: context.owner(), source };
    Filter::open(context).map_err(failed)
}

fn kernel(action: &'static str, plan: &NetworkPlan, error: Error) -> NetworkError {
    NetworkError::Kernel { action, network: plan.name.clone(), source: error.into() }
}

fn filtered(action: &'static str, filter: &Filter, error: Error) -> NetworkError {
    NetworkError::Filter { action, table: filter.table().to_owned(), source: error.into() }
}

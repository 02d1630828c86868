//! What a container occupies on the host beside its process: control group, network namespace, endpoints, names, ports.
//!
//! It is made by the first launch, kept over restarts, and taken down once, at the container's final end or by the launch
//! that failed. Taking down collects and continues: whatever one step says, the next ones happen.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use cgroup::{Cgroup, CgroupError, Hierarchy};
use diag::Failure;
use net::dns;
use net::names::NamesDir;
use net::{EndpointPlan, Netns, Published};
use oci::runtime::NamespaceType;
use runtime::ids::Identity;

use crate::client::NetworkHint;
use crate::plan::{LaunchPlan, Networking};
use crate::process::MonitorError;

#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) cgroup: Cgroup,
    pub(crate) identity: Identity,
    netns: Option<OwnedFd>,
    /// A namespace that nothing is in yet, for the container's network.
    fresh_netns: Option<OwnedFd>,
    network: Option<Network>,
    oom_kills_seen: u64,
    /// Keeps this process out of the service or session it was started from.
    membership: Option<cgroup::Supervisor>,
}

/// The parts of a private network namespace.
#[derive(Debug)]
struct Network {
    context: net::Context,
    endpoints: Vec<EndpointPlan>,
    publish: Vec<net::Publish>,
    dns_servers: Vec<IpAddr>,
    reservation: Option<net::Reservation>,
    dns: Option<dns::Server>,
}

/// What a launch needs whatever else its plan says: made while the launcher still writes that.
#[derive(Debug)]
pub(crate) struct Groundwork {
    hierarchy: Result<Hierarchy, CgroupError>,
    netns: Option<OwnedFd>,
}

impl Groundwork {
    pub(crate) fn lay(network: NetworkHint) -> Self {
        let netns = match network {
            // Without one, the clone makes it, or says why it cannot.
            NetworkHint::Private => net::new_netns().ok(),
            NetworkHint::Shared => None,
        };
        Self { hierarchy: Hierarchy::usable(), netns }
    }
}

impl Sandbox {
    /// Makes the control group; the network follows when the container's first process exists.
    pub(crate) fn create(plan: &LaunchPlan, groundwork: Groundwork) -> Result<Self, Failure> {
        let identity = Identity::establish(plan.users).map_err(|source| MonitorError::Io {
            action: "get a range of user ids for",
            what: plan.id.clone(),
            source,
        })?;
        let hierarchy = groundwork.hierarchy?;
        // What was made here belongs to the host's users: a container with users of its own needs one that belongs to those.
        let joins_users = plan.spec.linux.as_ref().is_some_and(|linux| {
            linux.namespaces.iter().any(|namespace| namespace.r#type == NamespaceType::User)
        });
        let hosts_users = identity.first().is_none() && !joins_users;
        let private = matches!(plan.network, Networking::Private { .. });
        let fresh_netns = groundwork.netns.filter(|_| private && hosts_users);
        // Before the clone: where the container has no group of its own, it inherits this one. It matters only to systemd, so
        // a failure is no reason not to run.
        let membership = cgroup::Supervisor::enter(&hierarchy, plan.shared_cgroup(), 0).ok();
        let resources =
            plan.spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
        let group = match &plan.cgroup_path {
            Some(path) => {
                let place = cgroup::Place::Path(path.clone());
                place.create(&hierarchy, &resources, &BTreeMap::new()).map(|made| made.group)
            }
            None => Cgroup::create(&hierarchy, &plan.cgroup, &resources),
        };
        match group {
            Ok(cgroup) => {
                let (netns, network) = (None, None);
                Ok(Self { cgroup, identity, netns, fresh_netns, network, oom_kills_seen: 0, membership })
            }
            Err(error) => {
                membership.into_iter().for_each(cgroup::Supervisor::leave);
                Err(error.into())
            }
        }
    }

    /// The network namespace to join instead of a new one, as soon as there is one.
    pub(crate) fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().or(self.fresh_netns.as_ref()).map(AsFd::as_fd)
    }

    /// Opens the namespace of the container whose network this one shares.
    pub(crate) fn join(&mut self, plan: &LaunchPlan) -> Result<(), Failure> {
        if let Networking::Join(path) = &plan.network
            && self.netns.is_none()
        {
            let file = std::fs::File::open(path).map_err(|source| MonitorError::Io {
                action: "join the network namespace",
                what: path.display().to_string(),
                source,
            })?;
            self.netns = Some(file.into());
        }
        Ok(())
    }

    /// Realises the container's endpoints in its new namespace, once; a restarted container finds them there.
    pub(crate) fn connect(
        &mut self,
        plan: &LaunchPlan,
        netns: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<(), Failure> {
        let Networking::Private { context, endpoints, publish, dns_servers } = &plan.network else {
            return Ok(());
        };
        if self.netns.is_some() {
            return self.restore_filter();
        }
        let netns = match self.fresh_netns.take() {
            Some(fresh) => fresh,
            None => netns().map_err(|source| MonitorError::Io {
                action: "open the network namespace of",
                what: plan.id.clone(),
                source,
            })?,
        };
        let netns = self.netns.insert(netns);
        let network = self.network.insert(Network {
            context: context.clone(),
            endpoints: Vec::new(),
            publish: publish.clone(),
            dns_servers: dns_servers.clone(),
            reservation: None,
            dns: None,
        });
        if endpoints.is_empty() {
            net::loopback_up(netns.as_fd())?;
        }
        for endpoint in endpoints {
            net::attach(context, netns.as_fd(), endpoint)?;
            network.endpoints.push(endpoint.clone());
        }
        network.publish()?;
        network.serve_names(netns.as_fd())
    }

    /// A restarted container has its endpoints still; the packet filter may have been flushed since.
    fn restore_filter(&self) -> Result<(), Failure> {
        let Some(network) = &self.network else { return Ok(()) };
        for endpoint in &network.endpoints {
            let here = network.reservation.as_ref().filter(|held| held.address() == endpoint.address);
            net::restore(&network.context, endpoint, here.map_or(&[], |held| held.published()))?;
        }
        Ok(())
    }

    /// Attaches the running container to one more network.
    pub(crate) fn add_endpoint(&mut self, endpoint: EndpointPlan) -> Result<(), Failure> {
        let (network, netns) = self.private("connect")?;
        if network.endpoints.iter().any(|known| known.network.id == endpoint.network.id) {
            return Err(MonitorError::Connected { network: endpoint.network.name }.into());
        }
        net::attach(&network.context, netns, &endpoint)?;
        network.endpoints.push(endpoint);
        network.publish().and_then(|()| network.serve_names(netns)).inspect_err(|_| {
            if let Some(endpoint) = network.endpoints.pop() {
                let _ = net::detach(&network.context, &endpoint, Netns::Alive);
            }
        })
    }

    /// Takes the running container off a network.
    pub(crate) fn remove_endpoint(&mut self, id: &str) -> Result<(), Failure> {
        let (network, netns) = self.private("disconnect")?;
        let Some(at) = network.endpoints.iter().position(|endpoint| endpoint.network.id == id) else {
            return Err(MonitorError::NotConnected { network: id.to_owned() }.into());
        };
        let endpoint = network.endpoints.remove(at);
        network.unpublish_from(endpoint.address);
        net::detach(&network.context, &endpoint, Netns::Alive)?;
        network.publish()?;
        network.serve_names(netns)
    }

    /// Registers the container's new name in place of the old one, on the networks that know names.
    pub(crate) fn rename(&mut self, old: &str, new: &str) -> Result<(), Failure> {
        let Some(network) = &mut self.network else { return Ok(()) };
        for endpoint in &mut network.endpoints {
            if !endpoint.names.iter().any(|name| name == old) {
                continue;
            }
            net::names::unregister(&network.context, endpoint);
            for name in endpoint.names.iter_mut().filter(|name| *name == old) {
                new.clone_into(name);
            }
            net::names::register(&network.context, endpoint)?;
        }
        Ok(())
    }

    fn private(&mut self, action: &'static str) -> Result<(&mut Network, BorrowedFd<'_>), Failure> {
        match (&mut self.network, &self.netns) {
            (Some(network), Some(netns)) => Ok((network, netns.as_fd())),
            _ => Err(MonitorError::SharedNetwork { action }.into()),
        }
    }

    /// The endpoints as they are now.
    pub(crate) fn endpoints(&self) -> &[EndpointPlan] {
        self.network.as_ref().map_or(&[], |network| &network.endpoints)
    }

    /// Their ids, by the names of their networks.
    pub(crate) fn endpoint_ids(&self) -> BTreeMap<String, String> {
        let ids = |endpoint: &EndpointPlan| (endpoint.network.name.clone(), endpoint.id.clone());
        self.endpoints().iter().map(ids).collect()
    }

    /// The published ports as they are now.
    pub(crate) fn ports(&self) -> Vec<Published> {
        let reservation = self.network.as_ref().and_then(|network| network.reservation.as_ref());
        reservation.map(|reservation| reservation.published().to_vec()).unwrap_or_default()
    }

    /// The name server, while there is one.
    pub(crate) fn dns(&self) -> Option<&dns::Server> {
        self.network.as_ref().and_then(|network| network.dns.as_ref())
    }

    /// The process that serves the published ports, where there is one.
    pub(crate) fn forwarder(&self) -> Option<BorrowedFd<'_>> {
        self.network.as_ref()?.reservation.as_ref()?.forwarder()
    }

    /// Sees to it that there is such a process again, when it has ended.
    pub(crate) fn keep_forwarding(&mut self, now: Instant) {
        if let Some(reservation) = self.network.as_mut().and_then(|network| network.reservation.as_mut()) {
            reservation.look_after(now);
        }
    }

    /// When [`Self::serve`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let network = self.network.as_ref()?;
        let names = network.dns.as_ref().and_then(dns::Server::deadline);
        let ports = network.reservation.as_ref().and_then(net::Reservation::deadline);
        [names, ports].into_iter().flatten().min()
    }

    /// Lets the name server work if it has something to do, and starts what serves the ports when that is due.
    pub(crate) fn serve(&mut self, readable: bool, now: Instant) {
        if let Some(server) = self.network.as_mut().and_then(|network| network.dns.as_mut())
            && (readable || server.deadline().is_some_and(|deadline| now >= deadline))
        {
            server.ready();
        }
        if self.forwarding_is_due(now) {
            self.keep_forwarding(now);
        }
    }

    fn forwarding_is_due(&self, now: Instant) -> bool {
        let reservation = self.network.as_ref().and_then(|network| network.reservation.as_ref());
        reservation.and_then(net::Reservation::deadline).is_some_and(|at| now >= at)
    }

    /// Whether the kernel killed something of this container for lack of memory since this was last asked.
    pub(crate) fn take_oom(&mut self) -> bool {
        let kills = self.cgroup.oom_kills().unwrap_or(self.oom_kills_seen);
        let more = kills > self.oom_kills_seen;
        self.oom_kills_seen = kills;
        more
    }

    /// Gives everything back; what did not work is returned as notes.
    pub(crate) fn take_down(mut self) -> Vec<Failure> {
        let mut notes = Vec::new();
        if let Some(mut network) = self.network.take() {
            if let Some(reservation) = network.reservation.take() {
                notes.extend(net::unpublish(&network.context, reservation).err().map(Failure::from));
            }
            for endpoint in &network.endpoints {
                notes.extend(net::detach(&network.context, endpoint, Netns::Ending).err().map(Failure::from));
            }
        }
        // The veths die with the namespace, and the namespace with this descriptor.
        drop(self.netns.take());
        remove_cgroup(&self.cgroup, &mut notes);
        self.membership.into_iter().for_each(cgroup::Supervisor::leave);
        notes
    }
}

/// Removes the control group; processes are only left in it when the container shares somebody else's pid namespace.
pub(crate) fn remove_cgroup(cgroup: &Cgroup, notes: &mut Vec<Failure>) {
    if cgroup.pids().is_ok_and(|pids| !pids.is_empty()) {
        notes.extend(cgroup.kill_all().err().map(Failure::from));
    }
    notes.extend(cgroup.remove().err().map(Failure::from));
}

impl Network {
    /// Publishes the ports on the endpoint that leads outside, if they are not.
    fn publish(&mut self) -> Result<(), Failure> {
        if self.publish.is_empty() || self.reservation.is_some() {
            return Ok(());
        }
        let Some(address) = publish_address(&self.endpoints) else { return Ok(()) };
        self.reservation = Some(net::publish(&self.context, address, &self.publish)?);
        Ok(())
    }

    fn unpublish_from(&mut self, address: std::net::Ipv4Addr) {
        if let Some(reservation) = self.reservation.take_if(|reservation| reservation.address() == address) {
            let _ = net::unpublish(&self.context, reservation);
        }
    }

    /// Starts the name server, or tells it what changed, when one of the networks has names.
    fn serve_names(&mut self, netns: BorrowedFd<'_>) -> Result<(), Failure> {
        let networks: Vec<NamesDir> = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.network.dns)
            .map(|EndpointPlan { network, links, .. }| {
                NamesDir::new(&self.context, &network.id, &network.name).with_links(links)
            })
            .collect();
        let upstream = if self.endpoints.iter().all(|endpoint| endpoint.network.internal) {
            dns::Upstream::None
        } else if self.dns_servers.is_empty() {
            dns::Upstream::Host
        } else {
            dns::Upstream::Fixed(self.dns_servers.iter().map(|&ip| SocketAddr::new(ip, 53)).collect())
        };
        match &mut self.dns {
            Some(server) => server.reconfigure(dns::Config { networks, upstream }),
            None if networks.is_empty() => {}
            None => self.dns = Some(dns::Server::bind(netns, dns::Config { networks, upstream })?),
        }
        Ok(())
    }
}

/// The address published ports lead to: that of the endpoint with the default route, or else the first that leads outside.
pub(crate) fn publish_address(endpoints: &[EndpointPlan]) -> Option<std::net::Ipv4Addr> {
    let outside = || endpoints.iter().filter(|endpoint| !endpoint.network.internal);
    outside().find(|endpoint| endpoint.default_route).or_else(|| outside().next()).map(|e| e.address)
}

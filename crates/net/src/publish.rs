//! Published ports: a bound socket that owns the host's port, and a map element that says where its packets go.
//!
//! The socket never listens. It makes the kernel refuse the port to everybody else, hull or not, and frees it however the
//! monitor dies; packets never reach it, because the packet filter sends them on before.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

use crate::error::PublishError;
use crate::filter::Filter;
use crate::forward::Forwarder;
use crate::network::ensure_network;
use crate::plan::{Context, EndpointPlan, Protocol, Publish, Published};
use crate::ports::{self, Refused};

/// The least time from one start of a forwarder to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// The host ports one container holds; they are free again when this is dropped, so [`unpublish`] first.
#[derive(Debug)]
pub struct Reservation {
    address: Ipv4Addr,
    published: Vec<Published>,
    sockets: Vec<OwnedFd>,
    /// Where the packet filter cannot: see [`ports`].
    service: Service,
}

/// What serves the ports.
#[derive(Debug)]
enum Service {
    Filter,
    Forwarder(Forwarder),
    /// The forwarder has ended, and another is started then.
    Again(Instant),
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

    /// The process that serves the ports, where the packet filter does not: it is readable when [`Self::look_after`] has
    /// something to do.
    pub fn forwarder(&self) -> Option<BorrowedFd<'_>> {
        match &self.service {
            Service::Forwarder(forwarder) => Some(forwarder.process()),
            Service::Filter | Service::Again(_) => None,
        }
    }

    /// When [`Self::look_after`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self.service {
            Service::Again(at) => Some(at),
            Service::Filter | Service::Forwarder(_) => None,
        }
    }

    /// Starts the process that serves the ports again, if it has ended: at once, or a while after one that did not live long.
    pub fn look_after(&mut self, now: Instant) {
        if let Service::Forwarder(forwarder) = &self.service
            && forwarder.has_ended()
        {
            self.service = Service::Again(now.max(forwarder.started() + PAUSE));
        }
        if let Service::Again(at) = self.service
            && now >= at
        {
            self.service = match Forwarder::start(self.address, &self.published, &self.sockets) {
                Ok(forwarder) => Service::Forwarder(forwarder),
                Err(_) => Service::Again(now + PAUSE),
            };
        }
    }
}

/// Publishes all of `ports` on the container at `address`, or none. Its network must have been ensured, as attaching does.
///
/// # Errors
/// [`PublishError::InUse`] when another container or any other process has one of the ports.
pub fn publish(context: &Context, address: Ipv4Addr, ports: &[Publish]) -> Result<Reservation, PublishError> {
    let mut reservation =
        Reservation { address, published: Vec::new(), sockets: Vec::new(), service: Service::Filter };
    for port in ports {
        let (socket, host_port) = reserve(port)?;
        reservation.sockets.push(socket);
        reservation.published.push(Published {
            host_ip: port.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port,
            container_port: port.container_port,
            protocol: port.protocol,
        });
    }
    if !ports.is_empty() {
        with_filter(context, |filter| filter.add_ports(address, &reservation.published))?;
        forget_flows(&reservation.published);
    }
    if !ports.is_empty() && ports::keeper().is_some() {
        let started = Forwarder::start(address, &reservation.published, &reservation.sockets);
        reservation.service = started.map(Service::Forwarder).map_err(|source| {
            let _ = with_filter(context, |filter| filter.remove_ports(&reservation.published));
            PublishError::Forward { source }
        })?;
    }
    Ok(reservation)
}

/// Takes the ports back, then frees them.
pub fn unpublish(context: &Context, reservation: Reservation) -> Result<(), PublishError> {
    if reservation.published.is_empty() {
        return Ok(());
    }
    with_filter(context, |filter| filter.remove_ports(&reservation.published))?;
    forget_flows(&reservation.published);
    Ok(())
}

/// Lets UDP clients that have been sending all along reach who has the port now, or learn that nobody has.
fn forget_flows(ports: &[Published]) {
    for port in ports.iter().filter(|port| port.protocol == Protocol::Udp) {
        // Without it the port works for every new flow, so a kernel that cannot do this fails no container.
        let _ = sys::netlink::conntrack::forget_udp_flows(port.host_port);
    }
}

/// Takes back the ports of a container whose monitor was killed, leaving alone those that somebody else holds by now.
pub fn unpublish_stale(
    context: &Context,
    address: Ipv4Addr,
    ports: &[Published],
) -> Result<(), PublishError> {
    let mut held = Vec::new();
    let mut stale = Vec::new();
    for port in ports {
        let Published { host_ip, host_port, container_port, protocol } = *port;
        // Whoever publishes this port meanwhile finds it taken for a moment rather than its new element removed.
        if let Ok((socket, _)) =
            reserve(&Publish { host_ip, host_port: Some(host_port), container_port, protocol })
        {
            held.push(socket);
            stale.push(*port);
        }
    }
    with_filter(context, |filter| {
        let present = filter.ports()?;
        stale.retain(|port| present.contains(&(*port, address)));
        if stale.is_empty() { Ok(()) } else { filter.remove_ports(&stale) }
    })
}

/// Puts back what the packet filter should know of an endpoint and the ports published on it, where somebody flushed the ruleset.
pub fn restore(context: &Context, endpoint: &EndpointPlan, ports: &[Published]) -> Result<(), PublishError> {
    ensure_network(context, &endpoint.network)?;
    with_filter(context, |filter| {
        filter.bind(endpoint)?;
        if ports.is_empty() { Ok(()) } else { filter.add_ports(endpoint.address, ports) }
    })
}

fn with_filter(
    context: &Context,
    act: impl FnOnce(&Filter) -> Result<(), sys::netlink::Error>,
) -> Result<(), PublishError> {
    let result = Filter::open(context).map_err(Into::into).and_then(|filter| act(&filter));
    result.map_err(|error| PublishError::Filter { table: context.owner(), source: error.into() })
}

/// Binds a socket to the host's port, or to one the kernel chooses.
fn reserve(port: &Publish) -> Result<(OwnedFd, u16), PublishError> {
    let host_ip = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let wanted = port.host_port.unwrap_or(0);
    let bound = match ports::keeper() {
        Some(keeper) => ports::ask(&keeper, host_ip, wanted, port.protocol),
        None => bind(host_ip, wanted, port.protocol).map_err(Refused::from),
    };
    let result = bound.and_then(|socket| {
        let bound: SocketAddrV4 = rustix::net::getsockname(&socket)?.try_into()?;
        Ok((socket, bound.port()))
    });
    result.map_err(|Refused { source, free_from }| {
        let protocol = port.protocol;
        match source.kind() {
            io::ErrorKind::AddrInUse => PublishError::InUse { host_ip, port: wanted, protocol, source },
            io::ErrorKind::PermissionDenied => {
                PublishError::Privileged { host_ip, port: wanted, protocol, free_from, source }
            }
            _ => PublishError::Bind { host_ip, port: wanted, protocol, source },
        }
    })
}

fn bind(ip: Ipv4Addr, port: u16, protocol: Protocol) -> rustix::io::Result<OwnedFd> {
    let address = SocketAddrV4::new(ip, port);
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let open = || rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None);
    let socket = open()?;
    match (rustix::net::bind(&socket, &address), protocol) {
        (Err(Errno::ADDRINUSE), Protocol::Tcp) => {}
        (result, protocol) => {
            if protocol == Protocol::Udp {
                // Nobody reads what is not for the container, such as broadcasts: keep as little of it as can be.
                sockopt::set_socket_recv_buffer_size(&socket, 0)?;
            }
            return result.map(|()| socket);
        }
    }
    // Connections in TIME_WAIT of a server that just ended hold the port against us, though not against the next server,
    // which says SO_REUSEADDR. Say it too; but then others could join, so claim the port by listening, stop to listen, which
    // keeps it bound, and withdraw the permission.
    let socket = open()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 0)?;
    rustix::net::shutdown(&socket, Shutdown::Read)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

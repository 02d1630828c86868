//! A host of one test's own: a network namespace with an uplink to a neighbour, and containers that are only namespaces.

#![allow(dead_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use net::{Context, EndpointPlan, Ipv4Net, Mac, NetworkPlan, Protocol, Publish};
use sys::namespace::{self, Kind, KindSet};

pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Long enough for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for what must not happen.
const IMPATIENCE: Duration = Duration::from_millis(300);

static COUNTER: AtomicU32 = AtomicU32::new(0);

fn unique() -> u32 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A namespace without interfaces but loopback, which is down.
pub fn new_netns() -> OwnedFd {
    let make = || {
        namespace::unshare(KindSet::EMPTY.with(Kind::Network)).expect("unshare (tests need root)");
        namespace::open_own(Kind::Network).expect("open the new namespace")
    };
    thread::scope(|scope| scope.spawn(make).join().expect("a namespace"))
}

/// Runs `f` on a thread inside `netns`.
pub fn inside<T: Send>(netns: BorrowedFd<'_>, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let joined = scope.spawn(|| {
            namespace::join(netns, Kind::Network).expect("join the namespace");
            f()
        });
        joined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program in the namespace of this thread and returns what it printed.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub struct World {
    pub context: Context,
    pub host: OwnedFd,
    pub remote: OwnedFd,
}

impl World {
    /// `bridged`: whether br_netfilter shows bridged packets to the filter, as on a host that also runs Docker.
    pub fn new(bridged: bool) -> Self {
        let (host, remote) = (new_netns(), new_netns());
        inside(host.as_fd(), || {
            sh("ip link set lo up");
            let _ =
                fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", if bridged { "1" } else { "0" });
        });
        link(&host, &remote);
        let number = unique();
        let instance = format!("{:04x}{number:04x}", std::process::id() & 0xffff);
        let run = std::env::temp_dir().join(format!("hull-net-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&run).expect("a run directory");
        Self { context: Context { instance, run }, host, remote }
    }

    pub fn host<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(self.host.as_fd(), f)
    }

    pub fn remote<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(self.remote.as_fd(), f)
    }

    pub fn network(&self, name: &str) -> NetworkPlan {
        self.host(|| {
            net::create_network(&self.context, &[], |subnet| plan(name, subnet)).expect("create the network")
        })
    }

    /// A network as `change` wants it.
    pub fn network_with(&self, name: &str, change: impl FnOnce(&mut NetworkPlan) + Send) -> NetworkPlan {
        self.host(|| {
            let draw = |subnet| {
                let mut plan = plan(name, subnet);
                change(&mut plan);
                plan
            };
            net::create_network(&self.context, &[], draw).expect("create the network")
        })
    }

    /// A namespace attached to `network` as its `n`-th host, answering to `name`.
    pub fn container(&self, network: &NetworkPlan, n: u32, name: &str) -> Container {
        self.attach(endpoint(network, n, name))
    }

    /// A namespace with this endpoint.
    pub fn attach(&self, endpoint: EndpointPlan) -> Container {
        let netns = new_netns();
        self.host(|| net::attach(&self.context, netns.as_fd(), &endpoint).expect("attach"));
        Container { netns, endpoint }
    }

    pub fn publish(
        &self,
        container: &Container,
        ports: &[Publish],
    ) -> Result<net::Reservation, net::PublishError> {
        self.host(|| net::publish(&self.context, container.endpoint.address, ports))
    }

    /// Publishes ports that were just given up: programs that other tests start hold copies of our sockets until they exec.
    pub fn publish_again(&self, container: &Container, ports: &[Publish]) -> net::Reservation {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.publish(container, ports) {
                Err(net::PublishError::InUse { .. }) if Instant::now() < deadline => thread::yield_now(),
                result => return result.expect("free again"),
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.context.run);
    }
}

/// The uplink: `up0` on both sides.
fn link(host: &OwnedFd, remote: &OwnedFd) {
    use sys::netlink::route::{Change, RouteSocket};
    inside(host.as_fd(), || {
        sh("ip link add br-uplink type bridge");
        let socket = RouteSocket::open().expect("a route socket");
        let bridge = socket.index("br-uplink").expect("index").expect("the bridge");
        let peer_mac = [2, 0, 0, 0, 0, 2];
        let netns = remote.as_fd();
        socket
            .apply(&[Change::CreateVeth {
                name: "up0",
                bridge,
                group: 0,
                mtu: 1400,
                peer: "up0",
                peer_mac,
                netns,
            }])
            .expect("the uplink");
        sh("ip link set up0 nomaster && ip link del br-uplink && ip link set up0 up");
        sh(&format!("ip addr add {HOST}/24 dev up0 && ip route add default via {REMOTE}"));
    });
    inside(remote.as_fd(), || {
        sh(&format!("ip link set lo up && ip addr add {REMOTE}/24 dev up0 && ip link set up0 up"));
        // Through the host to its containers, as a hostile neighbour would.
        sh(&format!("ip route add 172.16.0.0/12 via {HOST}"));
    });
}

pub fn plan(name: &str, subnet: Ipv4Net) -> NetworkPlan {
    let id = format!("{:08x}{:08x}{:048x}", std::process::id(), unique(), 0);
    NetworkPlan {
        bridge: net::bridge_name(&format!("{:03x}{:08x}", std::process::id() & 0xfff, unique())),
        id,
        name: name.to_owned(),
        subnet,
        gateway: subnet.first_host(),
        mtu: net::uplink_mtu(),
        internal: false,
        icc: true,
        masquerade: true,
        dns: true,
    }
}

pub fn endpoint(network: &NetworkPlan, n: u32, name: &str) -> EndpointPlan {
    let address = network.subnet.nth(n).expect("an address");
    EndpointPlan {
        network: network.clone(),
        id: format!("{:03x}{:08x}", std::process::id() & 0xfff, unique()),
        address,
        mac: Mac::for_address(address),
        interface: "eth0".to_owned(),
        names: vec![name.to_owned()],
        links: Default::default(),
        default_route: true,
        may_forge: false,
    }
}

pub struct Container {
    pub netns: OwnedFd,
    pub endpoint: EndpointPlan,
}

impl Container {
    pub fn address(&self) -> Ipv4Addr {
        self.endpoint.address
    }

    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(self.netns.as_fd(), f)
    }

    /// Tells every TCP client the address it is seen under.
    pub fn serve_tcp(&self, port: u16) {
        self.run(|| serve_tcp((Ipv4Addr::UNSPECIFIED, port).into()));
    }

    /// Tells every UDP client the address it is seen under.
    pub fn serve_udp(&self, port: u16) {
        let socket = self.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
            }
        });
    }
}

/// Serves in the namespace of this thread, until the test process ends.
pub fn serve_tcp(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("listen");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if let Ok(peer) = stream.peer_addr() {
                let _ = stream.write_all(peer.ip().to_string().as_bytes());
            }
        }
    });
}

/// The address a server of the helpers above sees this thread under; `None` when it cannot be reached.
pub fn ask(protocol: Protocol, ip: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
    ask_within(PATIENCE, protocol, (ip, port).into())
}

/// [`ask`] over TCP.
pub fn tcp(ip: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
    ask(Protocol::Tcp, ip, port)
}

/// [`tcp`] where no answer is expected.
pub fn tcp_now(ip: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
    ask_within(IMPATIENCE, Protocol::Tcp, (ip, port).into())
}

fn ask_within(patience: Duration, protocol: Protocol, address: SocketAddr) -> Option<Ipv4Addr> {
    let mut text = String::new();
    match protocol {
        Protocol::Tcp => {
            let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
            stream.set_read_timeout(Some(patience)).ok()?;
            stream.read_to_string(&mut text).ok()?;
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            socket.set_read_timeout(Some(patience)).ok()?;
            socket.connect(address).ok()?;
            socket.send(b"?").ok()?;
            let mut buffer = [0; 64];
            let len = socket.recv(&mut buffer).ok()?;
            text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        }
    }
    text.parse().ok()
}

pub fn port(host_ip: Option<Ipv4Addr>, host_port: u16, container_port: u16, protocol: Protocol) -> Publish {
    Publish { host_ip, host_port: Some(host_port), container_port, protocol }
}

/// Where a test that needs files puts them.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("hull-net-{name}-{}-{}", std::process::id(), unique()))
}

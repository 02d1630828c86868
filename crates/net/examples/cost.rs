//! What an endpoint, a published port and a name cost, in microseconds, in namespaces of their own: `cargo run -p net
//! --profile bench --example cost` as root. Prints minimum and median; asserts nothing.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use net::dns::{Config, Server, Upstream};
use net::names::NamesDir;
use net::{Context, EndpointPlan, Mac, NetworkPlan, Protocol, Publish};
use sys::event::PollFlags;
use sys::namespace::{self, Kind, KindSet};

const ROUNDS: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    namespace::unshare(KindSet::EMPTY.with(Kind::Network))?;
    let run = std::path::Path::new("/dev/shm").join(format!("hull-net-cost-{}", std::process::id()));
    let context = Context { instance: "c057c057".into(), run: run.clone() };
    let started = Instant::now();
    let network = net::create_network(&context, &[], |subnet| NetworkPlan {
        id: "c057".repeat(16),
        name: "cost".into(),
        bridge: "hb-cost".into(),
        subnet,
        gateway: subnet.first_host(),
        mtu: 1400,
        internal: false,
        icc: true,
        masquerade: true,
        dns: true,
    })?;
    println!("{:34} {:>8.0} us", "create_network", micros(started.elapsed()));

    let mut names = ["ensure_network", "namespace", "attach", "publish", "dns bind", "unpublish", "detach"]
        .map(|n| (n, Vec::new()));
    for n in 0..ROUNDS {
        let mut step = 0;
        let mut timed = |from: Instant| {
            names[step].1.push(micros(from.elapsed()));
            step += 1;
        };
        let at = Instant::now();
        net::ensure_network(&context, &network)?;
        timed(at);
        let at = Instant::now();
        let netns = new_netns()?;
        timed(at);
        let endpoint = endpoint(&network, n);
        let at = Instant::now();
        net::attach(&context, netns.as_fd(), &endpoint)?;
        timed(at);
        let port =
            Publish { host_ip: None, host_port: Some(8080), container_port: 80, protocol: Protocol::Tcp };
        let at = Instant::now();
        let held = net::publish(&context, endpoint.address, &[port])?;
        timed(at);
        let config = Config {
            networks: vec![NamesDir::new(&context, &network.id, &network.name)],
            upstream: Upstream::None,
        };
        let at = Instant::now();
        let mut server = Server::bind(netns.as_fd(), config)?;
        timed(at);
        let at = Instant::now();
        net::unpublish(&context, held)?;
        timed(at);
        let at = Instant::now();
        net::detach(&context, &endpoint, net::Netns::Ending)?;
        timed(at);
        if n + 1 == ROUNDS {
            net::names::register(&context, &endpoint)?;
            resolve(&mut server, &netns)?;
        }
    }
    for (name, times) in &mut names {
        report(name, times);
    }
    net::remove_all(&context)?;
    Ok(())
}

/// Asks the server in the same thread: what is measured is its work and four system calls of the client.
fn resolve(server: &mut Server, netns: &OwnedFd) -> io::Result<()> {
    let home = namespace::open_own(Kind::Network)?;
    namespace::join(netns.as_fd(), Kind::Network)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((net::dns::ADDRESS, 53))?;
    namespace::join(home.as_fd(), Kind::Network)?;
    let question = b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01";
    let mut times = Vec::new();
    for _ in 0..10 * ROUNDS {
        let at = Instant::now();
        socket.send(question)?;
        sys::event::poll_one(server.as_fd(), PollFlags::IN, Some(Duration::from_secs(1)))?;
        server.ready();
        let len = socket.recv(&mut [0; 512])?;
        times.push(micros(at.elapsed()));
        assert!(len > question.len(), "an address");
    }
    report("a name", &mut times);
    Ok(())
}

fn new_netns() -> io::Result<OwnedFd> {
    let home = namespace::open_own(Kind::Network)?;
    namespace::unshare(KindSet::EMPTY.with(Kind::Network))?;
    let new = namespace::open_own(Kind::Network)?;
    namespace::join(home.as_fd(), Kind::Network)?;
    Ok(new)
}

fn endpoint(network: &NetworkPlan, n: u32) -> EndpointPlan {
    let address = network.subnet.nth(n + 2).unwrap_or(network.gateway);
    EndpointPlan {
        network: network.clone(),
        id: format!("{n:011x}"),
        address,
        mac: Mac::for_address(address),
        interface: "eth0".into(),
        names: vec!["web".into(), "0123456789ab".into()],
        links: Default::default(),
        default_route: true,
        may_forge: false,
    }
}

fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

fn report(name: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    println!(
        "{name:34} {:>8.1} min {:>8.1} med {:>8.1} max us",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

//! Real monitors, real networks, each test in a host network namespace of its own.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use common::{ATTACH, Box, read_all};
use diag::Diagnose;
use monitor::client::{AttachStream, Frame, StopOptions};
use monitor::logs::Stream;
use monitor::plan::Networking;
use monitor::state::Supervision;
use net::{Context, EndpointPlan, Mac, NetworkPlan, Protocol, Publish};
use sys::namespace::{Kind, KindSet};

/// A host without interfaces but loopback, until this thread ends.
struct Host {
    context: Context,
    directory: PathBuf,
}

impl Host {
    fn new(name: &str) -> Self {
        // Of this thread, and so of the monitors it starts.
        sys::namespace::unshare(KindSet::EMPTY.with(Kind::Network)).unwrap();
        let own = sys::namespace::open_own(Kind::Network).unwrap();
        net::loopback_up(std::os::fd::AsFd::as_fd(&own)).unwrap();
        let directory = std::env::temp_dir().join(format!("hull-monitor-net-{}-{name}", std::process::id()));
        let instance = format!("{:08x}", std::process::id());
        Self { context: Context { instance, run: directory.clone() }, directory }
    }

    fn network(&self, name: &str) -> NetworkPlan {
        let draw = |subnet: net::Ipv4Net| {
            let id = format!("{:0>64}", name.bytes().map(|b| format!("{b:02x}")).collect::<String>());
            let id: String = id.chars().rev().collect();
            NetworkPlan {
                bridge: net::bridge_name(&id),
                id,
                name: name.to_owned(),
                subnet,
                gateway: subnet.first_host(),
                mtu: 1500,
                internal: false,
                icc: true,
                masquerade: true,
                dns: true,
            }
        };
        net::create_network(&self.context, &[], draw).unwrap()
    }

    /// A container with an endpoint on `network` under its own name.
    fn container(&self, name: &str, script: &str, network: &NetworkPlan, n: u32, publish: &[Publish]) -> Box {
        let mut one = Box::new(name, script);
        one.plan.networking(&self.context, vec![endpoint(network, n, name)], publish);
        std::fs::write(one.data_dir.join("resolv.conf"), "nameserver 127.0.0.11\n").unwrap();
        one.plan.spec.mounts.push(oci::runtime::Mount {
            destination: "/etc/resolv.conf".into(),
            r#type: Some("bind".into()),
            source: Some(one.data_dir.join("resolv.conf")),
            options: vec!["bind".into()],
            ..Default::default()
        });
        one
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

trait Plan {
    fn networking(&mut self, context: &Context, endpoints: Vec<EndpointPlan>, publish: &[Publish]);
}

impl Plan for monitor::plan::LaunchPlan {
    fn networking(&mut self, context: &Context, endpoints: Vec<EndpointPlan>, publish: &[Publish]) {
        let (context, publish) = (context.clone(), publish.to_vec());
        self.network = Networking::Private { context, endpoints, publish, dns_servers: Vec::new() };
    }
}

fn endpoint(network: &NetworkPlan, n: u32, name: &str) -> EndpointPlan {
    let address = network.subnet.nth(n).unwrap();
    EndpointPlan {
        network: network.clone(),
        id: format!("{:011x}", u64::from(address.to_bits()) + (u64::from(std::process::id()) << 32)),
        address,
        mac: Mac::for_address(address),
        interface: "eth0".to_owned(),
        names: vec![name.to_owned()],
        links: Default::default(),
        default_route: true,
        may_forge: false,
    }
}

fn tcp(host_port: Option<u16>, container_port: u16) -> Publish {
    Publish { host_ip: None, host_port, container_port, protocol: Protocol::Tcp }
}

/// Waits for a line of output.
fn line(stream: &mut AttachStream) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n") {
        match stream.reader.next_frame().unwrap() {
            Some(Frame::Output(Stream::Stdout, bytes)) => seen.extend(bytes),
            Some(Frame::Output(Stream::Stderr, bytes)) => panic!("{}", String::from_utf8_lossy(&bytes)),
            other => panic!("no line: {other:?}"),
        }
    }
    String::from_utf8(seen).unwrap().trim_end().to_owned()
}

fn get(address: (Ipv4Addr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"hello\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

const SERVER: &str = "echo ready; while :; do echo served | nc -l -p 80; done";

#[test]
fn names_resolve_and_ports_are_published() {
    let host = Host::new("names");
    let network = host.network("front");
    let server = host.container("web", SERVER, &network, 2, &[tcp(None, 80)]);
    let launched = server.try_launch(Some(ATTACH)).unwrap();
    let port = launched.ports[0].host_port;
    let mut stream = launched.stream.unwrap();
    assert_eq!(line(&mut stream), "ready");
    for address in [Ipv4Addr::LOCALHOST, network.gateway] {
        // The server is away for a moment between two connections.
        let answer = (0..50).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            get((address, port)).ok().filter(|answer| !answer.is_empty())
        });
        assert_eq!(answer.as_deref(), Some("served\n"), "{address}");
    }
    let client = host.container("asker", "nslookup web | grep -A1 'Name:.*web'", &network, 3, &[]);
    let (out, err, code) = read_all(client.try_launch(Some(ATTACH)).unwrap());
    assert!(out.contains(&network.subnet.nth(2).unwrap().to_string()), "{out} {err}");
    assert_eq!(code, Some(0));

    // A new name takes the place of the old one.
    server.client().rename("site").unwrap();
    let script = "nslookup site >/dev/null 2>&1; echo $?; nslookup web >/dev/null 2>&1; echo $?";
    let client = host.container("asker2", script, &network, 3, &[]);
    assert_eq!(read_all(client.try_launch(Some(ATTACH)).unwrap()).0, "0\n1\n");

    server.client().stop(StopOptions { signal: Some(9), timeout_s: None }).unwrap();
    assert!(get((Ipv4Addr::LOCALHOST, port)).is_err());
    assert!(!host.context.network_dir(&network.id).join("names/site").exists());
    assert!(net::inventory(&host.context).unwrap().published.is_empty());
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

#[test]
fn a_port_in_use_fails_the_launch_and_leaves_nothing() {
    let host = Host::new("inuse");
    let network = host.network("front");
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let one = host.container("web", SERVER, &network, 2, &[tcp(None, 81), tcp(Some(port), 80)]);
    let failure = one.try_launch(None).unwrap_err();
    assert_eq!(failure.class(), diag::Class::Conflict);
    assert!(failure.to_string().ends_with("port is already allocated"), "{failure}");
    assert!(failure.hint().is_some());
    assert!(net::inventory(&host.context).unwrap().published.is_empty());
    assert!(!host.context.network_dir(&network.id).join("names/web").exists());
    assert_eq!(one.observe().supervision, Supervision::Never);
    drop(taken);
    one.launch();
}

#[test]
fn networks_come_and_go_while_it_runs() {
    let host = Host::new("change");
    let (front, back) = (host.network("front"), host.network("back"));
    let script = "echo ready; while read x; do ls /sys/class/net | tr '\\n' ' '; echo; nslookup db >/dev/null 2>&1; echo $?; done";
    let mut one = host.container("app", script, &front, 2, &[]);
    one.plan.open_stdin = true;
    let db = host.container("db", "sleep 100", &back, 3, &[]);
    db.launch();
    let mut stream = one.try_launch(Some(ATTACH)).unwrap().stream.unwrap();
    assert_eq!(line(&mut stream), "ready");
    let look = |stream: &mut AttachStream| {
        stream.writer.stdin(b"look\n").unwrap();
        let devices = line(stream);
        (devices.trim().to_owned(), line(stream))
    };
    // sysfs shows the namespace it was mounted in, which is the container's.
    assert_eq!(look(&mut stream), ("eth0 lo".to_owned(), "1".to_owned()));
    let second = EndpointPlan { interface: "eth1".into(), default_route: false, ..endpoint(&back, 2, "app") };
    one.client().connect_network(second.clone()).unwrap();
    let again = one.client().connect_network(second).unwrap_err();
    assert_eq!(again.class(), diag::Class::Conflict);
    assert_eq!(look(&mut stream), ("eth0 eth1 lo".to_owned(), "0".to_owned()));
    assert!(host.context.network_dir(&back.id).join("names/app").exists());
    one.client().disconnect_network(&back.id).unwrap();
    assert_eq!(look(&mut stream), ("eth0 lo".to_owned(), "1".to_owned()));
    assert!(!host.context.network_dir(&back.id).join("names/app").exists());
}

#[test]
fn what_a_killed_monitor_published_is_taken_back() {
    let host = Host::new("stale");
    let network = host.network("front");
    let one = host.container("web", SERVER, &network, 2, &[tcp(None, 80)]);
    let launched = one.launch();
    let port = launched.ports[0].host_port;
    let monitor = sys::process::open(launched.monitor_pid).unwrap();
    sys::process::kill(launched.monitor_pid, 9).unwrap();
    sys::process::wait(std::os::fd::AsFd::as_fd(&monitor)).unwrap();
    assert_eq!(one.observe().supervision, Supervision::Orphaned);
    assert!(monitor::recover(&one.run_dir).unwrap());
    assert!(net::inventory(&host.context).unwrap().published.is_empty());
    assert!(!host.context.network_dir(&network.id).join("names/web").exists());
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

//! Making, repairing, refusing and removing, on the real kernel, in namespaces of each test's own.

mod world;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use net::{Context, Netns, NetworkError, Protocol, Publish, PublishError};
use world::{HOST, World, inside, port, sh, tcp, tcp_now};

#[test]
fn removal_leaves_nothing() {
    let world = World::new(false);
    let before = world.host(|| sh("ip -br link | awk '{print $1}'; nft list ruleset; ip route"));
    let (one, two) = (world.network("one"), world.network("two"));
    let a = world.container(&one, 2, "a");
    let held = world.publish(&a, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish");
    let published = held.published().to_vec();
    world.host(|| {
        let found = net::inventory(&world.context).expect("inventory");
        assert!(found.table);
        assert_eq!(found.bridges.len(), 2);
        assert_eq!(found.veths, [a.endpoint.host_interface()]);
        assert_eq!(found.published, [(published[0], a.address())]);
        net::unpublish(&world.context, held).expect("unpublish");
        net::detach(&world.context, &a.endpoint, Netns::Alive).expect("detach");
        net::remove_network(&world.context, &two).expect("remove");
        net::remove_network(&world.context, &two).expect("nothing to remove");
        let found = net::inventory(&world.context).expect("inventory");
        assert_eq!(
            (found.bridges.as_slice(), found.veths.len(), found.published.len()),
            (&[one.bridge.clone()][..], 0, 0)
        );
        net::remove_all(&world.context).expect("remove all");
        assert_eq!(net::inventory(&world.context).expect("inventory"), net::Inventory::default());
        assert_eq!(sh("ip -br link | awk '{print $1}'; nft list ruleset; ip route"), before);
        assert!(!world.context.run.exists());
    });
}

#[test]
fn remove_all_takes_what_was_left_by_a_kill() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    drop(world.publish(&a, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish"));
    world.host(|| {
        net::remove_all(&world.context).expect("remove all");
        assert_eq!(net::inventory(&world.context).expect("inventory"), net::Inventory::default());
        net::remove_all(&world.context).expect("nothing to remove");
    });
}

#[test]
fn what_somebody_removed_is_repaired() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    a.serve_tcp(80);
    let held = world.publish(&a, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish");
    let reached = || world.remote(|| tcp(HOST, 8080)).is_some();
    assert!(reached());
    world.host(|| sh("nft flush ruleset"));
    assert_eq!(world.remote(|| tcp_now(HOST, 8080)), None);
    world.host(|| net::restore(&world.context, &a.endpoint, held.published())).expect("restore");
    assert!(reached());
    world
        .host(|| sh(&format!("echo 0 > /proc/sys/net/ipv4/ip_forward; ip link set {} down", network.bridge)));
    world.host(|| net::ensure_network(&world.context, &network)).expect("ensure");
    assert!(reached());
    world.host(|| sh(&format!("ip link del {}", network.bridge)));
    let b = world.container(&network, 3, "b");
    world.host(|| world::serve_tcp((network.gateway, 81).into()));
    assert_eq!(b.run(|| tcp(network.gateway, 81)), Some(b.address()));
}

#[test]
fn a_port_has_one_owner() {
    let world = World::new(false);
    let network = world.network("n");
    let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
    let refused = |ports: &[Publish]| match world.publish(&b, ports) {
        Err(PublishError::InUse { .. }) => (),
        other => panic!("{ports:?}: {other:?}"),
    };
    let wish = |ip, number| port(ip, number, 80, Protocol::Tcp);
    let held = world.publish(&a, &[wish(None, 8080)]).expect("publish");
    refused(&[wish(None, 8080)]);
    refused(&[wish(None, 8081), wish(Some(Ipv4Addr::LOCALHOST), 8080)]);
    // The failed attempt holds nothing.
    world.publish_again(&b, &[wish(None, 8081)]);
    let error = world.publish(&b, &[wish(None, 8080)]).expect_err("taken");
    assert_eq!(error.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    world.host(|| {
        TcpListener::bind(("0.0.0.0", 8080)).expect_err("taken for every process");
        TcpListener::bind(("127.0.0.1", 8080)).expect_err("on every address");
        let other = Context { instance: "ffffffff".into(), run: world.context.run.clone() };
        net::publish(&other, a.address(), &[wish(None, 8080)]).expect_err("and for every data root");
        let listener = TcpListener::bind(("0.0.0.0", 9090)).expect("a port");
        net::publish(&world.context, a.address(), &[wish(None, 9090)]).expect_err("somebody listens");
        drop(listener);
        let _socket = UdpSocket::bind(("127.0.0.1", 53)).expect("a port");
        let udp = port(None, 53, 53, Protocol::Udp);
        net::publish(&world.context, a.address(), &[udp]).expect_err("somebody receives");
        let absent = wish(Some(Ipv4Addr::new(203, 0, 113, 1)), 80);
        let error = net::publish(&world.context, a.address(), &[absent]).expect_err("not our address");
        assert_eq!(diag::Diagnose::class(&error), diag::Class::Invalid);
        net::unpublish(&world.context, held).expect("unpublish");
    });
    world.publish_again(&b, &[wish(None, 8080)]);
}

#[test]
fn a_port_can_be_left_to_the_kernel() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    a.serve_tcp(80);
    let any = Publish { host_ip: None, host_port: None, container_port: 80, protocol: Protocol::Tcp };
    let held = world.publish(&a, &[any, any]).expect("publish");
    let ports: Vec<u16> = held.published().iter().map(|port| port.host_port).collect();
    assert_ne!(ports[0], ports[1]);
    for number in ports {
        assert_eq!(world.host(|| tcp(Ipv4Addr::LOCALHOST, number)), Some(network.gateway));
    }
}

#[test]
fn a_port_in_time_wait_can_be_published_and_is_owned() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    a.serve_tcp(80);
    world.host(|| {
        // The server closes first, so the port stays in TIME_WAIT on this side.
        let listener = TcpListener::bind(("127.0.0.1", 8080)).expect("listen");
        let mut client = TcpStream::connect(("127.0.0.1", 8080)).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        server.write_all(b"x").expect("write");
        drop((server, listener));
        let _ = client.read_to_end(&mut Vec::new());
    });
    let wish = [port(None, 8080, 80, Protocol::Tcp)];
    let _held = world.publish(&a, &wish).expect("publish");
    assert_eq!(world.host(|| tcp(Ipv4Addr::LOCALHOST, 8080)), Some(network.gateway));
    world.publish(&a, &wish).expect_err("taken");
    world.host(|| TcpListener::bind(("0.0.0.0", 8080)).expect_err("taken, also with SO_REUSEADDR"));
}

#[test]
fn a_udp_client_that_never_stops_reaches_whoever_has_the_port() {
    let world = World::new(false);
    let network = world.network("n");
    let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
    a.serve_udp(80);
    b.serve_udp(80);
    let wish = [port(None, 8080, 80, Protocol::Udp)];
    let client = world.remote(|| UdpSocket::bind((world::REMOTE, 7777)).expect("a socket"));
    client.set_read_timeout(Some(std::time::Duration::from_millis(400))).expect("a timeout");
    client.connect((HOST, 8080)).expect("connect");
    let answered = || {
        let _ = client.send(b"?");
        client.recv(&mut [0; 64]).is_ok()
    };
    assert!(!answered(), "before anybody has it");
    let held = world.publish(&a, &wish).expect("publish");
    assert!((0..10).any(|_| answered()));
    world.host(|| net::unpublish(&world.context, held)).expect("unpublish");
    assert!(!answered());
    let _held = world.publish_again(&b, &wish);
    a.run(|| sh("ip link set eth0 down"));
    assert!((0..10).any(|_| answered()), "now from another container");
}

#[test]
fn ports_of_a_killed_monitor_are_taken_back_unless_somebody_has_them() {
    let world = World::new(false);
    let network = world.network("n");
    let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
    let wish = [port(None, 8080, 80, Protocol::Tcp), port(None, 8081, 80, Protocol::Tcp)];
    let held = world.publish(&a, &wish).expect("publish");
    let ports = held.published().to_vec();
    drop(held);
    // The first one's elements are still there, and replaced.
    let _other = world.publish_again(&b, &wish[..1]);
    world.host(|| {
        net::unpublish_stale(&world.context, a.address(), &ports).expect("take back");
        let found = net::inventory(&world.context).expect("inventory").published;
        assert_eq!(found, [(ports[0], b.address())]);
    });
}

#[test]
fn networks_of_other_data_roots_do_not_overlap() {
    let world = World::new(false);
    let other = Context { instance: "eeeeeeee".into(), run: world.context.run.join("other") };
    let contexts = [&world.context, &other];
    let plans = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|i| {
                let (context, host) = (contexts[i % 2], world.host.as_fd());
                scope.spawn(move || {
                    inside(host, || {
                        let draw = |subnet| world::plan(&format!("n{i}"), subnet);
                        net::create_network(context, &[], draw).expect("create")
                    })
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("a plan")).collect::<Vec<_>>()
    });
    for (i, plan) in plans.iter().enumerate() {
        assert!(plans[..i].iter().all(|earlier| !earlier.subnet.overlaps(&plan.subnet)), "{plans:?}");
    }
    world.host(|| {
        let mut clash = world::plan("clash", plans[0].subnet);
        assert!(matches!(net::ensure_network(&other, &clash), Err(NetworkError::Overlap { .. })));
        sh("ip link add taken type bridge");
        clash = world::plan("clash", "10.99.0.0/24".parse().expect("a net"));
        clash.bridge = "taken".into();
        assert!(matches!(net::ensure_network(&other, &clash), Err(NetworkError::Foreign { .. })));
        clash.bridge = "much-too-long-a-name".into();
        assert!(matches!(net::ensure_network(&other, &clash), Err(NetworkError::BridgeName { .. })));
        net::remove_all(&other).expect("remove");
        assert_eq!(
            net::inventory(&world.context).expect("inventory").bridges.len(),
            4,
            "the other root's are left alone"
        );
    });
}

#[test]
fn one_network_can_be_ensured_by_many_at_once() {
    let world = World::new(false);
    let plan = world::plan("n", "10.77.0.0/24".parse().expect("a net"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.host(|| net::ensure_network(&world.context, &plan).expect("ensure")));
        }
    });
    assert_eq!(world.host(|| net::inventory(&world.context).expect("inventory").bridges), [plan.bridge]);
}

#[test]
fn names_come_and_go_with_their_endpoints() {
    let world = World::new(false);
    let network = world.network("Front");
    let names = net::names::NamesDir::new(&world.context, &network.id, &network.name);
    let mut endpoint = world::endpoint(&network, 2, "Web");
    endpoint.names.push("alias".into());
    let netns = world::new_netns();
    world.host(|| net::attach(&world.context, netns.as_fd(), &endpoint).expect("attach"));
    let other = world.container(&network, 3, "alias");
    let sorted = |name: &str| {
        let mut found = names.addresses(name);
        found.sort();
        found
    };
    assert_eq!(sorted("web"), [endpoint.address]);
    assert_eq!(sorted("web.front"), [endpoint.address]);
    assert_eq!(sorted("alias"), [endpoint.address, other.address()]);
    assert_eq!(names.name_of(endpoint.address).as_deref(), Some("web.front"));
    for hostile in ["..", ".", "", "a/b", "../names/web"] {
        assert_eq!(sorted(hostile), [] as [Ipv4Addr; 0], "{hostile}");
    }
    world.host(|| net::detach(&world.context, &endpoint, Netns::Ending)).expect("detach");
    assert_eq!((sorted("web"), sorted("alias")), (vec![], vec![other.address()]));
    net::names::forget_address(&world.context, &network.id, other.address());
    assert!(sorted("alias").is_empty());
    endpoint.names.push("../../escape".into());
    endpoint.id = format!("{:0>11}", "abc");
    world
        .host(|| net::attach(&world.context, world::new_netns().as_fd(), &endpoint).expect_err("a bad name"));
    assert!(sorted("web").is_empty());
    assert!(!world.host(|| sh("ip link")).contains("hv-00000000abc"), "nothing is left of a failed attempt");
}

#[test]
fn many_containers_can_start_and_stop_at_once() {
    let world = World::new(false);
    let network = world.network("n");
    std::thread::scope(|scope| {
        for n in 2..34 {
            let (world, network) = (&world, &network);
            scope.spawn(move || {
                let container = world.container(network, n, &format!("c{n}"));
                let wish = [port(None, 8000 + n as u16, 80, Protocol::Tcp)];
                let held = world.publish(&container, &wish).expect("publish");
                world.host(|| net::unpublish(&world.context, held)).expect("unpublish");
                world
                    .host(|| net::detach(&world.context, &container.endpoint, Netns::Ending))
                    .expect("detach");
            });
        }
    });
    assert_eq!(world.host(|| net::inventory(&world.context).expect("inventory").published), []);
}

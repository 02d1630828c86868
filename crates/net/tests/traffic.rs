//! Who reaches whom, on the real kernel, in namespaces of each test's own.

mod world;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use net::{Netns, Protocol};
use world::{HOST, REMOTE, World, ask, port, serve_tcp, sh, tcp, tcp_now};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

#[test]
fn containers_reach_each_other_the_host_and_the_outside() {
    for bridged in [false, true] {
        let world = World::new(bridged);
        let network = world.network("n");
        let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
        b.serve_tcp(80);
        world.host(|| serve_tcp((network.gateway, 81).into()));
        world.remote(|| serve_tcp((REMOTE, 82).into()));
        assert_eq!(a.run(|| tcp(b.address(), 80)), Some(a.address()));
        assert_eq!(a.run(|| tcp(network.gateway, 81)), Some(a.address()));
        assert_eq!(a.run(|| tcp(REMOTE, 82)), Some(HOST), "masqueraded");
        assert_eq!(world.host(|| tcp(b.address(), 80)), Some(network.gateway));
    }
}

#[test]
fn an_address_is_nobody_elses_while_its_last_owners_namespace_ends() {
    let world = World::new(false);
    let network = world.network("n");
    let (old, asking) = (world.container(&network, 2, "old"), world.container(&network, 3, "asking"));
    old.serve_tcp(80);
    assert!(asking.run(|| tcp(old.address(), 80)).is_some());
    // The namespace is still there, as it is for a while when a container has ended.
    world.host(|| net::detach(&world.context, &old.endpoint, Netns::Ending)).expect("detach");
    assert_eq!(asking.run(|| tcp_now(old.address(), 80)), None);
    let new = world.container(&network, 2, "new");
    new.serve_tcp(81);
    assert_eq!(asking.run(|| tcp(new.address(), 81)), Some(asking.address()));
    // Detaching twice, as a recovery does, is no failure.
    world.host(|| net::detach(&world.context, &old.endpoint, Netns::Ending)).expect("detach");
}

#[test]
fn an_endpoint_has_the_uplinks_mtu_its_address_and_no_ipv6() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    let link = a.run(|| sh("ip -o link show eth0"));
    assert!(link.contains("mtu 1400") && link.contains("02:42:ac:"), "{link}");
    assert_eq!(a.run(|| sh("ip -6 -o addr show dev eth0")), "");
    let routes = a.run(|| sh("ip route"));
    assert!(routes.starts_with(&format!("default via {} dev eth0", network.gateway)), "{routes}");
    assert!(a.run(|| sh("ip -o addr show lo")).contains("127.0.0.1/8"));
    assert_eq!(world.host(|| sh(&format!("ip -6 -o addr show dev {}", network.bridge))), "");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for bridged in [false, true] {
        let world = World::new(bridged);
        let (network, other) = (world.network("n"), world.network("o"));
        let a = world.container(&network, 2, "a");
        let neighbour = world.container(&network, 3, "b");
        let stranger = world.container(&other, 2, "c");
        a.serve_tcp(80);
        a.serve_udp(80);
        let ports = BOTH.map(|protocol| port(None, 8080, 80, protocol));
        let held = world.publish(&a, &ports).expect("publish");
        for protocol in BOTH {
            let check = |from: &str, seen: Option<Ipv4Addr>, expected: Ipv4Addr| {
                assert_eq!(seen, Some(expected), "{protocol} from {from}, bridged {bridged}");
            };
            check("127.0.0.1", world.host(|| ask(protocol, Ipv4Addr::LOCALHOST, 8080)), network.gateway);
            check(
                "127.0.0.2",
                world.host(|| ask(protocol, Ipv4Addr::new(127, 0, 0, 2), 8080)),
                network.gateway,
            );
            check("the host", world.host(|| ask(protocol, HOST, 8080)), HOST);
            check("the gateway", world.host(|| ask(protocol, network.gateway, 8080)), network.gateway);
            check("outside", world.remote(|| ask(protocol, HOST, 8080)), REMOTE);
            check("a neighbour", neighbour.run(|| ask(protocol, HOST, 8080)), network.gateway);
            check(
                "a neighbour by gateway",
                neighbour.run(|| ask(protocol, network.gateway, 8080)),
                network.gateway,
            );
            check("itself", a.run(|| ask(protocol, HOST, 8080)), network.gateway);
            check("another network", stranger.run(|| ask(protocol, HOST, 8080)), network.gateway);
        }
        world.host(|| net::unpublish(&world.context, held)).expect("unpublish");
        assert_eq!(world.host(|| tcp_now(Ipv4Addr::LOCALHOST, 8080)), None);
        assert_eq!(world.remote(|| tcp_now(HOST, 8080)), None);
    }
}

#[test]
fn a_port_published_on_127_0_0_1_stays_there() {
    let world = World::new(false);
    let network = world.network("n");
    let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
    a.serve_tcp(80);
    let _held =
        world.publish(&a, &[port(Some(Ipv4Addr::LOCALHOST), 8080, 80, Protocol::Tcp)]).expect("publish");
    world.host(|| serve_tcp((Ipv4Addr::LOCALHOST, 9090).into()));
    assert_eq!(world.host(|| tcp(Ipv4Addr::LOCALHOST, 8080)), Some(network.gateway));
    assert_eq!(world.host(|| tcp_now(HOST, 8080)), None);
    assert_eq!(world.remote(|| tcp_now(HOST, 8080)), None);
    // Both send packets for 127.0.0.1 over the wire, which takes NET_ADMIN and nothing else.
    let misroute = |device: &str, gateway: Ipv4Addr| {
        sh(&format!("echo 1 > /proc/sys/net/ipv4/conf/{device}/route_localnet"));
        sh(
            "ip route del table local local 127.0.0.0/8 dev lo; ip route del table local local 127.0.0.1 dev lo",
        );
        sh(&format!("ip route add 127.0.0.1 via {gateway} dev {device}"));
        (tcp_now(Ipv4Addr::LOCALHOST, 8080), tcp_now(Ipv4Addr::LOCALHOST, 9090))
    };
    assert_eq!(world.remote(|| misroute("up0", HOST)), (None, None));
    assert_eq!(b.run(|| misroute("eth0", network.gateway)), (None, None));
}

#[test]
fn a_port_can_be_published_on_one_address() {
    let world = World::new(false);
    let network = world.network("n");
    let a = world.container(&network, 2, "a");
    a.serve_tcp(80);
    let _held = world.publish(&a, &[port(Some(HOST), 8080, 80, Protocol::Tcp)]).expect("publish");
    assert_eq!(world.remote(|| tcp(HOST, 8080)), Some(REMOTE));
    assert_eq!(world.host(|| tcp_now(Ipv4Addr::LOCALHOST, 8080)), None);
}

#[test]
fn what_is_not_published_is_not_reached_from_outside() {
    for bridged in [false, true] {
        let world = World::new(bridged);
        let network = world.network("n");
        let a = world.container(&network, 2, "a");
        a.serve_tcp(80);
        assert_eq!(world.remote(|| tcp_now(a.address(), 80)), None);
        let _held = world.publish(&a, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish");
        assert_eq!(world.remote(|| tcp_now(a.address(), 80)), None, "only by way of the published port");
        assert_eq!(world.remote(|| tcp(HOST, 8080)), Some(REMOTE));
    }
}

#[test]
fn networks_are_strangers() {
    for bridged in [false, true] {
        let world = World::new(bridged);
        let (one, two) = (world.network("one"), world.network("two"));
        let (a, b) = (world.container(&one, 2, "a"), world.container(&two, 2, "b"));
        b.serve_tcp(80);
        assert_eq!(a.run(|| tcp_now(b.address(), 80)), None);
        let quiet = world.network_with("quiet", |plan| plan.icc = false);
        let (c, d) = (world.container(&quiet, 2, "c"), world.container(&quiet, 3, "d"));
        d.serve_tcp(80);
        world.remote(|| serve_tcp((REMOTE, 82).into()));
        assert_eq!(c.run(|| tcp_now(d.address(), 80)), None, "icc=false, bridged {bridged}");
        assert_eq!(c.run(|| tcp(REMOTE, 82)), Some(HOST));
        assert_eq!(world.host(|| tcp(d.address(), 80)), Some(quiet.gateway));
    }
}

#[test]
fn an_internal_network_has_no_way_in_or_out() {
    for bridged in [false, true] {
        let world = World::new(bridged);
        let (inner, other) =
            (world.network_with("inner", |plan| plan.internal = true), world.network("other"));
        let (a, b) = (world.container(&inner, 2, "a"), world.container(&inner, 3, "b"));
        let c = world.container(&other, 2, "c");
        b.serve_tcp(80);
        c.serve_tcp(80);
        world.remote(|| serve_tcp((REMOTE, 82).into()));
        assert_eq!(a.run(|| tcp(b.address(), 80)), Some(a.address()));
        assert!(!a.run(|| sh("ip route")).contains("default"));
        a.run(|| sh(&format!("ip route add default via {}", inner.gateway)));
        assert_eq!(a.run(|| tcp_now(REMOTE, 82)), None);
        assert_eq!(a.run(|| tcp_now(c.address(), 80)), None);
        assert_eq!(c.run(|| tcp_now(b.address(), 80)), None);
        let _held = world.publish(&b, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish");
        assert_eq!(world.remote(|| tcp_now(HOST, 8080)), None);
    }
}

#[test]
fn a_container_can_be_connected_and_disconnected_while_it_runs() {
    let world = World::new(false);
    let (one, two) = (world.network("one"), world.network("two"));
    let (a, b) = (world.container(&one, 2, "a"), world.container(&two, 2, "b"));
    b.serve_tcp(80);
    let mut second = world::endpoint(&two, 3, "a");
    second.interface = "eth1".to_owned();
    second.default_route = false;
    let attach = || world.host(|| net::attach(&world.context, a.netns.as_fd(), &second));
    attach().expect("connect");
    assert_eq!(a.run(|| tcp(b.address(), 80)), Some(second.address));
    world.host(|| net::detach(&world.context, &a.endpoint, Netns::Alive)).expect("disconnect");
    a.run(|| assert!(!sh("ip route").contains("default")));
    net::set_default_route(a.netns.as_fd(), &second).expect("a new default route");
    world.remote(|| serve_tcp((REMOTE, 82).into()));
    assert_eq!(a.run(|| tcp(REMOTE, 82)), Some(HOST));
    attach().expect("the same endpoint again takes the place of the first");
    assert_eq!(a.run(|| tcp(b.address(), 80)), Some(second.address));
}

#[test]
fn another_firewalls_policy_does_not_stop_us_but_its_rules_do() {
    let world = World::new(true);
    let firewall = || {
        sh("nft add table ip filter");
        sh("nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
    };
    world.host(firewall);
    let before = world.host(|| sh("nft list table ip filter"));
    let network = world.network("n");
    let named = world.network_with("named", |plan| plan.bridge = "mybridge".to_owned());
    let (a, b) = (world.container(&network, 2, "a"), world.container(&network, 3, "b"));
    let c = world.container(&named, 2, "c");
    world.remote(|| serve_tcp((REMOTE, 82).into()));
    b.serve_tcp(80);
    let _held = world.publish(&b, &[port(None, 8080, 80, Protocol::Tcp)]).expect("publish");
    assert_eq!(a.run(|| tcp(b.address(), 80)), Some(a.address()));
    assert_eq!(a.run(|| tcp(REMOTE, 82)), Some(HOST));
    assert_eq!(c.run(|| tcp(REMOTE, 82)), Some(HOST));
    assert_eq!(world.remote(|| tcp(HOST, 8080)), Some(REMOTE));
    assert_eq!(world.remote(|| tcp_now(b.address(), 80)), None, "not published");
    world.host(|| sh(&format!("nft insert rule ip filter FORWARD ip daddr {REMOTE} drop")));
    assert_eq!(a.run(|| tcp_now(REMOTE, 82)), None, "the administrator has the last word");
    world.host(|| {
        sh("nft delete rule ip filter FORWARD handle $(nft -a list chain ip filter FORWARD | awk '/daddr/{print $NF}')");
        net::remove_network(&world.context, &named).expect("remove");
        assert!(!sh("nft list table ip filter").contains("mybridge"));
        net::remove_all(&world.context).expect("remove all");
        assert_eq!(sh("nft list table ip filter"), before);
    });
}

#[test]
fn a_container_sends_under_its_own_address_alone() {
    let world = World::new(false);
    let network = world.network("n");
    let (victim, neighbour) = (world.container(&network, 2, "victim"), world.container(&network, 3, "b"));
    let mut trusted = world::endpoint(&network, 4, "router");
    trusted.may_forge = true;
    let router = world.attach(trusted);
    let liar = world.container(&network, 5, "liar");
    victim.serve_tcp(80);
    assert_eq!(neighbour.run(|| tcp(victim.address(), 80)), Some(neighbour.address()));
    let (first, second) = (network.subnet.nth(77).expect("free"), network.subnet.nth(78).expect("free"));
    for (from, claimed, heard) in [(&liar, first, false), (&router, second, true)] {
        from.run(|| sh(&format!("ip addr add {claimed}/32 dev eth0")));
        // Who answers for the address, and whose packets arrive with it.
        let reached = |by: &world::Container| {
            let ask = format!("busybox ping -c 2 -W 1 {claimed} >/dev/null 2>&1 && echo yes || echo no");
            by.run(|| sh(&ask)).trim() == "yes"
        };
        assert_eq!(reached(&neighbour), heard, "{claimed}");
        let ask = format!("busybox ping -c 1 -W 1 -I {claimed} {} >/dev/null 2>&1; echo", victim.address());
        from.run(|| sh(&ask));
        let neighbours = victim.run(|| sh("ip neigh"));
        assert_eq!(neighbours.contains(&format!("{claimed} dev eth0 lladdr")), heard, "{neighbours}");
    }
    // The victim's own address, and its hardware address: nobody is led to the liar.
    liar.run(|| {
        sh(&format!(
            "ip addr add {}/32 dev eth0; busybox ping -c 1 -W 1 -I {} {} >/dev/null; true",
            victim.address(),
            victim.address(),
            network.gateway
        ))
    });
    liar.run(|| {
        sh(&format!(
            "ip link set eth0 address {}; busybox ping -c 1 -W 1 {} >/dev/null; true",
            victim.endpoint.mac, network.gateway
        ))
    });
    assert_eq!(liar.run(|| tcp_now(network.gateway, 1)), None);
    for _ in 0..3 {
        assert_eq!(neighbour.run(|| tcp(victim.address(), 80)), Some(neighbour.address()));
    }
    // The bridge would believe whatever the liar's kernel still says under the victim's hardware address.
    liar.run(|| sh("ip link set eth0 down"));
    // A flushed ruleset cuts nobody off, and who attaches next is bound again.
    world.host(|| sh("nft flush ruleset"));
    let late = world.container(&network, 6, "late");
    let third = network.subnet.nth(79).expect("free");
    late.run(|| sh(&format!("ip addr add {third}/32 dev eth0")));
    assert_eq!(neighbour.run(|| tcp(victim.address(), 80)), Some(neighbour.address()));
    let ask = format!("busybox ping -c 1 -W 1 {third} >/dev/null 2>&1 && echo yes || echo no");
    assert_eq!(neighbour.run(|| sh(&ask)).trim(), "no");
    world.host(|| net::remove_network(&world.context, &network).expect("remove"));
    let left = world.host(|| sh("nft list ruleset"));
    assert!(!left.contains("ether_addr . ipv4_addr") || !left.contains("elements"), "{left}");
}

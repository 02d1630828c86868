//! Network devices of the host that move into the container.

use oci::runtime::{LinuxNamespace, LinuxNetDevice, NamespaceType};
use runtime::Stdio;
use sys::namespace::{Kind, KindSet};
use sys::netlink::route::{Change, RouteSocket};

use crate::sandbox::{Sandbox, chain};
use crate::users::with_users;

crate::tests![
    a_device_moves_with_its_addresses,
    a_device_is_given_another_name,
    a_device_moves_to_a_namespace_that_exists,
    a_taken_name_is_an_error,
    impossible_devices_are_refused,
];

/// A network namespace of this test's own, which plays the host's, with the devices `first` and `second`.
fn host() -> RouteSocket {
    sys::namespace::unshare(KindSet::EMPTY.with(Kind::Network)).unwrap();
    let route = RouteSocket::open().unwrap();
    let own = sys::namespace::open_own(Kind::Network).unwrap();
    route.apply(&[Change::CreateBridge { name: "bridge", mac: [2, 0, 0, 0, 0, 9], mtu: 1500 }]).unwrap();
    let bridge = route.index("bridge").unwrap().unwrap();
    for (number, name) in [(1, "first"), (2, "second")] {
        let port = format!("port{number}");
        let netns = std::os::fd::AsFd::as_fd(&own);
        let peer_mac = [2, 0, 0, 0, 0, number];
        route
            .apply(&[Change::CreateVeth {
                name: &port,
                bridge,
                group: 0,
                mtu: 1400,
                peer: name,
                peer_mac,
                netns,
            }])
            .unwrap();
        let index = route.index(name).unwrap().unwrap();
        let address = std::net::Ipv4Addr::new(10, 77, number, 5);
        let broadcast = std::net::Ipv4Addr::new(10, 77, number, 255);
        route.apply(&[Change::AddAddress { index, address, prefix: 24, broadcast }]).unwrap();
    }
    route
}

fn moving(mut sandbox: Sandbox, devices: &[(&str, Option<&str>)]) -> Sandbox {
    let device = |(name, new): &(&str, Option<&str>)| {
        ((*name).to_owned(), LinuxNetDevice { name: new.map(str::to_owned) })
    };
    sandbox.linux().net_devices = devices.iter().map(device).collect();
    sandbox
}

const SHOW: &str = "ip -o link | grep -v ' lo:' | grep -oE ' [a-z0-9]+@|mtu [0-9]+|ether [0-9a-f:]+|[<,]UP[,>]'; \
                    ip -o addr | grep -oE '10[.0-9/]+ brd [.0-9]+'; ip route";

fn a_device_moves_with_its_addresses() {
    let route = host();
    let sandbox = moving(Sandbox::shell(SHOW), &[("first", None)]);
    let expected = " first@\n,UP,\nmtu 1400\nether 02:00:00:00:00:01\n10.77.1.5/24 brd 10.77.1.255\n\
                    10.77.1.0/24 dev first scope link  src 10.77.1.5";
    let text = sandbox.text().replace("<UP,", ",UP,");
    assert_eq!(text, expected);
    assert!(route.link("second").unwrap().is_some());
    // In a user namespace it is the caller that may.
    let sandbox = with_users(moving(Sandbox::shell(SHOW), &[("second", None)]));
    assert!(sandbox.text().contains("10.77.2.5/24 brd 10.77.2.255"));
}

fn a_device_is_given_another_name() {
    let route = host();
    let names = "ip -o link | grep -oE ' [a-z0-9]+@' | tr -d ' @' | sort";
    let sandbox = moving(Sandbox::shell(names), &[("first", Some("eth0")), ("second", Some("lan%d"))]);
    assert_eq!(sandbox.text(), "eth0\nlan0");
    assert!(route.link("first").unwrap().is_none());
}

fn a_device_moves_to_a_namespace_that_exists() {
    let route = host();
    let first = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let mut sandbox = moving(Sandbox::shell(SHOW), &[("first", None)]);
    let namespaces = &mut sandbox.linux().namespaces;
    namespaces.retain(|namespace| namespace.r#type != NamespaceType::Network);
    namespaces.push(LinuxNamespace::at(NamespaceType::Network, format!("/proc/{}/ns/net", first.pid())));
    assert!(sandbox.text().starts_with(" first@"));
    assert!(route.link("first").unwrap().is_none());
    first.kill(9).unwrap();
    first.wait().unwrap();
}

fn a_taken_name_is_an_error() {
    let route = host();
    let sandbox = moving(Sandbox::new(&["true"]), &[("first", Some("lo"))]);
    let error = chain(&sandbox.error());
    assert_eq!(error, "cannot move the network device first as lo: File exists (os error 17)");
    let link = route.link("first").unwrap().unwrap();
    assert_eq!((link.mtu, route.lasting_addresses(link.index).unwrap().len()), (1400, 1));
    let sandbox = moving(Sandbox::new(&["true"]), &[("none", None)]);
    let error = chain(&sandbox.error());
    assert_eq!(error, "cannot move the network device none: No such device (os error 19)");
}

fn impossible_devices_are_refused() {
    let check = |devices: &[(&str, Option<&str>)], why: &str| {
        let error = moving(Sandbox::new(&["true"]), devices).error().to_string();
        assert_eq!(error, format!("invalid linux.netDevices: {why}"));
    };
    check(&[("", None)], "\"\" is not a name for a network device");
    check(&[("eth0", Some("a/b"))], "\"a/b\" is not a name for a network device");
    check(
        &[("eth0", Some("a-name-much-too-long"))],
        "\"a-name-much-too-long\" is not a name for a network device",
    );
    check(&[("eth0", Some("x")), ("eth1", Some("x"))], "two devices would be called \"x\"");
    let mut sandbox = moving(Sandbox::new(&["true"]), &[("eth0", None)]);
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::Network);
    assert_eq!(
        sandbox.error().to_string(),
        "invalid linux.netDevices: the container has no network namespace of its own"
    );
}

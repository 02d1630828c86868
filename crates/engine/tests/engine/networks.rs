//! Networks: addresses, names, published ports, isolation.

use crate::world::{World, bridged, sleeper};
use diag::{Class, Diagnose};
use engine::model::{ContainerSpec, EndpointSpec, Filters, NetworkMode, NetworkSpec, RemoveOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const TESTS: &[(&str, fn())] = &[
    ("names_resolve_on_user_networks", names_resolve_on_user_networks),
    ("ports_are_published", ports_are_published),
    ("a_port_in_use_leaves_nothing", a_port_in_use_leaves_nothing),
    ("networks_are_created_and_removed", networks_are_created_and_removed),
    ("connect_and_disconnect", connect_and_disconnect),
    ("a_network_goes_from_under_ended_containers", a_network_goes_from_under_ended_containers),
    ("listing_makes_nothing", listing_makes_nothing),
    ("shared_namespaces", shared_namespaces),
];

fn on(network: &str, mut spec: ContainerSpec, name: &str) -> ContainerSpec {
    spec.name = Some(name.into());
    spec.network.mode =
        NetworkMode::Networks(vec![EndpointSpec { network: network.into(), ..Default::default() }]);
    spec
}

fn network(world: &World, name: &str) {
    world.engine.network_create(NetworkSpec { name: name.into(), ..Default::default() }).unwrap();
}

fn names_resolve_on_user_networks() {
    let world = World::new();
    network(&world, "front");
    network(&world, "back");
    let mut db = on("front", sleeper(), "db");
    if let NetworkMode::Networks(endpoints) = &mut db.network.mode {
        endpoints[0].aliases = vec!["database".into()];
    }
    world.engine.run_detached(db).unwrap();
    let address = world.engine.inspect("db").unwrap().networks["front"].address.unwrap().to_string();
    for name in ["db", "database", "db.front"] {
        let found = world.sh(&format!("nslookup {name} | tail -n +3"), |s| {
            s.network.mode = on("front", bridged(&[]), "x").network.mode;
        });
        assert!(found.contains(&address), "{name}: {found}");
    }
    let ping = world
        .sh("ping -c1 -w2 db | head -1", |s| s.network.mode = on("front", bridged(&[]), "x").network.mode);
    assert!(ping.contains(&address), "{ping}");
    // Another network knows neither the name nor the way.
    let other = world.sh(&format!("nslookup db >/dev/null 2>&1 || echo unknown; ping -c1 -w1 {address} >/dev/null || echo unreachable"), |s| {
        s.network.mode = on("back", bridged(&[]), "x").network.mode;
    });
    assert_eq!(other, "unknown\nunreachable\n");
    let json = engine::view::network(&world.engine.network_inspect("front").unwrap());
    assert_eq!(json["Containers"].as_object().unwrap().len(), 1);
}

fn ports_are_published() {
    let world = World::new();
    let mut spec =
        bridged(&["sh", "-c", "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]);
    spec.name = Some("site".into());
    spec.network.publish = engine::parse::ports("80").unwrap();
    world.engine.run_detached(spec).unwrap();
    let inspect = world.engine.inspect("site").unwrap();
    let port = inspect.ports[0].host_port;
    let fetch = |address: &str| {
        let mut stream = TcpStream::connect((address, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.contains("hello").then_some(())
    };
    testkit::eventually("the port answers", 5, || fetch("127.0.0.1"));
    let summary = &world.engine.list(&Default::default()).unwrap()[0];
    assert_eq!(
        engine::view::ports(&engine::view::container_summary(summary, 0)["Ports"]),
        format!("0.0.0.0:{port}->80/tcp")
    );
    world.engine.remove("site", &RemoveOptions { force: true, volumes: false }).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn a_port_in_use_leaves_nothing() {
    let world = World::new();
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut spec = bridged(&["sleep", "1000"]);
    spec.name = Some("late".into());
    spec.network.publish = engine::parse::ports(&format!("{port}:80")).unwrap();
    let error = world.engine.run_detached(spec).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    let text = diag::render(&error.into());
    assert!(text.contains("port is already allocated"), "{text}");
    assert_eq!(world.engine.inspect("late").unwrap().state.pid, 0);
    let mut spec = bridged(&["sleep", "1000"]);
    spec.name = Some("flexible".into());
    spec.network.publish = engine::parse::ports(&format!("{port}-{}:80", port + 5)).unwrap();
    world.engine.run_detached(spec).unwrap();
    let got = world.engine.inspect("flexible").unwrap().ports[0].host_port;
    assert!((port + 1..=port + 5).contains(&got), "{got}");
    drop(holder);
    world.engine.start("late").unwrap();
}

fn networks_are_created_and_removed() {
    let world = World::new();
    let spec = NetworkSpec {
        name: "fixed".into(),
        subnet: Some(engine::parse::subnet("10.211.77.0/24").unwrap()),
        ..Default::default()
    };
    world.engine.network_create(spec.clone()).unwrap();
    assert_eq!(
        world.engine.network_create(spec).unwrap_err().to_string(),
        "network with name fixed already exists"
    );
    let mut request = on("fixed", sleeper(), "member");
    if let NetworkMode::Networks(endpoints) = &mut request.network.mode {
        endpoints[0].ipv4 = Some("10.211.77.50".parse().unwrap());
    }
    world.engine.run_detached(request).unwrap();
    let info = &world.engine.inspect("member").unwrap().networks["fixed"];
    assert_eq!(info.address, Some("10.211.77.50".parse().unwrap()));
    assert_eq!(info.gateway, Some("10.211.77.1".parse().unwrap()));
    assert_eq!(world.engine.network_remove("fixed").unwrap_err().class(), Class::Conflict);
    world.engine.remove("member", &RemoveOptions { force: true, volumes: false }).unwrap();
    world.engine.network_remove("fixed").unwrap();
    assert_eq!(world.engine.network_remove("bridge").unwrap_err().class(), Class::Denied);
    assert_eq!(world.engine.network_inspect("fixed").unwrap_err().to_string(), "network fixed not found");
    let names: Vec<String> =
        world.engine.networks(&Filters::default()).unwrap().into_iter().map(|network| network.name).collect();
    assert_eq!(names, ["bridge", "host", "none"]);
}

fn connect_and_disconnect() {
    let world = World::new();
    network(&world, "late");
    let mut spec = sleeper();
    spec.name = Some("mover".into());
    spec.network.mode = NetworkMode::Default;
    world.engine.run_detached(spec).unwrap();
    world.engine.run_detached(on("late", sleeper(), "friend")).unwrap();
    world.engine.network_connect("late", "mover", EndpointSpec::default()).unwrap();
    let (code, text) = world.exec("mover", &["ping", "-c1", "-w2", "friend"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        world.engine.network_connect("late", "mover", EndpointSpec::default()).unwrap_err().class(),
        Class::Conflict
    );
    world.engine.network_disconnect("late", "mover", false).unwrap();
    assert_ne!(world.exec("mover", &["ping", "-c1", "-w1", "friend"]).0, 0);
    assert_eq!(world.engine.inspect("mover").unwrap().networks.len(), 1);
    world.engine.network_disconnect("late", "mover", true).unwrap();
}

fn shared_namespaces() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("base".into());
    spec.network.mode = NetworkMode::Default;
    world.engine.run_detached(spec).unwrap();
    let address = world.engine.inspect("base").unwrap().networks["bridge"].address.unwrap().to_string();
    let shared = world.sh("ip addr; hostname >/dev/null; cat /etc/hosts", |s| {
        s.network.mode = NetworkMode::Container("base".into());
    });
    assert!(shared.contains(&address), "{shared}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let host = world.sh("readlink /proc/self/ns/net", |s| s.network.mode = NetworkMode::Host);
    assert_eq!(host.trim(), own.to_string_lossy());
}

fn a_network_goes_from_under_ended_containers() {
    let world = World::new();
    network(&world, "shop");
    let mut spec = on("shop", sleeper(), "web");
    if let NetworkMode::Networks(endpoints) = &mut spec.network.mode {
        endpoints[0].aliases = vec!["www".into()];
    }
    world.engine.run_detached(spec).unwrap();
    let error = world.engine.network_remove("shop").unwrap_err();
    assert_eq!(error.to_string(), "error while removing network: network shop has active endpoints (web)");
    world.engine.kill("web", "KILL").unwrap();
    world.engine.wait("web", engine::model::WaitCondition::NotRunning).unwrap();
    assert!(
        world.engine.network_prune(&Filters::default()).unwrap().networks.is_empty(),
        "it has a container"
    );
    world.engine.network_remove("shop").unwrap();

    // Without the network it cannot start, and occupies nothing; with a new one of that name it is found by its alias again.
    let error = world.engine.start("web").unwrap_err();
    assert_eq!((error.to_string().as_str(), error.class()), ("network shop not found", Class::NotFound));
    network(&world, "other");
    network(&world, "shop");
    world.engine.start("web").unwrap();
    let found = world.sh("ping -c1 -w2 www", |s| s.network.mode = on("shop", bridged(&[]), "x").network.mode);
    assert!(found.contains("1 packets received"), "{found}");

    // One whose network is gone for good can leave it.
    world.engine.kill("web", "KILL").unwrap();
    world.engine.wait("web", engine::model::WaitCondition::NotRunning).unwrap();
    world.engine.network_remove("shop").unwrap();
    world.engine.network_disconnect("shop", "web", false).unwrap();
    assert_eq!(world.engine.network_disconnect("shop", "web", false).unwrap_err().class(), Class::NotFound);
    world.engine.network_connect("other", "web", EndpointSpec::default()).unwrap();
    world.engine.start("web").unwrap();
    assert!(world.engine.inspect("web").unwrap().networks.contains_key("other"));
}

fn listing_makes_nothing() {
    let world = World::new();
    let list = || world.engine.networks(&Filters::default()).unwrap();
    let bridge = list().into_iter().find(|network| network.name == "bridge").unwrap();
    assert_eq!(bridge.subnet, None);
    assert!(list().iter().all(|network| network.subnet.is_none()), "asking did not make it");
    world.sh("true", |s| s.network.mode = NetworkMode::Default);
    let made = list().into_iter().find(|network| network.name == "bridge").unwrap();
    assert_eq!(made.id, bridge.id);
    assert!(made.subnet.is_some());
}

//! Networks: names, addresses, published ports, isolation.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use testkit::{World, eventually};

use crate::{sleeper, world};

/// A container that answers HTTP on port 80 with its name.
fn server(world: &World, name: &str, flags: &[&str]) {
    let serve = format!("mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    let run =
        [&["run", "-d", "--name", name, "--stop-signal", "KILL"], flags, &["busybox", "sh", "-c", &serve]]
            .concat();
    world.hull(run).success();
}

/// What HTTP says at `address`, or nothing.
fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split("\r\n\r\n").nth(1).map(|body| body.trim().to_owned())
}

fn fetch(world: &World, from: &str, host: &str) -> Option<String> {
    let output =
        world.hull(["exec", from, "timeout", "3", "wget", "-q", "-O", "-", &format!("http://{host}/")]);
    (output.status == Some(0)).then(|| output.text().to_owned())
}

#[test]
fn names_and_aliases_resolve_in_their_network() {
    let world = world();
    world.hull(["network", "create", "front"]).success();
    world.hull(["network", "create", "back"]).success();
    server(&world, "web", &["--network", "front", "--network-alias", "www"]);
    sleeper(&world, "near", &["--network", "front"]);
    sleeper(&world, "far", &["--network", "back"]);
    eventually("the server answers by name", 20, || fetch(&world, "near", "web"));
    assert_eq!(fetch(&world, "near", "www").as_deref(), Some("web"));
    assert_eq!(fetch(&world, "near", "web.front").as_deref(), Some("web"));
    let address = world.inspect("web", "{{.NetworkSettings.Networks.front.IPAddress}}");
    assert_eq!(fetch(&world, "near", &address).as_deref(), Some("web"));
    assert_eq!(fetch(&world, "far", "web"), None, "names end at their network");
    assert_eq!(fetch(&world, "far", &address), None, "and so do packets");

    world.hull(["network", "connect", "--alias", "shop", "back", "web"]).success();
    assert_eq!(fetch(&world, "far", "shop").as_deref(), Some("web"));
    assert_eq!(fetch(&world, "far", "web").as_deref(), Some("web"));
    world.hull(["network", "disconnect", "back", "web"]).success();
    assert_eq!(fetch(&world, "far", "shop"), None);
    assert_eq!(fetch(&world, "near", "web").as_deref(), Some("web"));

    world.hull(["network", "rm", "front"]).status(1).says("has active endpoints");
    world.hull(["rm", "-f", "web", "near", "far"]).success();
    world.hull(["network", "rm", "front"]).success();
    let pruned = world.hull(["network", "prune", "--force"]).success();
    assert!(pruned.stdout.contains("back"), "{pruned}");
}

#[test]
fn ports_are_published() {
    let world = world();
    server(&world, "any", &["-p", "80"]);
    let shown = world.hull(["port", "any", "80/tcp"]).success();
    let port =
        shown.text().lines().next().and_then(|line| line.rsplit(':').next()).expect("a port").to_owned();
    let page = eventually("the published port answers", 20, || get(&format!("127.0.0.1:{port}")));
    assert_eq!(page, "any");
    assert!(world.hull(["ps"]).stdout.contains(&format!("0.0.0.0:{port}->80/tcp")));
    let address = world.inspect("any", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    assert_eq!(get(&format!("{address}:80")).as_deref(), Some("any"));

    let publish = format!("{port}:80");
    let taken =
        world.hull(["run", "-d", "--name", "second", "-p", &publish, "busybox", "sleep", "9"]).status(125);
    assert!(taken.stderr.contains("port is already allocated") && taken.stderr.contains(&port), "{taken}");
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let held = format!("{}:80", listener.local_addr().expect("it is bound").port());
    let taken = world.hull(["run", "--rm", "-p", &held, "busybox", "true"]).status(125);
    assert!(taken.stderr.contains("already"), "{taken}");
    assert_eq!(world.hull(["ps", "-q"]).success().stdout.lines().count(), 1);

    world.hull(["restart", "any"]).success();
    world.hull(["stop", "any"]).success();
    assert_eq!(get(&format!("127.0.0.1:{port}")), None, "the port is free again");
    TcpListener::bind(format!("0.0.0.0:{port}")).expect("nobody holds it");
    for wrong in ["x:80", "99999:80", "80:80/udpp", "1-3:1-2", "1.2.3:80:80"] {
        world
            .hull(["run", "--rm", "-p", wrong, "busybox", "true"])
            .status(125)
            .says(wrong.split([':', '/']).next().expect("text"));
    }
}

#[test]
fn addresses_are_chosen_or_given() {
    let world = world();
    world
        .hull(["network", "create", "--subnet", "10.211.7.0/24", "--gateway", "10.211.7.1", "fixed"])
        .success();
    sleeper(&world, "given", &["--network", "fixed", "--ip", "10.211.7.77"]);
    assert_eq!(world.inspect("given", "{{.NetworkSettings.Networks.fixed.IPAddress}}"), "10.211.7.77");
    let taken = world
        .hull(["run", "--rm", "--network", "fixed", "--ip", "10.211.7.77", "busybox", "true"])
        .status(125);
    assert!(taken.stderr.contains("10.211.7.77"), "{taken}");
    world
        .hull(["run", "--rm", "--network", "fixed", "--ip", "10.9.9.9", "busybox", "true"])
        .status(125)
        .says("10.9.9.9");
    world
        .hull(["run", "--rm", "--network", "nowhere", "busybox", "true"])
        .status(125)
        .says("network nowhere not found");
    world.hull(["network", "create", "fixed"]).status(1).says("already exists");
    world
        .hull(["network", "create", "--subnet", "10.211.7.0/25", "overlapping"])
        .status(1)
        .says("10.211.7.0");
    world.hull(["network", "create", "--subnet", "10.300.0.0/24", "bad"]).says("10.300.0.0/24");
    world.hull(["network", "create", "--driver", "overlay", "bad"]).says("overlay");
    world.hull(["network", "rm", "bridge"]).status(1).says("pre-defined");
    let names = world.hull(["network", "ls", "--format", "{{.Name}}"]).success();
    assert!(names.stdout.lines().all(|name| name != "bad" && name != "overlapping"), "{names}");
}

#[test]
fn no_network_and_the_hosts() {
    let world = world();
    let none = world.hull(["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]).success();
    assert_eq!(none.text(), "lo");
    let host = world
        .hull(["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"])
        .success();
    let own = std::fs::read_link("/proc/self/ns/net").expect("/proc is mounted");
    assert_eq!(host.text(), own.to_string_lossy());
    let bridge = world.hull(["run", "--rm", "busybox", "ip", "route"]).success();
    assert!(bridge.stdout.starts_with("default via "), "{bridge}");
}

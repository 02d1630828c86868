//! Networks, names and published ports.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testkit::{World, eventually};

use crate::world;

fn serve(world: &World, name: &str, flags: &[&str]) {
    let script = format!("mkdir -p /www && echo from {name} > /www/index.html && httpd -f -p 80 -h /www");
    let args = [&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", &script]].concat();
    world.hull(args).success();
}

fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn published_ports_answer_on_every_address() {
    let world = world();
    serve(&world, "web", &["-p", "127.0.0.1::80"]);
    let address = world.hull(["port", "web", "80"]).success().text().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    eventually("it answers", 10, || get(&address).filter(|text| text.contains("from web")));
    assert_eq!(world.hull(["port", "web"]).success().text(), format!("80/tcp -> {address}"));
    world.hull(["port", "web", "81"]).status(1).says("no public port '81/tcp' published for web");
    let port = address.rsplit(':').next().expect("it has a port");
    let taken = world.hull([
        "run",
        "-d",
        "--name",
        "other",
        "-p",
        &format!("127.0.0.1:{port}:80"),
        "busybox",
        "sleep",
        "9",
    ]);
    taken.status(125).says("port is already allocated");
    world.hull(["stop", "-t", "0", "web"]).success();
    assert_eq!(get(&address), None, "nothing listens any more");
}

#[test]
fn links_are_names_that_one_container_alone_has_for_others() {
    let world = world();
    for network in ["back", "front"] {
        world.hull(["network", "create", network]).success();
    }
    serve(&world, "web", &["--network", "back"]);
    serve(&world, "other", &["--network", "back", "--network-alias", "shop"]);
    let client = |name: &str, flags: &[&str]| {
        let words =
            [&["run", "-d", "--name", name, "--network"], flags, &["busybox", "sleep", "1000"]].concat();
        world.hull(words).success();
    };
    client("linked", &["back", "--link", "web:shop", "--link", "web"]);
    client("plain", &["back"]);
    client("later", &["front"]);
    world.hull(["network", "connect", "--link", "web:Shop", "back", "later"]).success();
    let shop_of = |client: &str| {
        eventually("a page", 10, || {
            let got = world.hull(["exec", client, "wget", "-qO-", "http://shop/"]);
            (got.status == Some(0)).then_some(got.text().to_owned())
        })
    };
    assert_eq!(shop_of("linked"), "from web");
    assert_eq!(shop_of("plain"), "from other");
    assert_eq!(shop_of("later"), "from web");
    world.hull(["restart", "-t", "0", "linked"]).success();
    assert_eq!(shop_of("linked"), "from web");
    let links = world.inspect("linked", "{{json .NetworkSettings.Networks.back.Links}}");
    assert_eq!(links, r#"["web:shop","web:web"]"#);
}

#[test]
fn names_are_found_on_a_network_of_ones_own() {
    let world = world();
    world.hull(["network", "create", "back"]).success();
    serve(&world, "web", &["--network", "back", "--network-alias", "www"]);
    for name in ["web", "www"] {
        let fetch = ["run", "--rm", "--network", "back", "busybox", "wget", "-qO-"];
        let url = format!("http://{name}/");
        let text = eventually("the page", 10, || {
            let got = world.hull([&fetch[..], &[&url]].concat());
            (got.status == Some(0)).then_some(got.stdout)
        });
        assert_eq!(text, "from web\n");
    }
    let shown = world.hull(["network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "back"]);
    assert_eq!(shown.success().text(), "web");
    world.hull(["network", "rm", "back"]).status(1).says("has active endpoints");
    world.hull(["rm", "-f", "web"]).success();
    assert_eq!(world.hull(["network", "rm", "back"]).success().text(), "back");
}

#[test]
fn networks_do_not_see_each_other() {
    let world = world();
    world.hull(["network", "create", "left"]).success();
    world.hull(["network", "create", "right"]).success();
    serve(&world, "web", &["--network", "left"]);
    let address = world.inspect("web", "{{.NetworkSettings.Networks.left.IPAddress}}");
    let reach = |network: &str| {
        let url = format!("http://{address}/");
        world
            .hull([
                "run",
                "--rm",
                "--init",
                "--network",
                network,
                "busybox",
                "timeout",
                "1",
                "wget",
                "-qO-",
                &url,
            ])
            .status
    };
    eventually("it answers on its own network", 10, || (reach("left") == Some(0)).then_some(()));
    assert_ne!(reach("right"), Some(0));
    world.hull(["network", "connect", "right", "web"]).success();
    let there = world.inspect("web", "{{.NetworkSettings.Networks.right.IPAddress}}");
    let url = format!("http://{there}/");
    world
        .hull([
            "run",
            "--rm",
            "--init",
            "--network",
            "right",
            "busybox",
            "timeout",
            "5",
            "wget",
            "-qO-",
            &url,
        ])
        .success();
    world.hull(["network", "disconnect", "right", "web"]).success();
    let shown = world.inspect("web", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}");
    assert_eq!(shown.trim(), "left");
}

#[test]
fn mistakes_about_networks_are_named() {
    let world = world();
    world.hull(["network", "create", "-d", "overlay", "x1"]).status(1).says("overlay");
    world.hull(["network", "create", "--subnet", "10.300.0.0/16", "x1"]).status(1).says("10.300.0.0/16");
    world.hull(["network", "create", "bridge"]).status(1);
    world.hull(["network", "create", "twin"]).success();
    world.hull(["network", "create", "twin"]).status(1).says("network with name twin already exists");
    world.hull(["network", "rm", "none-such"]).status(1).says("none-such");
    world.hull(["run", "--network", "gone", "busybox", "true"]).status(125).says("network gone not found");
    let pruned = world.hull(["network", "prune", "-f"]).success();
    assert_eq!(pruned.text(), "Deleted Networks:\ntwin");
}

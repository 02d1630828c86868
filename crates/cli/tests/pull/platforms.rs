//! Indexes: an image for several platforms, and what is not for any.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use oci::{Digest, media};
use serde_json::json;
use testkit::{Registry, World, busybox_tar};

use crate::{HULL, copy};

/// Sends a document to a registry; returns its descriptor.
fn put(registry: &Registry, path: &str, media_type: &str, body: &[u8]) -> serde_json::Value {
    let mut connection = TcpStream::connect(registry.address()).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body)).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    json!({"mediaType": media_type, "digest": Digest::of(body), "size": body.len()})
}

/// A registry with `app:multi`: an index of an image for this host, one for s390x, and a note about the first one.
fn indexed() -> (World, Registry) {
    let (maker, registry) = (World::new(HULL), Registry::start());
    let tar = busybox_tar().display().to_string();
    let mut manifests = Vec::new();
    let host = oci::image::Platform::host().architecture;
    for architecture in ["s390x", &host] {
        let name = format!("{architecture}:1");
        let platform = format!("linux/{architecture}");
        maker.hull(["import", "--platform", &platform, "-c", "CMD [\"uname\"]", &tar, &name]).success();
        let archive = maker.scratch().join(format!("{architecture}.tar")).display().to_string();
        maker.hull(["save", "--format", "oci-archive", "-o", &archive, &name]).success();
        let tag = format!("app:{architecture}");
        copy(&["--preserve-digests"], &format!("oci-archive:{archive}"), &registry.reference(&tag));
        let manifest = maker.hull(["inspect", "-f", "{{json .}}", &name]).success();
        assert!(manifest.stdout.contains(architecture));
        let url = format!("/v2/app/manifests/{architecture}");
        let bytes = get(&registry, &url);
        manifests.push(json!({
            "mediaType": media::OCI_MANIFEST, "digest": Digest::of(&bytes), "size": bytes.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let mut note = manifests[1].clone();
    note["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    manifests.insert(0, note);
    let index =
        json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests}).to_string();
    put(&registry, "/v2/app/manifests/multi", media::OCI_INDEX, index.as_bytes());
    (World::new(HULL), registry)
}

#[test]
fn a_tree_shows_what_a_name_has_for_each_platform() {
    let (world, registry) = indexed();
    let name = registry.reference("app:multi");
    world.hull(["pull", "-q", &name]).success();
    // Name, id, bytes on the disk, bytes of content.
    let tree = |args: &[&str]| -> Vec<Vec<String>> {
        let output = world.hull(args).success();
        let words = |line: &str| {
            line.replace("├─ ", "").replace("└─ ", "").split_whitespace().map(str::to_owned).collect()
        };
        output.stdout.lines().skip(1).map(words).collect()
    };
    let rows = tree(&["image", "tree"]);
    let host = format!("linux/{}", oci::image::Platform::host().architecture);
    let names: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
    assert_eq!(names, [&*name, "linux/s390x", &host], "what is noted of an image is none");
    assert_eq!(rows[0][1], world.inspect(&name, "{{.Id}}")["sha256:".len()..][..12]);
    assert_eq!(rows[1][2..], ["0B", "0B"]);
    assert_eq!(rows[2][2..], rows[0][2..]);
    assert_ne!(rows[2][3], "0B");
    assert_eq!(tree(&["images", "--tree", &name]), rows);
    world.hull(["images", "--tree", "--quiet"]).status(1).says("conflicting options: --tree and --quiet");

    world.hull(["pull", "-q", "--all-platforms", &name]).success();
    world.hull(["create", "--name", "user", &name]).success();
    world.hull(["tag", &name, "another:name"]).success();
    let rows = tree(&["image", "tree"]);
    let names: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
    assert!(names.contains(&"another:name") && names.contains(&"linux/s390x"), "{rows:?}");
    let row = |name: &str| rows.iter().find(|row| row[0] == name).unwrap();
    // Packed, for others to have.
    assert_eq!(row("linux/s390x")[2], row("linux/s390x")[3]);
    assert_ne!(row("linux/s390x")[3], "0B");
    assert_eq!(row(&host)[4], "yes");
}

/// The manifest at `path`.
fn get(registry: &Registry, path: &str) -> Vec<u8> {
    let mut connection = TcpStream::connect(registry.address()).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {}\r\nConnection: close\r\n\r\n",
        media::OCI_MANIFEST
    );
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends");
    answer.split_off(end + 4)
}

#[test]
fn each_host_gets_its_own() {
    let (world, registry) = indexed();
    let app = registry.reference("app:multi");
    world.hull(["pull", "-q", &app]).success();
    assert_eq!(world.inspect(&app, "{{.Architecture}}"), oci::image::Platform::host().architecture);
    assert_eq!(world.hull(["run", "--rm", &app]).success().text(), "Linux");
    // One question suffices although the reference names an index.
    let asked = registry.requests().len();
    world.hull(["pull", &app]).success();
    assert_eq!(registry.requests().len(), asked + 1);

    world.hull(["pull", "-q", "--platform", "linux/s390x", &app]).success();
    assert_eq!(world.inspect(&app, "{{.Architecture}}"), "s390x");
    world
        .hull(["pull", "--platform", "linux/arm/v7", &app])
        .status(1)
        .says("no matching manifest for linux/arm/v7 in the manifest list entries");
    world.hull(["pull", "--platform", "linux/", &app]).status(1).says("must be os/architecture[/variant]");
    let asked = registry.requests().len();
    for command in [&["run", "--rm"][..], &["create"]] {
        let flags = ["--pull", "always", "--platform", "linux/s390x", &app];
        let refused =
            world.hull(command.iter().chain(&flags)).says("platform linux/s390x cannot run on this");
        assert_ne!(refused.status, Some(0), "{refused}");
    }
    assert_eq!(registry.requests().len(), asked, "nothing is fetched for what cannot run");
    let other = registry.reference("app:s390x");
    let warned = world.hull(["pull", "--platform", "linux/amd64", &other]).success();
    assert!(
        warned
            .stderr
            .contains("does not match the specified platform: wanted linux/amd64, actual: linux/s390x"),
        "{warned}"
    );
    world
        .hull(["run", "--rm", "--platform", "linux/amd64", "--pull", "never", &other])
        .status(125)
        .says("was found but does not match the specified platform");
}

#[test]
fn everything_of_an_index_is_kept_on_request() {
    let (world, registry) = indexed();
    let app = registry.reference("app:multi");
    let blobs = || std::fs::read_dir(world.data_root().join("blobs/sha256")).unwrap().count();
    world.hull(["pull", "-q", &app]).success();
    let some = blobs();
    world.hull(["pull", "-q", "--all-platforms", &app]).success();
    assert!(blobs() > some);
    let all = blobs();
    // What is not unpacked is kept as long as the reference names it.
    world.hull(["image", "prune", "-f"]).success();
    assert_eq!(blobs(), all);
    let asked = registry.requests().len();
    world.hull(["pull", "-q", "--platform", "linux/s390x", &app]).success();
    assert_eq!(registry.requests().len(), asked + 1, "all of it was here, packed");
    assert_eq!(world.inspect(&app, "{{.Architecture}}"), "s390x");
}

#[test]
fn all_tags_of_a_repository() {
    let (world, registry) = indexed();
    let pulled = world.hull(["pull", "-a", &registry.reference("app")]).success();
    for tag in ["multi", "s390x"] {
        assert!(pulled.stdout.contains(&format!("{tag}: Pulling from app\n")), "{pulled}");
        world.inspect(&registry.reference(&format!("app:{tag}")), "{{.Id}}");
    }
    assert!(pulled.stdout.ends_with(&format!("\n{}\n", registry.reference("app"))), "{pulled}");
    world
        .hull(["pull", "-a", &registry.reference("app:multi")])
        .status(125)
        .says("tag can't be used with --all-tags/-a");
}

#[test]
fn bars_on_a_terminal() {
    let (world, registry) = indexed();
    let terminal = world.terminal(["pull", &registry.reference("app:multi")]);
    terminal.expect("Pull complete");
    terminal.expect("Status: Downloaded newer image");
    assert_eq!(terminal.finish().0, Some(0));
}

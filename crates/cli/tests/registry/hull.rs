//! hull itself, from one host to the next.

use std::fs;

use oci::Digest;
use serde_json::{Value, json};
use testkit::World;

use crate::server::{
    Image, OCI_INDEX, OCI_MANIFEST, Server, descriptor, host_architecture, index, manifest, run,
};

fn with_busybox() -> World {
    World::with_busybox(env!("CARGO_BIN_EXE_hull"))
}

#[test]
fn a_neighbours_push_can_be_run_and_pulled() {
    let laptop = Server::start(&[]);
    let neighbour = with_busybox();
    let remote = |name: &str| format!("{}/{name}", laptop.address);
    neighbour.file("Dockerfile", "FROM busybox\nRUN echo made next door > /made\nCMD [\"cat\", \"/made\"]\n");
    neighbour.hull(["build", "-t", &remote("team/app:v1"), "."]).success();
    neighbour.hull(["push", &remote("team/app:v1")]).success();
    let said = laptop.world.hull(["run", "--rm", "team/app:v1"]).success();
    assert_eq!(said.text(), "made next door");
    let ids = [
        laptop.world.inspect("team/app:v1", "{{.Id}}"),
        neighbour.inspect(&remote("team/app:v1"), "{{.Id}}"),
    ];
    assert_eq!(ids[0], ids[1]);
    // Nothing is sent twice.
    let log = laptop.log();
    neighbour.hull(["push", &remote("team/app:v1")]).success();
    let again = laptop.log().strip_prefix(&log).expect("a log grows").to_owned();
    assert!(!again.contains("PATCH") && !again.contains("/blobs/uploads/"), "{again}");

    let third = World::new(env!("CARGO_BIN_EXE_hull"));
    assert_eq!(third.hull(["run", "--rm", &remote("team/app:v1")]).success().text(), "made next door");
    third.file("Dockerfile", &format!("FROM {}\nRUN cat /made > /seen\n", remote("team/app:v1")));
    third.hull(["build", "-t", &remote("team/more"), "."]).success();
    third.hull(["push", &remote("team/more")]).success();
    let log = laptop.log();
    assert!(log.contains("mount="), "the base's layers are there already\n{log}");
    laptop.world.hull(["run", "--rm", "team/more", "cat", "/seen"]).success();
}

#[test]
fn what_was_made_here_and_comes_back_changes_nothing() {
    let server = Server::of(with_busybox(), &[]);
    let before = server.get("/v2/busybox/manifests/latest").status(200).body;
    // Compressed, the same layer is another blob.
    let mut manifest = server.get("/v2/busybox/manifests/latest").json();
    let blob = |digest: &Value| {
        server.get(&format!("/v2/busybox/blobs/{}", digest.as_str().unwrap())).status(200).body
    };
    let config = blob(&manifest["config"]["digest"]);
    let layer = server.world.scratch().join("layer");
    fs::write(&layer, blob(&manifest["layers"][0]["digest"])).unwrap();
    run(&server.world, "gzip", &["-n", "layer"]).success();
    let compressed = fs::read(layer.with_extension("gz")).unwrap();
    manifest["layers"] = json!([descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)]);
    let manifest = manifest.to_string().into_bytes();
    server.push_blob("back", &config);
    server.push_blob("back", &compressed);
    server.put_manifest("/v2/back/manifests/v1", OCI_MANIFEST, &manifest).status(201);
    server.world.hull(["run", "--rm", "back:v1", "true"]).success();
    assert_eq!(server.get("/v2/busybox/manifests/latest").status(200).body, before);
    // By its digest, so that the compressed blob goes with it.
    server.delete(&format!("/v2/back/manifests/{}", Digest::of(&manifest))).status(202);
    let path = server.world.data_root().join("blobs/sha256").join(Digest::of(&compressed).hex());
    assert!(!path.exists());
    // What is left of it can be run, built on, and saved.
    server.world.file("Dockerfile", "FROM busybox\nRUN echo > /more\n");
    server.world.hull(["build", "-t", "more", "."]).success();
    server.world.hull(["run", "--rm", "more", "ls", "/more"]).success();
    server.world.hull(["save", "-o", "archive.tar", "busybox", "more"]).success();
}

#[test]
fn each_tag_is_served_with_the_manifest_it_was_pulled_with() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let image = Image::of_host("twice");
    let mut annotated = manifest(&image.config, &[&image.layer]);
    annotated["annotations"] = json!({"built": "again"});
    let annotated = annotated.to_string().into_bytes();
    first.push("app", "v1", &image).status(201);
    first.put_manifest("/v2/app/manifests/v2", OCI_MANIFEST, &annotated).status(201);
    for tag in ["v1", "v2"] {
        let name = format!("{}/app:{tag}", first.address);
        second.world.hull(["pull", &name]).success();
        second.world.hull(["tag", &name, &format!("here:{tag}")]).success();
    }
    assert_eq!(second.get("/v2/here/manifests/v1").status(200).body, image.manifest);
    assert_eq!(second.get("/v2/here/manifests/v2").status(200).body, annotated);
    // Once the other one is gone the image has this one alone.
    second.delete("/v2/here/manifests/v2").status(202);
    second.get(&format!("/v2/here/manifests/{}", Digest::of(&annotated))).status(404);
    assert_eq!(second.get("/v2/here/manifests/v1").status(200).body, image.manifest);
}

#[test]
fn the_image_of_a_pulled_index_is_passed_on() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let (mine, other) = (Image::of_host("mine"), Image::new("other", "s390x"));
    for image in [&mine, &other] {
        first.push("app", &image.digest().to_string(), image).status(201);
    }
    let bytes = index(&[mine.descriptor(host_architecture()), other.descriptor("s390x")]);
    first.put_manifest("/v2/app/manifests/v1", OCI_INDEX, &bytes).status(201);
    let name = format!("{}/app:v1", first.address);
    second.world.hull(["pull", &name]).success();
    second.world.hull(["tag", &name, "app:v1"]).success();
    // A tag that is given here names this host's image, not what the registry had beside it.
    assert_eq!(second.get("/v2/app/manifests/v1").status(200).body, mine.manifest);
    second.get(&format!("/v2/app/manifests/{}", mine.digest())).status(200);
    second.get(&format!("/v2/app/manifests/{}", other.digest())).error(404, "MANIFEST_UNKNOWN");
}

#[test]
fn many_push_pull_and_prune_at_once() {
    let server = Server::start(&[]);
    let images: Vec<Image> = (0..6).map(|n| Image::of_host(&format!("image{n}"))).collect();
    let shared = Image::of_host("shared");
    std::thread::scope(|scope| {
        for (n, image) in images.iter().enumerate() {
            let (server, shared) = (&server, &shared);
            scope.spawn(move || {
                for round in 0..5 {
                    server.push(&format!("app{n}"), "own", image).status(201);
                    server.push(&format!("app{n}"), "shared", shared).status(201);
                    let given = server.get(&format!("/v2/app{n}/manifests/shared")).status(200);
                    assert_eq!(given.body, shared.manifest, "{round}");
                    if n % 2 == 0 {
                        server.delete(&format!("/v2/app{n}/manifests/own")).status(202);
                        server.delete(&format!("/v2/app{n}/manifests/shared")).status(202);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..10 {
                server.world.hull(["system", "prune", "--force"]).success();
            }
        });
    });
    for (n, image) in images.iter().enumerate() {
        let status = if n % 2 == 0 { 404 } else { 200 };
        for tag in ["own", "shared"] {
            server.get(&format!("/v2/app{n}/manifests/{tag}")).status(status);
        }
        server.get(&format!("/v2/app{n}/blobs/{}", image.id())).status(status);
    }
    for n in [1, 3, 5] {
        server.world.hull(["rmi", &format!("app{n}:own"), &format!("app{n}:shared")]).success();
    }
    assert_eq!(server.content(), [0, 0, 0], "{}", server.images());
}

#[test]
fn a_layer_that_comes_twice_outlasts_either_image() {
    let server = Server::start(&[]);
    let image = Image::of_host("file");
    let layer = server.world.scratch().join("layer");
    fs::write(&layer, &image.layer).unwrap();
    run(&server.world, "gzip", &["-nk", "layer"]).success();
    let compressed = fs::read(layer.with_extension("gz")).unwrap();
    let mut manifest = manifest(&image.config, &[]);
    manifest["layers"] = json!([descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)]);
    server.push_blob("app", &image.config);
    server.push_blob("app", &compressed);
    let manifest = manifest.to_string().into_bytes();
    server.put_manifest("/v2/app/manifests/v1", OCI_MANIFEST, &manifest).status(201);
    // The same layer, not compressed, in another image.
    server.world.hull(["import", "layer", "other"]).success();
    server.world.hull(["rmi", "other"]).success();
    server.world.file("Dockerfile", "FROM app:v1\nCOPY layer /\n");
    server.world.hull(["build", "-t", "more", "."]).success();
}

#[test]
fn what_happens_to_images_is_told() {
    let laptop = Server::start(&[]);
    let neighbour = with_busybox();
    let name = format!("{}/app:v1", laptop.address);
    let told = |world: &World| {
        let args = ["events", "--since", "1h", "--until", "0s", "--filter", "type=image"];
        let format = ["--format", "{{.Action}} {{index .Actor.Attributes \"name\"}}"];
        let output = world.hull(args.iter().chain(&format)).success().stdout;
        output.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    neighbour.hull(["tag", "busybox", &name]).success();
    neighbour.hull(["push", "-q", &name]).success();
    let [import, others @ ..] = &told(&neighbour)[..] else { panic!("nothing is told") };
    assert!(import.starts_with("import sha256:"), "{import}");
    assert_eq!(others, [format!("tag {name}"), format!("push {name}")]);
    let third = World::new(env!("CARGO_BIN_EXE_hull"));
    third.file("Dockerfile", &format!("FROM {name}\n"));
    third.file("compose.yaml", &format!("name: p\nservices:\n  a: {{image: '{name}'}}\n"));
    for command in [&["run", "--rm", &name, "true"][..], &["build", "-q", "."], &["compose", "pull", "-q"]] {
        third.hull(command).success();
        third.hull(["system", "prune", "-af"]).success();
    }
    let pulls = told(&third).into_iter().filter(|line| *line == format!("pull {name}"));
    assert_eq!(pulls.count(), 3);
    let digest =
        laptop.head("/v2/app/manifests/v1").status(200).header("docker-content-digest").unwrap().to_owned();
    laptop.delete("/v2/app/manifests/v1").status(202);
    neighbour.hull(["push", "-q", &name]).success();
    laptop.delete(&format!("/v2/app/manifests/{digest}")).status(202);
    let expected =
        ["push app:v1", "untag app:v1", "push app:v1", "untag app:v1", &format!("delete {digest}")];
    assert_eq!(told(&laptop.world), expected);
}

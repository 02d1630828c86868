//! skopeo and podman, from Debian's packages, both ways.

use std::fs;
use std::process::{Command, Stdio};

use testkit::{Output, World};

use crate::server::{Server, run};

fn served_busybox() -> Server {
    Server::of(World::with_busybox(env!("CARGO_BIN_EXE_hull")), &[])
}

fn skopeo(server: &Server, args: &[&str]) -> Output {
    run(&server.world, "skopeo", args)
}

#[test]
fn skopeo_copies_from_one_host_to_the_next() {
    let (first, second) = (served_busybox(), Server::start(&[]));
    let copy = |from: &str, to: &str, options: &[&str]| {
        let flags = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&first, &[&flags, options, &[from, to]].concat()).success()
    };
    let source = format!("docker://{}/busybox", first.address);
    let remote = |name: &str| format!("docker://{}/{name}", second.address);
    copy(&source, "oci:layout:out", &[]);
    copy(&source, &remote("team/one:oci"), &[]);
    copy("oci:layout:out", &remote("team/two:v2s2"), &["--format", "v2s2"]);
    copy(&remote("team/two:v2s2"), &remote("team/three:same"), &[]);
    copy(&source, "dir:zstd", &["--dest-compress-format", "zstd", "--dest-compress"]);
    let files = ["--format", "oci", "--preserve-digests"];
    copy("dir:zstd", &remote("team/four:zst"), &files);
    for name in ["team/one:oci", "team/two:v2s2", "team/three:same", "team/four:zst"] {
        second.world.hull(["run", "--rm", name, "echo", "works"]).success();
        skopeo(&second, &["inspect", "--tls-verify=false", &remote(name)]).success();
    }
    let kinds =
        [("two/manifests/v2s2", "gzip"), ("three/manifests/same", "gzip"), ("four/manifests/zst", "zstd")];
    for (path, compression) in kinds {
        let manifest = second.get(&format!("/v2/team/{path}")).status(200).json();
        let kind = manifest["layers"][0]["mediaType"].as_str().unwrap();
        assert!(kind.contains(compression), "{manifest}");
    }
    let kind = second.get("/v2/team/two/manifests/v2s2");
    kind.status(200).has("content-type", "application/vnd.docker.distribution.manifest.v2+json");
    copy(&remote("team/four:zst"), "dir:back", &[]);
    skopeo(&second, &["delete", "--tls-verify=false", &remote("team/three:same")]).success();
    skopeo(&second, &["inspect", "--tls-verify=false", &remote("team/three:same")]).status(1);
}

#[test]
fn podman_pushes_pulls_and_makes_lists() {
    let server = served_busybox();
    let directory = server.world.scratch().join("podman");
    fs::create_dir_all(&directory).unwrap();
    let podman = |args: &[&str]| {
        let mut command = Command::new("podman");
        for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(directory.join(name));
        }
        command.args(["--storage-driver", "vfs", "--events-backend", "none"]).args(args);
        Output::of(command.env("HOME", &directory).stdin(Stdio::null()))
    };
    let remote = |name: &str| format!("{}/{name}", server.address);
    podman(&["pull", "--tls-verify=false", &remote("busybox")]).success();
    podman(&["tag", &remote("busybox"), &remote("from/podman:v1")]).success();
    podman(&["push", "--tls-verify=false", &remote("from/podman:v1")]).success();
    server.world.hull(["run", "--rm", "from/podman:v1", "true"]).success();
    // Read back by who has nothing of it.
    podman(&["rmi", "--all", "--force"]).success();
    podman(&["pull", "--tls-verify=false", &remote("from/podman:v1")]).success();
    podman(&["manifest", "create", "many"]).success();
    let member = format!("docker://{}", remote("from/podman:v1"));
    podman(&["manifest", "add", "--tls-verify=false", "many", &member]).success();
    podman(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        "many",
        &format!("docker://{}", remote("from/list:v1")),
    ])
    .success();
    let index = server.get("/v2/from/list/manifests/v1").status(200).json();
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{index}");
    server.world.hull(["run", "--rm", "from/list:v1", "true"]).success();
    podman(&["pull", "--tls-verify=false", &remote("from/list:v1")]).success();
    podman(&["rmi", "--all", "--force"]).success();
}

//! dockerd and Docker's client, from Debian's package, both ways.

use testkit::{Dockerd, World};

use crate::server::Server;

#[test]
fn docker_pulls_pushes_and_logs_in() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    crate::server::run(&world, "htpasswd", &["-Bbc", "users", "anna", "s3cret"]).success();
    let server = Server::of(world, &["--htpasswd", "users"]);
    let docker = Dockerd::start();
    let remote = |name: &str| format!("{}/{name}", server.address);
    docker.run(&["pull", &remote("busybox")]).status(1).says("no basic auth credentials");
    docker.run(&["login", "-u", "anna", "-p", "wrong", &server.address]).status(1).says("401 Unauthorized");
    docker.run(&["login", "-u", "anna", "-p", "s3cret", &server.address]).success();
    docker.run(&["pull", &remote("busybox")]).success();
    let ids = [
        docker.run(&["inspect", "-f", "{{.Id}}", &remote("busybox")]).success().text().to_owned(),
        server.world.inspect("busybox", "{{.Id}}"),
    ];
    assert_eq!(ids[0], ids[1]);

    // One more layer, made by Docker.
    let run = ["run", "--network", "none", "--name", "made", &remote("busybox")];
    docker.run(&[run.as_slice(), &["sh", "-c", "echo made by docker > /made"]].concat()).success();
    docker.run(&["commit", "made", &remote("from/docker:v1")]).success();
    docker.run(&["rm", "made"]).success();
    let push = docker.run(&["push", &remote("from/docker:v1")]).success();
    assert!(push.stdout.contains("digest: sha256:"), "{push}");
    let made = server.world.hull(["run", "--rm", "from/docker:v1", "cat", "/made"]).success();
    assert_eq!(made.text(), "made by docker");
    docker.run(&["rmi", &remote("from/docker:v1")]).success();
    docker.run(&["pull", &remote("from/docker:v1")]).success();
    let again = docker.run(&["push", &remote("from/docker:v1")]).success();
    assert!(again.stdout.contains("Layer already exists"), "{again}");
}

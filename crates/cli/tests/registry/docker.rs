//! dockerd and Docker's client, from Debian's package, both ways.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::{Output, World, eventually};

use crate::server::Server;

/// A dockerd of our own in a mount namespace of its own, without firewall and bridge: it shares the host's network, where
/// the registry listens.
struct Docker {
    directory: PathBuf,
    daemon: Child,
}

impl Docker {
    fn start() -> Self {
        let directory = PathBuf::from(format!("/var/tmp/hull-registry-docker-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        let log = File::create(directory.join("dockerd.log")).expect("our own directory");
        let mut command = Command::new("unshare");
        command.args(["--mount", "dockerd", "--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--ip-forward=false", "--ip-masq=false"]);
        command.arg("--host").arg(format!("unix://{}", directory.join("docker.sock").display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(directory.join(name));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let daemon = command.spawn().expect("unshare is part of Debian");
        let docker = Self { directory, daemon };
        eventually("dockerd (`cargo xtask setup` installs docker.io)", 60, || {
            (docker.run(&["version"]).status == Some(0)).then_some(())
        });
        docker
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.directory.join("docker.sock").display()));
        command.env("DOCKER_CONFIG", self.directory.join("config"));
        Output::of(command.args(args).current_dir(&self.directory).stdin(Stdio::null()))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its containerd with it.
        let _ = sys::process::kill(self.daemon.id() as i32, 15);
        let _ = self.daemon.wait();
        let removed = fs::remove_dir_all(&self.directory);
        assert!(
            std::thread::panicking() || removed.is_ok(),
            "dockerd left something in {}",
            self.directory.display()
        );
    }
}

#[test]
fn docker_pulls_pushes_and_logs_in() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    crate::server::run(&world, "htpasswd", &["-Bbc", "users", "anna", "s3cret"]).success();
    let server = Server::of(world, &["--htpasswd", "users"]);
    let docker = Docker::start();
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

//! dockerd, from Debian's packages.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Output, eventually};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A dockerd of our own, in a mount namespace of its own.
pub struct Dockerd {
    directory: PathBuf,
    daemon: Child,
}

/// Makes trixie's programs those of this mount namespace, and executes its dockerd. What is configured is the host's, `iptables` among it.
const NEWER: &str =
    "ip link set lo up && mount --bind \"$0\" /usr && PATH=$PATH:/etc/alternatives exec dockerd \"$@\"";

/// For one that shares the host's network, and is to leave it as it is.
const WITHOUT_NETWORK: &[&str] =
    &["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"];

impl Dockerd {
    /// Starts one that has nothing, without firewall and bridge: it shares the host's network, where registries of tests listen.
    pub fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "dockerd"]).args(WITHOUT_NETWORK);
        Self::start_by(command)
    }

    /// Starts trixie's like that.
    pub fn start_newer_beside_registries() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", NEWER]).arg(crate::fixtures::docker_root().join("usr"));
        command.args(WITHOUT_NETWORK);
        Self::start_by(command)
    }

    /// Starts trixie's, version 26, in a network namespace of its own, with all that it makes there.
    pub fn start_newer() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", NEWER]).arg(crate::fixtures::docker_root().join("usr"));
        Self::start_by(command)
    }

    fn start_by(mut command: Command) -> Self {
        let directory = PathBuf::from(format!(
            "/var/tmp/hull-dockerd-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        let log = File::create(directory.join("dockerd.log")).expect("our own directory");
        command.arg("--host").arg(format!("unix://{}", directory.join("docker.sock").display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(directory.join(name));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let daemon = command.spawn().expect("unshare is part of Debian");
        let dockerd = Self { directory, daemon };
        eventually("dockerd (`cargo xtask setup` installs docker.io)", 60, || {
            (dockerd.run(&["version"]).status == Some(0)).then_some(())
        });
        dockerd
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Runs Docker's client to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.directory.join("config"));
        Output::of(command.args(args).current_dir(&self.directory).stdin(Stdio::null()))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        for id in self.run(&["ps", "--all", "--quiet"]).stdout.split_whitespace() {
            self.run(&["rm", "--force", id]);
        }
        // It ends its containerd with it.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        let removed = fs::remove_dir_all(&self.directory);
        assert!(
            std::thread::panicking() || removed.is_ok(),
            "dockerd left something in {}",
            self.directory.display()
        );
    }
}

//! The engines hull is measured beside, each with its own directories, removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run;

fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// `crun run` on a ready bundle.
pub struct Crun {
    bundle: PathBuf,
    state: PathBuf,
}

impl Crun {
    pub fn prepare(directory: &Path, rootfs: &Path) -> Option<Self> {
        if !found("crun") {
            return None;
        }
        let bundle = directory.join("bundle");
        fs::create_dir_all(&bundle).ok()?;
        std::os::unix::fs::symlink(rootfs, bundle.join("rootfs")).ok()?;
        run(Command::new("crun").arg("spec").current_dir(&bundle)).ok()?;
        let config = fs::read_to_string(bundle.join("config.json")).ok()?;
        let config =
            config.replacen("\"terminal\": true", "\"terminal\": false", 1).replacen("\"sh\"", "\"true\"", 1);
        fs::write(bundle.join("config.json"), config).ok()?;
        let crun = Self { bundle, state: directory.join("crun") };
        run(&mut crun.run()).ok()?;
        Some(crun)
    }

    /// Runs the bundle once. crun refuses hosts with both kinds of control groups, so it is shown one.
    pub fn run(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --root \"$1\" run -b \"$2\" bench");
        command.arg("sh").arg(&self.state).arg(&self.bundle);
        command
    }

    /// What the shell around [`Crun::run`] costs without crun.
    pub fn wrapper(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "umount /sys/fs/cgroup/unified 2>/dev/null; exec /bin/true"]);
        command
    }
}

/// podman asks for a million descriptors by default, which a caller with a lower hard limit may not give.
pub const NOFILE: &str = "nofile=1024:1024";

/// podman with storage of its own.
pub struct Podman {
    directory: PathBuf,
}

impl Podman {
    pub fn prepare(directory: &Path, archive: &Path) -> Option<Self> {
        if !found("podman") {
            return None;
        }
        let podman = Self { directory: directory.join("podman") };
        run(podman.podman(["import"]).arg(archive).arg("busybox:latest").stdout(Stdio::null())).ok()?;
        run(&mut podman.podman(["run", "--rm", "--ulimit", NOFILE, "--network", "none", "busybox", "true"]))
            .ok()?;
        Some(podman)
    }

    pub fn podman<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "umount /sys/fs/cgroup/unified 2>/dev/null; exec podman \"$@\"",
            "sh",
        ]);
        command
            .arg("--root")
            .arg(self.directory.join("root"))
            .arg("--runroot")
            .arg(self.directory.join("run"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]).args(args);
        command
    }

    pub fn remove(&self) {
        // Removing what is already gone is fine; whatever else stays is reported by the benchmark's own clean-up.
        let _ = run(self.podman(["system", "reset", "--force"]).stdout(Stdio::null()).stderr(Stdio::null()));
    }
}

/// A dockerd of our own, in a network namespace of its own so that it writes its firewall rules there.
pub struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    pub fn start(directory: &Path, archive: &Path) -> Option<Self> {
        if !found("dockerd") || !found("docker") {
            return None;
        }
        let home = directory.join("docker");
        fs::create_dir_all(&home).ok()?;
        let socket = home.join("docker.sock");
        let log = fs::File::create(home.join("dockerd.log")).ok()?;
        let daemon = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "sh"])
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .arg("--data-root")
            .arg(home.join("data"))
            .arg("--exec-root")
            .arg(home.join("exec"))
            .arg("--pidfile")
            .arg(home.join("dockerd.pid"))
            .stdout(log.try_clone().ok()?)
            .stderr(log)
            .spawn()
            .ok()?;
        let docker = Self { daemon, socket };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !docker.docker(["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?.success()
        {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run(docker.docker(["import"]).arg(archive).arg("busybox:latest").stdout(Stdio::null())).ok()?;
        Some(docker)
    }

    pub fn docker<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display())).args(args);
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let stop = format!("kill {}", self.daemon.id());
        let _ = Command::new("sh").args(["-c", &stop]).status();
        let _ = self.daemon.wait();
    }
}

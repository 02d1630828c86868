//! The engines hull is measured beside, each with its own directories, removed afterwards.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::measure::timed;
use crate::run;

/// What a row may use of a peer: the peer, or why it is not measured.
pub type Peer<T> = Result<T, String>;

pub fn find(program: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    found.then_some(()).ok_or_else(|| format!("`{program}` is not installed"))
}

/// youki, which Debian has not: built from crates.io and kept in `target`, without libseccomp, as the bundles filter no calls.
pub fn youki(target: &Path) -> Peer<PathBuf> {
    let root = target.join("youki");
    let program = root.join("bin/youki");
    if !program.is_file() {
        let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", "youki", "--version", "0.7.0", "--locked"]);
        install.args(["--no-default-features", "--features", "v1,v2", "--root"]).arg(&root);
        run(&mut install)?;
    }
    Ok(program)
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// A mount namespace without the second kind of control groups: crun, which podman uses too, refuses hosts that show both.
pub struct OneHierarchy {
    /// Keeps the namespace, and ends with our end of its standard input.
    holder: Child,
}

impl OneHierarchy {
    pub fn new() -> Result<Self, String> {
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec cat";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = unshare.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut ready = [0; 6];
        let said = holder.stdout.as_mut().map(|output| output.read_exact(&mut ready));
        let namespace = Self { holder };
        match said {
            Some(Ok(())) => Ok(namespace),
            _ => Err("`unshare --mount` failed".to_owned()),
        }
    }

    /// `program`, to be run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(program);
        command
    }
}

impl Drop for OneHierarchy {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// `crun run` on a ready bundle.
pub struct Crun {
    namespace: Rc<OneHierarchy>,
    bundle: PathBuf,
    state: PathBuf,
}

impl Crun {
    pub fn prepare(namespace: &Peer<Rc<OneHierarchy>>, directory: &Path, rootfs: &Path) -> Peer<Self> {
        find("crun")?;
        let bundle = directory.join("bundle");
        fs::create_dir_all(&bundle).map_err(io(&bundle))?;
        std::os::unix::fs::symlink(rootfs, bundle.join("rootfs")).map_err(io(&bundle))?;
        run(Command::new("crun").arg("spec").current_dir(&bundle))?;
        let path = bundle.join("config.json");
        let config = fs::read_to_string(&path).map_err(io(&path))?;
        let config =
            config.replacen("\"terminal\": true", "\"terminal\": false", 1).replacen("\"sh\"", "\"true\"", 1);
        fs::write(&path, config).map_err(io(&path))?;
        let crun = Self { namespace: namespace.clone()?, bundle, state: directory.join("crun") };
        timed(&mut crun.run())?;
        Ok(crun)
    }

    /// Runs the bundle once.
    pub fn run(&self) -> Command {
        let mut command = self.namespace.command("crun");
        command.arg("--root").arg(&self.state).args(["run", "-b"]).arg(&self.bundle).arg("bench");
        command
    }

    /// What the wrapper around [`Crun::run`] costs without crun.
    pub fn wrapper(&self) -> Command {
        self.namespace.command("/bin/true")
    }
}

/// podman with storage of its own.
pub struct Podman {
    namespace: Rc<OneHierarchy>,
    pub directory: PathBuf,
}

impl Podman {
    pub fn prepare(namespace: &Peer<Rc<OneHierarchy>>, directory: &Path, archive: &Path) -> Peer<Self> {
        find("podman")?;
        let podman = Self { namespace: namespace.clone()?, directory: directory.join("podman") };
        timed(podman.podman(["import"]).arg(archive).arg("busybox:latest"))?;
        timed(&mut podman.run(["--rm", "--network", "none", "busybox", "true"]))?;
        Ok(podman)
    }

    pub fn podman<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = self.namespace.command("podman");
        command.arg("--root").arg(self.directory.join("root"));
        command.arg("--runroot").arg(self.directory.join("run"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]).args(args);
        command
    }

    /// `podman run` with limits that every caller may set: its defaults ask for more than a lower hard limit allows.
    pub fn run<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = self.podman(["run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.args(args);
        command
    }

    pub fn remove(&self) {
        // Removing what is already gone is fine; whatever else stays is reported by the benchmark's own clean-up.
        let _ = timed(&mut self.podman(["system", "reset", "--force"]));
    }
}

/// A dockerd of our own, in a network namespace of its own so that it writes its firewall rules there.
pub struct Docker {
    daemon: Child,
    pub home: PathBuf,
}

impl Docker {
    pub fn start(directory: &Path, archive: &Path) -> Peer<Self> {
        find("dockerd").and_then(|()| find("docker"))?;
        let home = directory.join("docker");
        fs::create_dir_all(&home).map_err(io(&home))?;
        let log_path = home.join("dockerd.log");
        let log = fs::File::create(&log_path).map_err(io(&log_path))?;
        let errors = log.try_clone().map_err(io(&log_path))?;
        let daemon = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "sh"])
            .arg("--host")
            .arg(format!("unix://{}", home.join("docker.sock").display()))
            .arg("--data-root")
            .arg(home.join("data"))
            .arg("--exec-root")
            .arg(home.join("exec"))
            .arg("--pidfile")
            .arg(home.join("dockerd.pid"))
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("dockerd: {error}"))?;
        let docker = Self { daemon, home };
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(reason) = timed(&mut docker.docker(["version"])) {
            if Instant::now() > deadline {
                return Err(reason);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        timed(docker.docker(["import"]).arg(archive).arg("busybox:latest"))?;
        Ok(docker)
    }

    pub fn docker<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.home.join("docker.sock").display())).args(args);
        command
    }

    /// The daemon's process, which has the network it works in.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Whether the Compose plugin is there: Debian has it from version 13 on.
    pub fn has_compose(&self) -> Peer<()> {
        let asked = timed(&mut self.docker(["compose", "version"]));
        asked.map(drop).map_err(|_| "its Compose plugin is not installed".to_owned())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let stop = format!("kill {}", self.daemon.id());
        let _ = Command::new("sh").args(["-c", &stop]).status();
        let _ = self.daemon.wait();
    }
}

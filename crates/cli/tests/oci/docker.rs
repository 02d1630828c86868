//! dockerd, from Debian's package, with hull-oci as its runtime.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::{Output, Terminal, eventually};

/// A dockerd of our own, in namespaces of its own: its firewall rules and its mounts go with it.
struct Docker {
    directory: PathBuf,
    daemon: Child,
}

impl Docker {
    fn start() -> Self {
        let directory = PathBuf::from(format!("/var/tmp/hull-oci-docker-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        let runtime = directory.join("hull-oci");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), &runtime).expect("a fresh directory");
        let log = File::create(directory.join("dockerd.log")).expect("our own directory");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "sh"]);
        command.arg("--host").arg(format!("unix://{}", directory.join("docker.sock").display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(directory.join(name));
        }
        command.arg(format!("--add-runtime=hull={}", runtime.display())).arg("--default-runtime=hull");
        command.arg("--exec-opt=native.cgroupdriver=cgroupfs");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let daemon = command.spawn().expect("unshare is part of Debian");
        let docker = Self { directory, daemon };
        eventually("dockerd (`cargo xtask setup` installs docker.io)", 60, || {
            (docker.run(["version"]).status == Some(0)).then_some(())
        });
        docker.run(["import", &testkit::busybox_tar().display().to_string(), "busybox:latest"]).success();
        docker
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.directory.join("docker.sock").display()));
        command.args(args).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        Output::of(&mut self.command(args))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let all = self.run(["ps", "--all", "--quiet"]);
        for id in all.stdout.split_whitespace() {
            self.run(["rm", "--force", id]);
        }
        // It ends its containerd with it.
        let _ = sys::process::kill(self.daemon.id() as i32, 15);
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.join("dockerd.log")).unwrap_or_default());
        }
        let removed = fs::remove_dir_all(&self.directory);
        assert!(
            std::thread::panicking() || removed.is_ok(),
            "dockerd left something in {}",
            self.directory.display()
        );
    }
}

#[test]
fn containers_are_run_entered_limited_stopped_and_removed() {
    let docker = Docker::start();
    let none =
        |args: &[&'static str]| docker.run(["run", "--rm", "--network", "none"].iter().chain(args).copied());
    let limit =
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; exit 5";
    let limited = none(&["-m", "64m", "--pids-limit", "50", "busybox", "sh", "-c", limit]).status(5);
    assert_eq!(limited.text(), (64 << 20).to_string());
    // The write is allowed although the stream was made by root.
    none(&["--user", "1000", "busybox", "sh", "-c", "echo told > /dev/stderr"]).success().says("told");
    none(&["--privileged", "busybox", "ls", "/dev/ptmx"]).success();
    none(&["busybox", "nosuch"]).status(127).says("executable file not found in $PATH");
    none(&["busybox", "/etc/passwd"]).status(126).says("permission denied");

    // Its network is set up by a prestart hook.
    docker.run(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).success();
    let address = docker.run(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]).success();
    assert!(docker.run(["exec", "web", "ip", "address"]).success().stdout.contains(address.text()));
    let exec = docker.run([
        "exec",
        "--user",
        "1000",
        "-w",
        "/tmp",
        "-e",
        "A=b",
        "web",
        "sh",
        "-c",
        "id -u; pwd; echo $A; exit 3",
    ]);
    assert_eq!(exec.status(3).text(), "1000\n/tmp\nb");
    let missing = docker.run(["exec", "web", "nosuch"]).status(126);
    assert!(missing.stdout.contains("executable file not found in $PATH"), "{missing}");
    assert!(docker.run(["top", "web"]).success().stdout.contains("sleep 1000"));
    docker.run(["pause", "web"]).success();
    assert_eq!(docker.run(["inspect", "-f", "{{.State.Status}}", "web"]).success().text(), "paused");
    docker.run(["unpause", "web"]).success();
    docker.run(["update", "-m", "32m", "--memory-swap", "32m", "web"]).success();
    assert!(docker.run(["stats", "--no-stream", "web"]).success().stdout.contains("32MiB"));
    docker.run(["restart", "-t", "0", "web"]).success();
    docker.run(["stop", "-t", "0", "web"]).success();
    assert_eq!(docker.run(["inspect", "-f", "{{.State.ExitCode}}", "web"]).success().text(), "137");
    docker.run(["rm", "web"]).success();

    let script = "tty; stty size; read x; echo got $x; exit 6";
    let mut terminal = Terminal::start(&docker.command([
        "run",
        "--rm",
        "-it",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]));
    terminal.expect("/dev/pts/0");
    terminal.send("this\n");
    terminal.expect("got this");
    assert_eq!(terminal.finish().0, Some(6));
}

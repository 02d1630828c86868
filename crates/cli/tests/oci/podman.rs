//! podman, from Debian's package, with hull-oci as its runtime.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use testkit::{Output, Terminal};

/// podman with storage, state and configuration of its own.
struct Podman {
    directory: PathBuf,
}

impl Podman {
    fn new(name: &str) -> Self {
        let directory = PathBuf::from(format!("/var/tmp/hull-oci-podman-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), directory.join("hull-oci"))
            .expect("a fresh directory");
        // The defaults ask for more descriptors than every caller may have.
        let conf =
            "[containers]\ndefault_ulimits = []\nlog_driver = \"k8s-file\"\n[engine]\nlock_type = \"file\"\n";
        fs::write(directory.join("containers.conf"), conf).expect("our own directory");
        let podman = Self { directory };
        podman.run(["import", &testkit::busybox_tar().display().to_string(), "busybox:latest"]).success();
        podman
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("unshare");
        // It takes a hybrid host for one of v2 as long as it sees that.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec podman \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", "--root"]).arg(self.directory.join("root"));
        command
            .arg("--runroot")
            .arg(self.directory.join("run"))
            .arg("--tmpdir")
            .arg(self.directory.join("tmp"));
        command.arg("--runtime").arg(self.directory.join("hull-oci"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--hooks-dir"]);
        command.arg(self.directory.join("hooks")).args(args);
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf")).current_dir(&self.directory);
        command
    }

    fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        fs::create_dir_all(self.directory.join("hooks")).expect("our own directory");
        Output::of(&mut self.command(args))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(["rm", "--all", "--force", "--time", "0"]);
        self.run(["system", "reset", "--force"]);
        let removed = fs::remove_dir_all(&self.directory);
        assert!(
            std::thread::panicking() || removed.is_ok(),
            "podman left mounts in {}",
            self.directory.display()
        );
    }
}

#[test]
fn containers_are_run_entered_paused_stopped_and_removed() {
    let podman = Podman::new("life");
    let limits =
        ["run", "--rm", "--network", "none", "--memory", "64m", "--pids-limit", "50", "busybox", "sh", "-c"];
    let script =
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; exit 5";
    let limited = podman.run(limits.into_iter().chain([script])).status(5);
    assert_eq!(limited.text(), (64 << 20).to_string());

    podman.run(["run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000"]).success();
    let id = podman.run(["inspect", "-f", "{{.Id}}", "web"]).success().text().to_owned();
    assert!(fs::exists(format!("/run/hull-oci/{id}/state.json")).unwrap(), "it is ours");
    let exec = podman.run([
        "exec",
        "--user",
        "1000",
        "--workdir",
        "/tmp",
        "-e",
        "A=b",
        "web",
        "sh",
        "-c",
        "id -u; pwd; echo $A; exit 3",
    ]);
    assert_eq!(exec.status(3).text(), "1000\n/tmp\nb");
    assert_eq!(
        podman.run(["exec", "-d", "web", "sh", "-c", "echo > /ran; exec sleep 999"]).success().status,
        Some(0)
    );
    assert!(podman.run(["top", "web", "args"]).success().stdout.contains("sleep 1000"));
    podman.run(["pause", "web"]).success();
    assert_eq!(podman.run(["inspect", "-f", "{{.State.Status}}", "web"]).success().text(), "paused");
    podman.run(["unpause", "web"]).success();
    assert!(podman.run(["stats", "--no-stream", "web"]).success().stdout.contains("web"));
    podman.run(["stop", "--time", "0", "web"]).success();
    assert_eq!(podman.run(["inspect", "-f", "{{.State.ExitCode}}", "web"]).success().text(), "137");
    podman.run(["start", "web"]).success();
    podman.run(["kill", "web"]).success();
    podman.run(["rm", "--force", "web"]).success();
    assert!(!fs::exists(format!("/run/hull-oci/{id}")).unwrap());
}

#[test]
fn what_fails_has_the_statuses_scripts_know() {
    let podman = Podman::new("fail");
    let run = |args: &[&'static str]| {
        podman.run(["run", "--rm", "--network", "none", "busybox"].iter().chain(args).copied())
    };
    run(&["nosuch"]).status(127).says("executable file not found in $PATH");
    run(&["/etc/passwd"]).status(126).says("permission denied");
    run(&["sh", "-c", "kill -9 $$; exit 4"]).status(4);
    podman.run(["run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000"]).success();
    podman.run(["exec", "web", "nosuch"]).status(127).says("executable file not found in $PATH");
}

#[test]
fn terminals_and_hooks() {
    let podman = Podman::new("tty");
    let told = podman.directory.join("told").display().to_string();
    let hook = json!({ "version": "1.0.0", "when": { "always": true }, "stages": ["createRuntime", "poststop"],
        "hook": { "path": "/bin/sh", "args": ["sh", "-c", format!("cat >> {told}; echo >> {told}")] } });
    fs::write(podman.directory.join("hooks/hook.json"), hook.to_string()).unwrap();
    let script = "tty; stty size; read x; echo got $x; exit 6";
    let mut terminal = Terminal::start(&podman.command([
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
    terminal.expect("40 100");
    terminal.send("this\n");
    terminal.expect("got this");
    assert_eq!(terminal.finish().0, Some(6));
    testkit::eventually("both hooks", 20, || {
        let told = fs::read_to_string(&told).unwrap_or_default();
        (told.contains("\"creating\"") && told.contains("\"stopped\"")).then_some(())
    });
}

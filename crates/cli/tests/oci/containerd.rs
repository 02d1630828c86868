//! containerd without Docker, from Debian's package, with hull-oci in place of runc: its shim speaks to the runtime, `ctr` to it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::{Output, Terminal, World, eventually};

/// A containerd of our own, in a mount namespace of its own: what it mounts goes with it.
struct Containerd {
    directory: PathBuf,
    /// Its namespace of names; control groups are below one of this name.
    namespace: String,
    daemon: Child,
}

impl Containerd {
    fn start() -> Self {
        let namespace = format!("hull-oci-containerd-{}", std::process::id());
        let directory = PathBuf::from("/var/tmp").join(&namespace);
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), directory.join("hull-oci"))
            .expect("a fresh directory");
        let log = File::create(directory.join("containerd.log")).expect("our own directory");
        // The Kubernetes interface wants a network configuration; the last one makes a directory in /opt.
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{0}/socket\"\n",
            directory.display()
        );
        fs::write(directory.join("config.toml"), config).expect("our own directory");
        let mut command = Command::new("unshare");
        command.args(["--mount", "containerd", "--config"]).arg(directory.join("config.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let daemon = command.spawn().expect("unshare is part of Debian");
        let containerd = Self { directory, namespace, daemon };
        eventually("containerd (`cargo xtask setup` installs it with docker.io)", 60, || {
            (containerd.ctr(["version"]).status == Some(0)).then_some(())
        });
        containerd
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.directory.join("socket")).args(["--namespace", &self.namespace]);
        command.args(args).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn ctr<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        Output::of(&mut self.command(args))
    }

    /// `ctr run` with hull-oci and `flags`, of the image, under the name `id`.
    fn run_command(&self, flags: &[&str], id: &str, program: &[&str]) -> Command {
        let mut command = self.command(["run", "--fifo-dir"]);
        command.arg(self.directory.join("fifos"));
        command.arg("--runc-binary").arg(self.directory.join("hull-oci"));
        command.arg("--runc-root").arg(self.directory.join("runtime")).args(flags);
        command.arg(IMAGE).arg(id).args(program);
        command
    }

    fn run(&self, flags: &[&str], id: &str, program: &[&str]) -> Output {
        Output::of(&mut self.run_command(flags, id, program))
    }

    /// `ctr task exec` in `web`.
    fn exec(&self, id: &str, flags: &[&str], program: &[&str]) -> Output {
        let mut command = self.command(["task", "exec", "--fifo-dir"]);
        command
            .arg(self.directory.join("fifos"))
            .args(["--exec-id", id])
            .args(flags)
            .arg("web")
            .args(program);
        Output::of(&mut command)
    }

    fn status(&self, id: &str) -> String {
        let list = self.ctr(["task", "list"]).success().stdout;
        let line = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut of_id = line.filter(|words| words.first() == Some(&id));
        of_id.next().and_then(|words| words.last().map(|word| (*word).to_owned())).unwrap_or_default()
    }
}

const IMAGE: &str = "docker.io/library/busybox:latest";

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in self.ctr(["container", "list", "--quiet"]).stdout.split_whitespace() {
            self.ctr(["task", "kill", "--signal", "SIGKILL", id]);
            self.ctr(["task", "delete", "--force", id]);
            self.ctr(["container", "delete", id]);
        }
        let _ = sys::process::kill(self.daemon.id() as i32, 15);
        let _ = self.daemon.wait();
        // It makes this group for its namespace and leaves it, as it does with runc.
        for group in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(group.path().join(&self.namespace));
        }
        let _ = fs::remove_dir(PathBuf::from("/sys/fs/cgroup").join(&self.namespace));
        let removed = fs::remove_dir_all(&self.directory);
        assert!(
            std::thread::panicking() || removed.is_ok(),
            "containerd left something in {}",
            self.directory.display()
        );
    }
}

#[test]
fn tasks_are_run_entered_limited_paused_killed_and_deleted() {
    let containerd = Containerd::start();
    // What we save, it imports.
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let archive = world.scratch().join("busybox.tar").display().to_string();
    world.hull(["save", "--output", &archive, "busybox"]).success();
    containerd.ctr(["image", "import", &archive]).success();

    assert_eq!(containerd.run(&["--rm"], "once", &["sh", "-c", "id -u; exit 5"]).status(5).text(), "0");
    containerd.run(&["--rm"], "missing", &["nosuch"]).status(1).says("executable file not found in $PATH");
    containerd.ctr(["container", "delete", "missing"]);

    let flags = ["--detach", "--memory-limit", "67108864"];
    containerd.run(&flags, "web", &["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"]).success();
    let state = containerd.directory.join("runtime").join(&containerd.namespace).join("web/state.json");
    assert!(state.exists(), "it is ours");
    assert_eq!(containerd.status("web"), "RUNNING");
    let metrics = containerd.ctr(["task", "metrics", "web"]).success().stdout;
    assert!(metrics.contains("67108864"), "{metrics}");
    let exec =
        containerd.exec("one", &["--user", "1000", "--cwd", "/tmp"], &["sh", "-c", "id -u; pwd; exit 3"]);
    assert_eq!(exec.status(3).text(), "1000\n/tmp");
    containerd.exec("two", &[], &["nosuch"]).status(1).says("executable file not found in $PATH");
    containerd.exec("three", &["--detach"], &["sleep", "999"]).success();
    assert!(containerd.ctr(["task", "ps", "web"]).success().stdout.lines().count() >= 3);

    containerd.ctr(["task", "pause", "web"]).success();
    assert_eq!(containerd.status("web"), "PAUSED");
    containerd.ctr(["task", "resume", "web"]).success();
    assert_eq!(containerd.status("web"), "RUNNING");
    containerd.ctr(["task", "delete", "web"]).status(1);
    containerd.ctr(["task", "kill", "web"]).success();
    eventually("the end of the task", 20, || (containerd.status("web") == "STOPPED").then_some(()));
    containerd.ctr(["task", "delete", "web"]).success().says("exit code 7");
    assert!(!state.exists());
    containerd.ctr(["container", "delete", "web"]).success();

    // `ctr` tells the size once the program runs.
    let script = "tty; until [ \"$(stty size)\" = '40 100' ]; do sleep 0.1; done; echo sized; read x; echo got $x; exit 6";
    let script = ["sh", "-c", script];
    let mut terminal = Terminal::start(&containerd.run_command(&["--rm", "--tty"], "tty", &script));
    terminal.expect("/dev/pts/0");
    terminal.expect("sized");
    terminal.send("this\n");
    terminal.expect("got this");
    assert_eq!(terminal.finish().0, Some(6));
}

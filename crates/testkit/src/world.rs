//! Roots of their own for one test, and the binary that works in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::fixtures;
use crate::leaks::Snapshot;
use crate::output::Output;
use crate::terminal::Terminal;

/// One test's hull: its binary and two roots nobody else uses.
pub struct World {
    binary: PathBuf,
    directory: PathBuf,
    run_root: PathBuf,
    /// Leave the roots for a look at them; set by `HULL_TEST_KEEP`.
    keep: bool,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl World {
    /// Makes fresh roots for `binary`, usually `env!("CARGO_BIN_EXE_hull")`.
    pub fn new(binary: &str) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // Of one length: no name may be the beginning of another, by which the leak check would take one for the other.
        let unique = format!("hull-test-{}-{number:04}", std::process::id());
        let directory = Path::new("/var/tmp").join(&unique);
        let run_root = Path::new("/run").join(&unique);
        fs::create_dir_all(directory.join("data")).expect("/var/tmp is writable");
        fs::create_dir_all(&run_root).expect("/run is writable");
        let accept = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        fs::write(directory.join("policy.json"), accept).expect("/var/tmp is writable");
        Self {
            binary: binary.into(),
            directory,
            run_root,
            keep: std::env::var_os("HULL_TEST_KEEP").is_some(),
        }
    }

    /// Fresh roots with the image `busybox:latest` in them.
    pub fn with_busybox(binary: &str) -> Self {
        let world = Self::new(binary);
        let archive = fixtures::busybox_tar();
        world.hull(["import", &archive.to_string_lossy(), "busybox:latest"]).success();
        world
    }

    /// The data root.
    pub fn data_root(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The run root.
    pub fn run_root(&self) -> &Path {
        &self.run_root
    }

    /// A directory for the test's own files, gone with the world.
    pub fn scratch(&self) -> PathBuf {
        let path = self.directory.join("scratch");
        fs::create_dir_all(&path).expect("our own directory");
        path
    }

    /// Where `hull` and `docker` keep this world's credentials.
    pub fn docker_config(&self) -> PathBuf {
        self.directory.join("docker")
    }

    /// Writes a file beneath [`World::scratch`], its directories included, and returns its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.scratch().join(name);
        fs::create_dir_all(path.parent().expect("it has a file name")).expect("our own directory");
        fs::write(&path, content).expect("our own directory");
        path
    }

    /// `hull` with `args`, not started yet.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(self.scratch());
        command.env("HULL_ROOT", self.data_root()).env("HULL_RUN_ROOT", &self.run_root).stdin(Stdio::null());
        // Credentials, engines and policy of whoever runs the tests are none of theirs.
        command.env_remove("HULL_HOST").env_remove("HULL_CONTEXT");
        command
            .env("DOCKER_CONFIG", self.docker_config())
            .env("HULL_POLICY", self.directory.join("policy.json"));
        command
    }

    /// Runs `hull` with `args` to its end.
    pub fn hull<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        let mut command = self.command(args);
        let line = format!("{command:?}");
        Output::new(line, command.output().expect("the binary was built"))
    }

    /// Runs `hull` with `args` and `input` on its standard input.
    pub fn hull_with_input<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Output {
        crate::output::with_input(self.command(args), input)
    }

    /// Starts `hull` with `args` and leaves it running.
    pub fn spawn<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        let mut command = self.command(args);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running { line: format!("{command:?}"), child: Some(child.expect("the binary was built")) }
    }

    /// Starts `hull` with `args` on a terminal.
    pub fn terminal<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Terminal {
        Terminal::start(&self.command(args))
    }

    /// `hull inspect -f template name`, trimmed.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.hull(["inspect", "-f", template, name]).success().text().to_owned()
    }

    fn instance_marks(&self) -> Vec<String> {
        let mut marks = vec![self.directory.display().to_string(), self.run_root.display().to_string()];
        let info = self.hull(["info", "--format", "{{.Instance}}"]);
        if info.status == Some(0) && !info.text().is_empty() {
            marks.push(format!("hull-{}", info.text()));
        }
        let networks = self.hull(["network", "ls", "--quiet", "--no-trunc"]);
        for id in networks.stdout.lines().filter_map(|id| id.get(..11)) {
            let bridge = format!("hb-{id}");
            let ports = fs::read_dir(Path::new("/sys/class/net").join(&bridge).join("brif"));
            let ports = ports.into_iter().flatten().flatten();
            marks.extend(ports.map(|port| format!("link {}", port.file_name().to_string_lossy())));
            marks.push(format!("link {bridge}"));
        }
        marks
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keep {
            eprintln!(
                "kept: HULL_ROOT={} HULL_RUN_ROOT={}",
                self.data_root().display(),
                self.run_root.display()
            );
            return;
        }
        let marks = self.instance_marks();
        let reset = self.hull(["system", "reset", "--force"]);
        let left = Snapshot::of(&marks).since(&Snapshot::default());
        let cleaned = [&self.directory, &self.run_root].map(fs::remove_dir_all);
        if std::thread::panicking() {
            return;
        }
        assert_eq!(reset.status, Some(0), "{reset}");
        assert!(left.is_empty(), "left on the host:\n{left}");
        for result in cleaned {
            result.expect("nothing is mounted or busy in the roots");
        }
    }
}

/// A command that was left running.
pub struct Running {
    line: String,
    /// Taken by [`Running::finish`].
    child: Option<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The test is failing; what it left running must not outlive it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it has not been waited for").id()
    }

    /// Its standard input.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.as_mut()?.stdin.take()
    }

    /// Sends `signal` (a name such as `INT`) to it.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill is part of Debian").success());
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Output {
        let mut child = self.child.take().expect("it is waited for once");
        drop(child.stdin.take());
        Output::new(std::mem::take(&mut self.line), child.wait_with_output().expect("it was started"))
    }
}

/// How long a test waits for what takes less than `seconds` on a real machine: an emulated one sets `HULL_TEST_PATIENCE` to how many
/// times longer it may take there.
pub fn patience(seconds: u64) -> Duration {
    let times = std::env::var("HULL_TEST_PATIENCE").ok().and_then(|times| times.parse().ok());
    Duration::from_secs(seconds * times.unwrap_or(1))
}

/// Asks `probe` until it answers or its [`patience`] of `seconds` is over; panics with `what` then.
#[track_caller]
pub fn eventually<T>(what: &str, seconds: u64, mut probe: impl FnMut() -> Option<T>) -> T {
    let limit = patience(seconds);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "after {} s still not: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

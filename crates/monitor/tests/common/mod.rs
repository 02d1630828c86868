//! One container of its own for each test: directories, a plan, a sealed monitor program, and a look at what is left.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use monitor::client::{self, AttachOptions, Client, Frame, LaunchFailure, Launched};
use monitor::logs::{Query, Stream};
use monitor::plan::{LaunchPlan, LogPlan, Networking, RestartPolicy, Users};
use monitor::state::{Observed, State};
use runtime::{Rootfs, UserSpec};

/// A container that nobody else knows.
pub struct Box {
    pub dir: PathBuf,
    pub run_dir: PathBuf,
    pub data_dir: PathBuf,
    pub plan: LaunchPlan,
}

impl Box {
    /// A container that runs `script` with BusyBox's shell.
    pub fn new(name: &str, script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("hull-monitor-{unique}-{name}"));
        let id = format!("{name}{unique}").replace('-', "");
        let (run_dir, data_dir) = (dir.join("run").join(&id), dir.join("data").join(&id));
        for path in [dir.join("run"), data_dir.join("upper"), data_dir.join("work")] {
            fs::create_dir_all(path).unwrap();
        }
        let mut spec = runtime::default_spec();
        let process = spec.process.as_mut().unwrap();
        process.args = ["sh", "-c", script].map(str::to_owned).to_vec();
        let plan = LaunchPlan {
            users: Users::Own { required: true },
            own_files: Vec::new(),
            version: monitor::plan::VERSION,
            id: id.clone(),
            name: name.to_owned(),
            image: "busybox".to_owned(),
            labels: Default::default(),
            spec,
            user: UserSpec::Ids,
            extra_groups: Vec::new(),
            rootfs: Rootfs::Overlay {
                lower: vec![rootfs().to_owned()],
                upper: data_dir.join("upper"),
                work: data_dir.join("work"),
                volatile: true,
            },
            seccomp: Default::default(),
            cgroup: format!("hull-test{unique}/{id}"),
            cgroup_path: None,
            network: Networking::Private {
                context: net::Context { instance: "0000test".to_owned(), run: dir.join("networks") },
                endpoints: Vec::new(),
                publish: Vec::new(),
                dns_servers: Vec::new(),
            },
            log: LogPlan::json_file(data_dir.join("container.log")),
            restart: RestartPolicy::No,
            health: None,
            stop_signal: 15,
            stop_timeout_s: 10,
            tty: false,
            console_size: None,
            open_stdin: false,
            stdin_once: false,
            init: false,
            auto_remove: false,
            reap: vec!["hull".into(), "reap".into(), dir.join("reaped").display().to_string()],
            data_dir: data_dir.clone(),
            events: dir.join("events.jsonl"),
            uses: Vec::new(),
        };
        Self { dir, run_dir, data_dir, plan }
    }

    pub fn try_launch(&self, attach: Option<AttachOptions>) -> Result<Launched, LaunchFailure> {
        client::launch(program(), &self.run_dir, &self.plan, attach)
    }

    pub fn launch(&self) -> Launched {
        self.try_launch(None).unwrap_or_else(|e| panic!("{}", diag::render(&e.into())))
    }

    pub fn client(&self) -> Client {
        client::connect(&self.run_dir).unwrap()
    }

    pub fn observe(&self) -> Observed {
        monitor::state::read(&self.run_dir, &self.data_dir).unwrap()
    }

    /// Polls until the state is as `wanted` says.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = self.observe().state;
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {state:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing runs any more and returns the final state.
    pub fn wait_end(&self) -> State {
        if let Ok(mut client) = client::connect(&self.run_dir) {
            let _ = client.wait();
        }
        client::wait_released(&self.run_dir).unwrap();
        self.observe().state
    }

    /// Everything logged, both streams.
    pub fn log(&self) -> String {
        let lines = monitor::logs::read(&self.data_dir.join("container.log"), Query::default()).unwrap();
        lines.map(|line| String::from_utf8(line.unwrap().text).unwrap()).collect()
    }

    /// The actions of all events so far.
    pub fn events(&self) -> Vec<String> {
        let window = monitor::events::Window { since_ns: Some(0), until_ns: Some(monitor::time::now_ns()) };
        let events = monitor::events::follow(&self.plan.events, window).unwrap();
        events.map(|event| event.unwrap().action).collect()
    }

    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let wanted = self.plan.cgroup.split('/').next().unwrap();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            for entry in fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(wanted) {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        if let Ok(mut client) = client::connect(&self.run_dir) {
            let _ = client.stop(client::StopOptions { signal: Some(9), timeout_s: Some(0) });
        }
        let _ = client::wait_released(&self.run_dir);
        let _ = monitor::recover(&self.run_dir);
        let left = self.cgroups();
        let _ = fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left: {left:?}");
        }
    }
}

/// Reads an attached stream to its end: stdout, stderr, exit code.
pub fn read_all(launched: Launched) -> (String, String, Option<i32>) {
    let (mut reader, _writer) = launched.stream.unwrap().split();
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(frame) = reader.next_frame().unwrap() {
        match frame {
            Frame::Output(Stream::Stdout, bytes) => out.extend(bytes),
            Frame::Output(Stream::Stderr, bytes) => err.extend(bytes),
            Frame::Exited(ended) => code = Some(ended.code),
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

pub const ATTACH: AttachOptions =
    AttachOptions { stdin: true, stdout: true, stderr: true, size: None, will_remove: false };

/// A root filesystem around BusyBox, shared by all tests and kept in the build directory.
fn rootfs() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("monitor-rootfs");
        if !root.exists() {
            let new = root.with_extension(std::process::id().to_string());
            testkit::busybox_rootfs(&new);
            if fs::rename(&new, &root).is_err() {
                fs::remove_dir_all(&new).unwrap();
            }
        }
        root
    })
}

/// The monitor program: the example beside this test, on a sealed mount as hull itself would be.
fn program() -> BorrowedFd<'static> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let example = test.parent().unwrap().parent().unwrap().join("examples/monitor");
        assert!(example.exists(), "run all tests, or `cargo build -p monitor --examples` first");
        let tree = sys::mount::Tree::copy(&example, sys::mount::Depth::One).unwrap();
        let change = sys::mount::Change::set(sys::mount::Attributes::READ_ONLY);
        tree.change(change, sys::mount::Depth::One).unwrap();
        tree.into_fd()
    });
    program.as_fd()
}

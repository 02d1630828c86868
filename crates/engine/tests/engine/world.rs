//! Roots of their own, an image, and a look at what is left in the end.

use engine::model::{ContainerSpec, ExecSpec, ListOptions, NetworkMode, RemoveOptions};
use engine::{Engine, Roots};
use monitor::client::{AttachOptions, Frame};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use testkit::Snapshot;

/// An engine with one image, `busybox:latest`.
pub struct World {
    pub engine: Engine,
    pub roots: Roots,
    base: PathBuf,
    before: Option<Snapshot>,
    marks: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let base = std::env::temp_dir().join(format!("engine-{}-{}", std::process::id(), serial()));
        std::fs::create_dir_all(&base).expect("a temporary directory");
        let roots = Roots::new(
            base.join("data"),
            PathBuf::from(format!("/run/hull-engine-{}-{}", std::process::id(), serial())),
        );
        let marks = vec![
            format!("hull-{}", roots.instance()),
            base.display().to_string(),
            roots.run.display().to_string(),
        ];
        let before = Snapshot::of(&marks);
        let engine = Engine::open(&roots).expect("open");
        import(&engine);
        Self { engine, roots, base, before: Some(before), marks }
    }

    /// A file or directory in the test's scratch space.
    pub fn path(&self, name: &str) -> PathBuf {
        let scratch = self.base.join("scratch");
        std::fs::create_dir_all(&scratch).expect("our own directory");
        scratch.join(name)
    }

    /// Runs to the end, attached, and returns the exit code and the output.
    pub fn run(&self, spec: ContainerSpec) -> (i32, String) {
        let remove = spec.auto_remove;
        let attach = AttachOptions { stdout: true, stderr: true, ..Default::default() };
        let (created, mut stream) =
            self.engine.run_attached(spec, attach).unwrap_or_else(|e| panic!("{}", diag::render(&e.into())));
        let (mut output, mut code) = (Vec::new(), -1);
        while let Some(frame) = stream.reader.next_frame().expect("the stream") {
            match frame {
                Frame::Output(_, bytes) => output.extend(bytes),
                Frame::Exited(ended) => {
                    code = ended.code;
                    if remove {
                        stream.writer.reaping().expect("the monitor is there");
                    }
                }
            }
        }
        if remove {
            self.engine.finish_run(&created.id).expect("finish_run");
        }
        (code, String::from_utf8_lossy(&output).into_owned())
    }

    /// Waits until the container has written `lines` lines.
    pub fn ready(&self, name: &str, lines: usize) {
        testkit::eventually("the container speaks", 10, || {
            let count = self.engine.logs(name, &Default::default()).expect("the log").count();
            (count >= lines).then_some(())
        });
    }

    /// Runs `sh -c script` with `--rm --network none` and returns its output; it must succeed.
    pub fn sh(&self, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> String {
        let mut spec = isolated(&["sh", "-c", script]);
        spec.auto_remove = true;
        change(&mut spec);
        let (code, output) = self.run(spec);
        assert_eq!(code, 0, "{script}: {output}");
        output
    }

    /// A whole `run --rm` in a process of its own.
    pub fn spawn_run(&self, network: &str, argv: &[&str]) -> std::process::Child {
        std::process::Command::new(std::env::current_exe().expect("we run"))
            .arg("run")
            .args([&self.roots.data, &self.roots.run])
            .arg(network)
            .args(argv)
            .spawn()
            .expect("we can run ourselves")
    }

    /// Executes `argv` in a container through a process of its own; returns its status and output.
    pub fn exec(&self, name: &str, argv: &[&str]) -> (i32, String) {
        let output = std::process::Command::new(std::env::current_exe().expect("we run"))
            .arg("exec")
            .args([&self.roots.data, &self.roots.run])
            .arg(name)
            .args(argv)
            .output()
            .expect("we can run ourselves");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let all = ListOptions { all: true, ..Default::default() };
        if let Ok(containers) = self.engine.list(&all) {
            let names: Vec<String> = containers.iter().map(|c| c.id.to_string()).collect();
            let removed = self.engine.remove_many(&names, &RemoveOptions { force: true, volumes: true });
            for result in removed {
                if let Err(error) = result {
                    eprintln!("while cleaning up: {}", diag::render(&error));
                }
            }
        }
        let _ = net::remove_all(self.engine.net_context());
        let _ = std::fs::remove_dir_all(&self.roots.run);
        let _ = std::fs::remove_dir_all(&self.base);
        if std::thread::panicking() {
            return;
        }
        let before = self.before.take().expect("it is taken once");
        testkit::eventually("nothing is left", 5, || {
            let leaks = Snapshot::of(&self.marks).since(&before);
            leaks.is_empty().then_some(())
        });
    }
}

fn serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn import(engine: &Engine) {
    let mut tar = std::fs::File::open(testkit::busybox_tar()).expect("the fixture");
    let options = image::ImportOptions {
        changes: vec!["CMD [\"sh\"]".into()],
        reference: Some(oci::Reference::parse("busybox").expect("a reference")),
        ..Default::default()
    };
    engine.images().import(&mut tar, &options).expect("import");
}

/// A request for `argv` in the BusyBox image on the default network.
pub fn bridged(argv: &[&str]) -> ContainerSpec {
    let mut spec = ContainerSpec { image: "busybox".into(), ..Default::default() };
    spec.process.command = Some(argv.iter().map(|&arg| arg.to_owned()).collect());
    spec
}

/// As [`bridged`], without a network.
pub fn isolated(argv: &[&str]) -> ContainerSpec {
    let mut spec = bridged(argv);
    spec.network.mode = NetworkMode::None;
    spec
}

/// `sleep` that ends at once when it is asked to, once it has said that it is ready: before that PID 1 ignores the signal.
pub fn sleeper() -> ContainerSpec {
    isolated(&["sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait"])
}

/// The hidden command of these tests: `exec <data> <run> <container> <argv>…`.
pub fn exec_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    runtime::seal::ensure().expect("we can execute ourselves");
    let args: Vec<OsString> = args.collect();
    let [data, run, name, argv @ ..] = args.as_slice() else { return ExitCode::from(125) };
    let engine = Engine::open(&Roots::new(Path::new(data), Path::new(run))).expect("open");
    let command = argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let exec = ExecSpec { command, ..Default::default() };
    match engine.exec(&name.to_string_lossy(), &exec, runtime::Stdio::Inherit) {
        Ok(process) => ExitCode::from(process.wait().expect("our child").status() as u8),
        Err(error) => {
            let failure = diag::Failure::from(error);
            eprintln!("{}", diag::render(&failure));
            ExitCode::from(diag::exit_status(diag::ExitTable::Process, &failure))
        }
    }
}

/// The hidden command of these tests that is a whole `run --rm`: `run <data> <run> <network mode> <argv>…`; without
/// arguments for the container it makes the image.
pub fn run_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [data, run, network, argv @ ..] = args.as_slice() else { return ExitCode::from(125) };
    let engine = Engine::open(&Roots::new(Path::new(data), Path::new(run))).expect("open");
    if argv.is_empty() {
        import(&engine);
        return ExitCode::SUCCESS;
    }
    let argv: Vec<String> = argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut spec = bridged(&argv.iter().map(String::as_str).collect::<Vec<_>>());
    spec.network.mode = engine::parse::network(&network.to_string_lossy()).expect("a network mode");
    spec.auto_remove = true;
    let attach = AttachOptions { stdout: true, stderr: true, ..Default::default() };
    let (created, mut stream) = match engine.run_attached(spec, attach) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{}", diag::render(&error.into()));
            return ExitCode::from(125);
        }
    };
    let mut code = 0;
    while let Some(frame) = stream.reader.next_frame().expect("the stream") {
        if let Frame::Exited(ended) = frame {
            code = ended.code;
            stream.writer.reaping().expect("the monitor is there");
        }
    }
    engine.finish_run(&created.id).expect("finish_run");
    ExitCode::from(code as u8)
}

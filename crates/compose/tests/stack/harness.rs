//! A test program that is its own monitor: roots of its own for each test, and a reporter that remembers.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use compose::{
    DownOptions, Interrupt, LoadOptions, LogLine, Object, Paint, Project, Reporter, Stack, Status,
};
use engine::model::Filters;
use engine::{Engine, Roots};

pub struct Test(pub fn(&World));

/// Is a helper of the engine when called as one; otherwise runs the tests whose names contain an argument.
pub fn main(tests: &[(&str, Test)]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("monitor") => return monitor::main(env::args_os().skip(2)),
        Some("reap") => return engine::reap_main(env::args_os().skip(2)),
        Some("build-step") => return build::step_main(env::args_os().skip(2)),
        _ => {}
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let chosen = tests.iter().filter(|(name, _)| {
        wanted.is_empty()
            || wanted.iter().any(|text| if exact { name == text } else { name.contains(text.as_str()) })
    });
    if arguments.iter().any(|argument| argument == "--list") {
        // nextest asks once more for ignored tests, of which there are none.
        let ignored = arguments.iter().any(|argument| argument == "--ignored");
        chosen.filter(|_| !ignored).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new().run(test)));
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        match outcome {
            Ok(()) => passed += 1,
            Err(_) => failed += 1,
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Roots nobody else uses, with the image `busybox` in them.
pub struct World {
    directory: PathBuf,
    run: PathBuf,
    pub engine: Engine,
}

impl World {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let unique = format!("hull-test-compose-{}-{count}", std::process::id());
        let directory = PathBuf::from("/var/tmp").join(&unique);
        let run = PathBuf::from("/run").join(&unique);
        fs::create_dir_all(directory.join("app")).unwrap();
        fs::create_dir_all(&run).unwrap();
        let engine = Engine::open(&Roots::new(directory.join("data"), &run)).unwrap();
        let mut archive = fs::File::open(testkit::busybox_tar()).unwrap();
        let reference = "busybox".parse().unwrap();
        let options = image::ImportOptions { reference: Some(reference), ..Default::default() };
        engine.images().import(&mut archive, &options).unwrap();
        Self { directory, run, engine }
    }

    fn run(self, test: &Test) {
        let outcome = catch_unwind(AssertUnwindSafe(|| (test.0)(&self)));
        let project = Project::bare("app");
        let held = self.stack(&project);
        let down =
            held.get().down(&DownOptions { remove_orphans: true, volumes: true, ..DownOptions::default() });
        drop(held);
        let marks = [
            self.directory.display().to_string(),
            self.run.display().to_string(),
            format!("hull-{}", self.engine.instance()),
        ];
        let reset = self.engine.reset();
        let left = testkit::Snapshot::of(&marks).since(&testkit::Snapshot::default());
        let cleaned = [&self.directory, &self.run].map(fs::remove_dir_all);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        down.unwrap();
        reset.unwrap();
        assert!(left.is_empty(), "left on the host:\n{left}");
        cleaned.into_iter().for_each(|result| result.unwrap());
    }

    pub fn scratch(&self) -> PathBuf {
        self.directory.join("app")
    }

    pub fn file(&self, name: &str, text: &str) {
        let path = self.scratch().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The project `app` as `file` describes it.
    pub fn project(&self, file: &str) -> Project {
        self.file("compose.yaml", file);
        let options = LoadOptions {
            working_directory: self.scratch(),
            environment: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
            ..LoadOptions::default()
        };
        Project::load(&options).unwrap_or_else(|error| panic!("{}", diag::render(&error.into())))
    }

    pub fn stack<'a>(&'a self, project: &'a Project) -> Held<'a> {
        Held { engine: &self.engine, project, memory: Memory::default(), interrupt: Interrupt::default() }
    }

    /// Names of networks besides those that always exist.
    pub fn networks(&self) -> Vec<String> {
        let all = self.engine.networks(&Filters::default()).unwrap();
        all.into_iter().filter(|network| !network.is_predefined()).map(|network| network.name).collect()
    }

    pub fn volumes(&self) -> Vec<String> {
        let all = self.engine.volumes(&Filters::default()).unwrap();
        let mut names: Vec<String> = all.into_iter().map(|volume| volume.name).collect();
        names.sort();
        names
    }
}

/// A stack with everything it borrows.
pub struct Held<'a> {
    engine: &'a Engine,
    project: &'a Project,
    memory: Memory,
    pub interrupt: Interrupt,
}

impl Held<'_> {
    pub fn get(&self) -> Stack<'_> {
        Stack {
            engine: self.engine,
            project: self.project,
            reporter: &self.memory,
            interrupt: &self.interrupt,
        }
    }

    /// What was reported since the last call: `Container app-a-1 Started`.
    pub fn progress(&self) -> Vec<String> {
        std::mem::take(&mut self.memory.progress.lock().unwrap())
    }

    pub fn warnings(&self) -> Vec<String> {
        self.memory.warnings.lock().unwrap().clone()
    }

    pub fn lines_so_far(&self) -> Vec<String> {
        self.memory.lines.lock().unwrap().clone()
    }

    /// Log lines since the last call.
    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.memory.lines.lock().unwrap())
    }
}

#[derive(Default)]
struct Memory {
    progress: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
    lines: Mutex<Vec<String>>,
}

impl Reporter for Memory {
    fn progress(&self, object: Object<'_>, status: Status<'_>) {
        let line = format!("{} {} {}", object.kind.as_str(), object.name, status.word());
        self.progress.lock().unwrap().push(line);
    }

    fn warning(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }

    fn log(&self, line: &LogLine<'_>) {
        let text = Paint { color: false, prefix: true, timestamps: false }.render(line);
        self.lines.lock().unwrap().push(String::from_utf8_lossy(&text).trim_end().to_owned());
    }

    fn build(&self, _: &str) -> Arc<dyn build::Progress> {
        Arc::new(build::NoProgress)
    }
}

pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "after 10 s still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

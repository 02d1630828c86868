//! OCI runtimes on the same bundle.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, command, compare, timed, timed_within};
use crate::bench::peers::{OneHierarchy, find};
use crate::run;

pub fn run_plain(bench: &Bench) -> Result<(), String> {
    Bundles::prepare(bench)?.compare("plain")
}

pub fn run_with_users(bench: &Bench) -> Result<(), String> {
    Bundles::prepare(bench)?.compare("users")
}

pub fn memory_of_create(bench: &Bench) -> Result<(), String> {
    let bundles = Bundles::prepare(bench)?;
    for runtime in bundles.runtimes() {
        let peaks = (0..5).map(|_| {
            let peak = bundles.peak_kib(&runtime)?;
            timed(&mut bundles.delete(&runtime)).map(|_| peak)
        });
        match peaks.collect::<Result<Vec<_>, _>>() {
            Ok(peaks) => {
                println!("  {:<44} {:>10} KiB at most", runtime.name, peaks.iter().max().unwrap_or(&0))
            }
            Err(reason) if runtime.program == bench.hull => return Err(reason),
            Err(reason) => println!("  {}: not measured: {reason}", runtime.name),
        }
    }
    Ok(())
}

/// One root filesystem with a configuration that runs `true`, and the same with a user namespace.
struct Bundles<'a> {
    bench: &'a Bench,
    namespace: OneHierarchy,
    directory: PathBuf,
}

struct Runtime {
    name: &'static str,
    program: PathBuf,
    /// How often it had to be killed.
    hung: Cell<u32>,
}

/// A foreground run of `true` that takes so long never ends: youki's, when the program ends before it looks for the end.
const LIMIT: Duration = Duration::from_secs(1);

impl<'a> Bundles<'a> {
    fn prepare(bench: &'a Bench) -> Result<Self, String> {
        let directory = bench.directory.join("runtimes");
        let bundles = Self { bench, namespace: OneHierarchy::new()?, directory };
        for (name, users) in [("plain", false), ("users", true)] {
            bundles.bundle(name, users)?;
        }
        Ok(bundles)
    }

    fn bundle(&self, name: &str, users: bool) -> Result<(), String> {
        const MAPS: &str = r#""uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "namespaces": [{"type": "user"}, "#;
        let bundle = self.directory.join(name);
        if bundle.exists() {
            return Ok(());
        }
        let failed = |error: std::io::Error| format!("{}: {error}", bundle.display());
        fs::create_dir_all(bundle.join("rootfs")).map_err(failed)?;
        testkit::busybox_rootfs(&bundle.join("rootfs"));
        run(self.bench.hull(["oci", "spec"]).arg("--bundle").arg(&bundle))?;
        let path = bundle.join("config.json");
        let mut config = fs::read_to_string(&path).map_err(failed)?;
        // The version is one that all of them know.
        for (from, to) in
            [("\"terminal\": true", "\"terminal\": false"), ("\"sh\"", "\"true\""), ("1.3.0", "1.0.2")]
        {
            config = config.replacen(from, to, 1);
        }
        if users {
            config = config.replacen("\"namespaces\": [", MAPS, 1);
        }
        fs::write(&path, config).map_err(failed)
    }

    /// hull first, then whichever others are installed.
    fn runtimes(&self) -> Vec<Runtime> {
        let runtime = |name, program| Runtime { name, program, hung: Cell::new(0) };
        let mut all = vec![runtime("hull oci", self.bench.hull.clone())];
        let packaged = ["crun", "runc"].into_iter().filter(|name| able(name, &find(name)).is_some());
        all.extend(packaged.map(|name| runtime(name, PathBuf::from(name))));
        all.extend(able("youki", self.bench.youki()).map(|program| runtime("youki", program.clone())));
        all
    }

    /// The runtime, to be called inside the namespace, behind `before`.
    fn call(&self, runtime: &Runtime, before: &[&str]) -> Command {
        let mut words: Vec<&Path> = before.iter().map(Path::new).collect();
        words.push(&runtime.program);
        let mut command = self.namespace.command(&words[0].display().to_string());
        command.args(&words[1..]);
        if runtime.name == "hull oci" {
            command.arg("oci");
        }
        command.arg("--root").arg(self.directory.join(format!("state-{}", runtime.name)));
        command
    }

    fn delete(&self, runtime: &Runtime) -> Command {
        let mut command = self.call(runtime, &[]);
        command.args(["delete", "--force", "bench"]);
        command
    }

    fn compare(&self, bundle: &'static str) -> Result<(), String> {
        let runtimes = self.runtimes();
        let mut candidates = Vec::new();
        for runtime in &runtimes {
            candidates.push(Candidate {
                name: format!("{} run (in nsenter)", runtime.name),
                once: Box::new(|| self.run_to_its_end(runtime, bundle)),
            });
        }
        candidates.push(command("  of which nsenter", || self.namespace.command("true")));
        compare(60, candidates)?;
        for runtime in runtimes.iter().filter(|runtime| runtime.hung.get() > 0) {
            println!("  {}: {} more runs hung and were killed", runtime.name, runtime.hung.get());
        }
        Ok(())
    }

    /// Runs `bundle` until a run ends.
    fn run_to_its_end(&self, runtime: &Runtime, bundle: &str) -> Result<Duration, String> {
        const ATTEMPTS: u32 = 20;
        for _ in 0..ATTEMPTS {
            let mut command = self.call(runtime, &[]);
            command.args(["run", "--bundle"]).arg(self.directory.join(bundle)).arg("bench");
            if let Some(took) = timed_within(LIMIT, &mut command)? {
                return Ok(took);
            }
            runtime.hung.set(runtime.hung.get() + 1);
            timed(&mut self.delete(runtime))?;
        }
        Err(format!("it hung {ATTEMPTS} times in a row"))
    }

    /// The most memory the runtime itself holds while it creates the container, which stays.
    fn peak_kib(&self, runtime: &Runtime) -> Result<u64, String> {
        let peak = self.directory.join("peak");
        let mut command =
            self.call(runtime, &["time", "--format=%M", "--output", &peak.display().to_string()]);
        command.args(["create", "--bundle"]).arg(self.directory.join("plain")).arg("bench");
        // The container keeps these streams.
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => {}
            other => return Err(format!("{command:?}: {other:?}")),
        }
        let text = fs::read_to_string(&peak).map_err(|error| format!("{}: {error}", peak.display()))?;
        text.trim().parse().map_err(|_| format!("time said {text:?}"))
    }
}

//! OCI runtimes on the same bundle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, command, compare, timed};
use crate::bench::peers::{OneHierarchy, find};
use crate::run;

pub fn run_plain(bench: &Bench) -> Result<(), String> {
    let bundles = Bundles::prepare(bench)?;
    compare(60, bundles.candidates("plain"))
}

pub fn run_with_users(bench: &Bench) -> Result<(), String> {
    let bundles = Bundles::prepare(bench)?;
    compare(60, bundles.candidates("users"))
}

pub fn memory_of_create(bench: &Bench) -> Result<(), String> {
    let bundles = Bundles::prepare(bench)?;
    for runtime in bundles.runtimes() {
        let mut peaks = Vec::new();
        for _ in 0..5 {
            peaks.push(bundles.peak_kib(&runtime)?);
            timed(bundles.call(&runtime, &[]).args(["delete", "--force", "bench"]))?;
        }
        println!("  {:<44} {:>10} KiB at most", runtime.name, peaks.iter().max().unwrap_or(&0));
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
}

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
        let hull = Runtime { name: "hull oci", program: self.bench.hull.clone() };
        let others = ["crun", "runc"].into_iter().filter(|name| able(name, &find(name)).is_some());
        std::iter::once(hull)
            .chain(others.map(|name| Runtime { name, program: PathBuf::from(name) }))
            .collect()
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

    fn candidates(&self, bundle: &'static str) -> Vec<Candidate<'_>> {
        let mut candidates = Vec::new();
        for runtime in self.runtimes() {
            let name = format!("{} run (in nsenter)", runtime.name);
            candidates.push(command(&name, move || {
                let mut command = self.call(&runtime, &[]);
                command.args(["run", "--bundle"]).arg(self.directory.join(bundle)).arg("bench");
                command
            }));
        }
        candidates.push(command("  of which nsenter", || self.namespace.command("true")));
        candidates
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

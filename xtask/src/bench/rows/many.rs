//! Many containers at once: starting and removing them, and what keeping them costs.

use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, compare, timed};
use crate::bench::memory;

/// How one engine starts a container that sleeps under a name, and removes some of them by force.
struct Engine<'a> {
    name: &'static str,
    start: Box<dyn Fn(&str) -> Command + 'a>,
    remove: Box<dyn Fn() -> Command + 'a>,
}

fn engines(bench: &Bench) -> Vec<Engine<'_>> {
    let mut engines = vec![Engine {
        name: "hull",
        start: Box::new(|name| bench.hull(["run", "-d", "--name", name, "busybox", "sleep", "1000"])),
        remove: Box::new(|| bench.hull(["rm", "-f"])),
    }];
    if let Some(podman) = able("podman", &bench.podman) {
        engines.push(Engine {
            name: "podman",
            start: Box::new(|name| podman.run(["-d", "--name", name, "busybox", "sleep", "1000"])),
            remove: Box::new(|| podman.podman(["rm", "-f", "-t", "0"])),
        });
    }
    if let Some(docker) = able("docker", &bench.docker) {
        engines.push(Engine {
            name: "docker",
            start: Box::new(|name| docker.docker(["run", "-d", "--name", name, "busybox", "sleep", "1000"])),
            remove: Box::new(|| docker.docker(["rm", "-f"])),
        });
    }
    engines
}

/// Starts `commands` at once and waits for them all.
fn at_once(commands: impl Iterator<Item = Command>) -> Result<Duration, String> {
    let start = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        children.push(command.spawn().map_err(|error| error.to_string())?);
    }
    for mut child in children {
        let status = child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("a parallel start failed: {status}"));
        }
    }
    Ok(start.elapsed())
}

pub fn fifty(bench: &Bench) -> Result<(), String> {
    let names: Vec<String> = (0..50).map(|index| format!("many-{index}")).collect();
    let engines = engines(bench);
    let removals: Vec<_> = engines.iter().map(|_| RefCell::new(Vec::new())).collect();
    let up = |engine: &Engine<'_>, removals: &RefCell<Vec<Duration>>| {
        let started = at_once(names.iter().map(|name| (engine.start)(name)))?;
        removals.borrow_mut().push(timed((engine.remove)().args(&names))?);
        Ok(started)
    };
    let ups = engines.iter().zip(&removals).map(|(engine, removals)| Candidate {
        name: format!("{} run -d, 50 at once", engine.name),
        once: Box::new(move || up(engine, removals)),
    });
    compare(3, ups.collect())?;
    let downs = engines.iter().zip(&removals).map(|(engine, removals)| {
        let mut times = removals.take().into_iter();
        Candidate {
            name: format!("{} rm -f of the 50", engine.name),
            once: Box::new(move || times.next().ok_or_else(|| "its start failed".to_owned())),
        }
    });
    compare(3, downs.collect())
}

pub fn keepers(bench: &Bench) -> Result<(), String> {
    let names: Vec<String> = (0..10).map(|index| format!("idle-{index}")).collect();
    let engines = engines(bench);
    for engine in &engines {
        for name in &names {
            timed(&mut (engine.start)(name))?;
        }
    }
    // The program and, among its arguments, the root of the engine under test: others may run on this host.
    let show = |title: &str, root: &str, program: &dyn Fn(&[String]) -> bool| {
        let wanted = |words: &[String]| program(words) && words.iter().any(|word| word.contains(root));
        println!("  {title}: {}", memory::summary(&memory::shares(wanted)));
    };
    let is = |name: &'static str| {
        move |words: &[String]| words.first().is_some_and(|word| word.rsplit('/').next() == Some(name))
    };
    show("hull monitor", &bench.run_root.display().to_string(), &|words| {
        words.get(1).is_some_and(|word| word == "monitor")
    });
    if let Ok(podman) = &bench.podman {
        show("podman's conmon", &podman.directory.display().to_string(), &is("conmon"));
    }
    if let Ok(docker) = &bench.docker {
        let home = docker.home.display().to_string();
        show("docker's containerd-shim", &home, &is("containerd-shim-runc-v2"));
        show("beside them, dockerd and containerd", &home, &|words| {
            is("dockerd")(words) || is("containerd")(words)
        });
    }
    engines.iter().try_for_each(|engine| timed((engine.remove)().args(&names)).map(drop))
}

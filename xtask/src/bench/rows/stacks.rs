//! Building images and bringing up stacks.

use std::fs;
use std::process::Command;

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, command, compare, timed};

pub fn build_steps(bench: &Bench) -> Result<(), String> {
    let context = bench.directory.join("context");
    fs::create_dir_all(&context).map_err(|error| error.to_string())?;
    let dockerfile = format!("FROM busybox:latest\n{}", "RUN true\n".repeat(30));
    fs::write(context.join("Dockerfile"), dockerfile).map_err(|error| error.to_string())?;
    let context = context.display().to_string();
    let mut cached =
        vec![command("hull build, 30 steps cached", || bench.hull(["build", "-t", "steps", &context]))];
    let mut uncached = vec![command("hull build --no-cache, 30 x RUN true", || {
        bench.hull(["build", "--no-cache", "-t", "steps", &context])
    })];
    if let Some(podman) = able("podman", &bench.podman) {
        cached.push(command("podman build, 30 steps cached", || {
            podman.podman(["build", "--layers", "-t", "steps", &context])
        }));
        uncached.push(command("podman build --no-cache", || {
            podman.podman(["build", "--layers", "--no-cache", "-t", "steps", &context])
        }));
    }
    if let Some(docker) = able("docker", &bench.docker) {
        cached.push(command("docker build, 30 steps cached", || {
            docker.docker(["build", "-t", "steps", &context])
        }));
        uncached.push(command("docker build --no-cache", || {
            docker.docker(["build", "--no-cache", "-t", "steps", &context])
        }));
    }
    compare(2, uncached)?;
    compare(8, cached)
}

pub fn compose_up(bench: &Bench) -> Result<(), String> {
    let mut file = String::from("name: bench\nservices:\n");
    for index in 0..20 {
        file.push_str(&format!(
            "  s{index}: {{image: busybox, command: sleep 1000, stop_grace_period: 0s}}\n"
        ));
    }
    let path = bench.directory.join("compose.yaml");
    fs::write(&path, file).map_err(|error| error.to_string())?;
    let path = path.display().to_string();
    let mut candidates = vec![up("hull compose up -d, 20 services", &path, || bench.hull(["compose"]))];
    let docker = bench.docker.as_ref().map_err(String::clone);
    let docker = docker.and_then(|docker| docker.has_compose().map(|()| docker));
    if let Some(docker) = able("docker compose", &docker) {
        candidates.push(up("docker compose up -d", &path, || docker.docker(["compose"])));
    }
    compare(5, candidates)
}

/// Times `up -d` of the project in the file at `path`; `down` follows uncounted.
fn up<'a>(name: &str, path: &'a str, compose: impl Fn() -> Command + 'a) -> Candidate<'a> {
    let once = move || {
        let took = timed(compose().args(["-f", path, "up", "-d"]))?;
        timed(compose().args(["-f", path, "down"]))?;
        Ok(took)
    };
    Candidate { name: name.to_owned(), once: Box::new(once) }
}

//! What leaves a store: pushed to a real registry, and read back by other engines.

mod cache;
mod copy;
mod failures;
mod interrupted;
mod manifest;
mod multi;
mod push;
mod save;
mod tags;

use std::process::Command;

use testkit::{Output, Registry, World};

/// Roots of their own with an image of three layers, and a registry.
fn world() -> (World, Registry) {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    world.file("context/Dockerfile", "FROM busybox\nRUN seq 1 20000 > /numbers\nRUN echo hello > /greeting\nCMD [\"cat\", \"/greeting\"]\n");
    world.hull(["build", "-q", "-t", "app", "context"]).success();
    (world, Registry::start())
}

/// Runs skopeo on `registry`, which has no TLS.
fn skopeo(args: &[&str]) -> Output {
    Output::of(Command::new("skopeo").args(args))
}

/// The manifest that a reference names at a registry, as skopeo sees it.
fn manifest(reference: &str) -> String {
    skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]).success().stdout
}

/// The lines of a push without the twelve digits before a colon.
fn states(output: &Output) -> Vec<&str> {
    let lines = output.stdout.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(id, _)| id.len() == 12).map(|(_, state)| state).collect()
}

//! What comes from registries: pulled from a real one, and from one that lies.

mod commands;
mod hostile;
mod interrupted;
mod liar;
mod platforms;

use std::process::Command;

use testkit::{Output, Registry, World};

const HULL: &str = env!("CARGO_BIN_EXE_hull");

/// A registry with `app:1`, an image of three layers that prints a greeting, and empty roots.
fn world() -> (World, Registry) {
    let (maker, registry) = (World::with_busybox(HULL), Registry::start());
    maker.file("context/Dockerfile", "FROM busybox\nRUN seq 1 20000 > /numbers\nRUN echo hello > /greeting\nCMD [\"cat\", \"/greeting\"]\n");
    maker.hull(["build", "-q", "-t", "app", "context"]).success();
    let archive = maker.scratch().join("app.tar").display().to_string();
    maker.hull(["save", "--format", "oci-archive", "-o", &archive, "app"]).success();
    copy(&[], &format!("oci-archive:{archive}"), &registry.reference("app:1"));
    (World::new(HULL), registry)
}

/// Copies an image to a registry with skopeo.
fn copy(flags: &[&str], from: &str, to: &str) {
    let to = format!("docker://{to}");
    let fixed = ["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
    Output::of(Command::new("skopeo").args(fixed).args(flags).args([from, &to])).success();
}

/// How often blobs were asked for.
fn blobs_fetched(registry: &Registry) -> usize {
    registry.requests().iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/")).count()
}

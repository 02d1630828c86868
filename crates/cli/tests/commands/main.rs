//! The `hull` binary from outside: what is typed, what is said, which status it ends with, and what is left on the host.

mod build;
mod compose;
mod containers;
mod control;
mod disk;
mod files;
mod images;
mod limits;
mod missing;
mod mounts;
mod networks;
mod recovery;
mod settings;
mod streams;
mod supervision;
mod system;
mod terminal;
mod trouble;
mod usage;
mod users;
mod volumes;

use testkit::World;

/// Roots of their own with the image `busybox:latest`.
fn world() -> World {
    World::with_busybox(env!("CARGO_BIN_EXE_hull"))
}

/// Starts a container named `name` that sleeps until it is stopped.
#[track_caller]
fn sleeper(world: &World, name: &str, flags: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name, "--stop-signal", "KILL"];
    args.extend(flags);
    args.extend(["busybox", "sleep", "600"]);
    world.hull(args).success();
}

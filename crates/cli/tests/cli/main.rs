//! The `hull` binary as a user meets it: on the real kernel, each test with roots of its own.

mod build;
mod containers;
mod copy;
mod exec;
mod help;
mod images;
mod lifecycle;
mod limits;
mod mistakes;
mod networks;
mod registries;
mod system;
mod terminal;
mod volumes;

use testkit::World;

/// Roots of their own for the binary under test, with the image `busybox`.
fn world() -> World {
    World::with_busybox(env!("CARGO_BIN_EXE_hull"))
}

/// The same without an image.
fn empty_world() -> World {
    World::new(env!("CARGO_BIN_EXE_hull"))
}

//! Attacks on the sandbox, tried from where an attacker would be: in an image, in a container, beside one on the network, in a
//! build. `docs/security.md` says which test proves which defence.
//!
//! An attack that does nothing proves nothing: where it can be, each test first shows that the attack works on something that
//! is not defended, or counts its tries.

mod binary;
mod builds;
mod cgroups;
mod credentials;
mod descriptors;
mod devices;
mod entering;
mod exhaustion;
mod images;
mod network;
mod ownership;
mod protection;
mod races;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::World;

/// Gives a container the host's programs, Perl above all: it makes any system call, and every Debian has it.
const TOOLS: [&str; 6] = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];

/// Roots of their own with the image `busybox:latest`.
fn world() -> World {
    World::with_busybox(env!("CARGO_BIN_EXE_hull"))
}

/// Starts a container named `name` that sleeps, with the host's programs in it.
#[track_caller]
fn sleeper(world: &World, name: &str, flags: &[&str]) {
    let run = ["run", "-d", "--name", name, "--stop-signal", "KILL"];
    let program = ["busybox", "sleep", "600"];
    world.hull([&run[..], &TOOLS, flags, &program].concat()).success();
}

/// Imports an image of BusyBox in which `change` has had its way with the root directory.
fn image(world: &World, name: &str, change: impl FnOnce(&Path)) {
    let root = world.scratch().join(format!("root-of-{name}"));
    fs::create_dir(&root).expect("images have different names");
    testkit::busybox_rootfs(&root);
    change(&root);
    let archive = root.with_extension("tar");
    let tar = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.expect("tar is part of Debian").success());
    world.hull(["import", &archive.to_string_lossy(), name]).success();
}

/// A directory of the host that no container is given, with a file `secret` that says `of the host`.
fn trap(world: &World) -> PathBuf {
    world.file("trap/secret", "of the host").parent().expect("it has one").to_owned()
}

/// Fails when anything happened to [`trap`].
#[track_caller]
fn assert_untouched(trap: &Path) {
    let names: Vec<_> = fs::read_dir(trap).expect("it is there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read_to_string(trap.join("secret")).expect("it is there"), "of the host");
}

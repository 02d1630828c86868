//! Commands killed at any moment: the store is whole, the command works when it is run again, and nothing is left over.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use testkit::{Registry, World};

/// Rounds of each test.
const ROUNDS: u32 = 40;

/// Moments that look random and are the same in every run.
struct Moments(u64);

impl Moments {
    fn within(&mut self, duration: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        duration.mul_f64((self.0 % 1000) as f64 / 1000.0)
    }
}

/// Kills `command` somewhere in each round, between `prepare` and the same command again.
fn killed_anywhere(world: &World, prepare: impl Fn(u32), command: impl Fn(u32) -> Vec<String>, fine: &str) {
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    prepare(ROUNDS);
    let began = Instant::now();
    world.hull(command(ROUNDS)).success();
    let whole = began.elapsed();
    for round in 0..ROUNDS {
        prepare(round);
        let mut hull = world.command(command(round));
        let mut child = hull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
        sleep(moments.within(whole));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let again = world.hull(command(round));
        assert!(again.status == Some(0) || (!fine.is_empty() && again.stderr.contains(fine)), "{again}");
        let left = fs::read_dir(world.data_root().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "after round {round}");
        if round % 8 == 7 {
            world.hull(["image", "check"]).success();
        }
    }
}

/// What is left of content after everything was removed.
fn assert_empty(world: &World) {
    world.hull(["system", "prune", "-af"]).success();
    for part in ["blobs/sha256", "snapshots", "tmp"] {
        let left = fs::read_dir(world.data_root().join(part)).unwrap().count();
        assert_eq!(left, 0, "in {part}");
    }
}

/// An archive of a small image `app` of two layers.
fn archive(world: &World) -> PathBuf {
    world.file("tree/etc/motd", "welcome");
    let tar = world.scratch().join("tree.tar");
    let mut command = std::process::Command::new("tar");
    command.arg("-C").arg(world.scratch().join("tree")).arg("-cf").arg(&tar).arg(".");
    assert!(command.status().expect("tar is part of Debian").success());
    world.hull(["import", &tar.to_string_lossy(), "base"]).success();
    world.file("context/Dockerfile", "FROM base\nCOPY Dockerfile /\nCMD [\"/bin/true\"]\n");
    world.hull(["build", "-q", "-t", "app", "context"]).success();
    let archive = world.scratch().join("app.tar");
    world.hull(["save", "-o", &archive.to_string_lossy(), "app"]).success();
    archive
}

fn new_world() -> World {
    World::new(env!("CARGO_BIN_EXE_hull"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn load() {
    let world = new_world();
    let archive = archive(&world).to_string_lossy().into_owned();
    world.hull(["system", "prune", "-af"]).success();
    let prepare = |_| drop(world.hull(["rmi", "-f", "app"]));
    killed_anywhere(&world, prepare, |_| words(&["load", "-q", "-i", &archive]), "");
    assert_empty(&world);
}

#[test]
fn rmi() {
    let world = new_world();
    let archive = archive(&world).to_string_lossy().into_owned();
    world.hull(["system", "prune", "-af"]).success();
    let prepare = |_| drop(world.hull(["load", "-q", "-i", &archive]).success());
    killed_anywhere(&world, prepare, |_| words(&["rmi", "app"]), "No such image");
    assert_empty(&world);
}

#[test]
fn prune() {
    let world = new_world();
    let archive = archive(&world).to_string_lossy().into_owned();
    let prepare = |_| drop(world.hull(["load", "-q", "-i", &archive]).success());
    killed_anywhere(&world, prepare, |_| words(&["system", "prune", "-af"]), "");
    assert_empty(&world);
}

#[test]
fn image_prune() {
    let world = new_world();
    let archive = archive(&world).to_string_lossy().into_owned();
    world.hull(["system", "prune", "-af"]).success();
    let prepare = |_| drop(world.hull(["load", "-q", "-i", &archive]).success());
    killed_anywhere(&world, prepare, |_| words(&["image", "prune", "-af"]), "");
    assert_empty(&world);
}

#[test]
fn push() {
    let world = new_world();
    archive(&world);
    let registry = Registry::start();
    let name = |round| registry.reference(&format!("team{round}/app"));
    let prepare = |round| drop(world.hull(["tag", "app", &name(round)]).success());
    killed_anywhere(&world, prepare, |round| words(&["push", "-q", &name(round)]), "");
    assert_empty(&world);
}

#[test]
fn pull() {
    let source = new_world();
    archive(&source);
    let registry = Registry::start();
    let name = registry.reference("app");
    source.hull(["tag", "app", &name]).success();
    source.hull(["push", "-q", &name]).success();
    let world = new_world();
    let prepare = |_| drop(world.hull(["rmi", "-f", &name]));
    killed_anywhere(&world, prepare, |_| words(&["pull", "-q", &name]), "");
    world.hull(["image", "check"]).success();
}

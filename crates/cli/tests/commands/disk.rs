//! A full disk under the data root: each command that makes something fails as one, leaves nothing, and works again later.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Registry, World, web};

/// A small tmpfs as the data root of `world`.
struct SmallDisk<'w> {
    world: &'w World,
}

impl<'w> SmallDisk<'w> {
    fn new(world: &'w World) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(world.data_root());
        assert!(mount.status().expect("mount is part of Debian").success());
        Self { world }
    }

    fn filler(&self) -> PathBuf {
        self.world.data_root().join("filler")
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) {
        let mut file = File::create(self.filler()).expect("a new name costs nothing");
        while file.write_all(&[1; 4096]).is_ok() {}
        let size = file.metadata().expect("it is open").len();
        file.set_len(size - free).expect("it gets shorter");
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Everything hull keeps but the database, sorted.
    fn content(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for part in ["blobs", "partial", "snapshots", "containers", "volumes", "tmp"] {
            walk(&self.world.data_root().join(part), &mut found);
        }
        found.sort();
        found
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
        found.push(entry.path());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        self.world.hull(["system", "reset", "--force"]);
        let _ = Command::new("umount").arg("-l").arg(self.world.data_root()).status();
    }
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::new(&world);
    world.hull(["import", &testkit::busybox_tar().to_string_lossy(), "busybox"]).success();
    let megabytes = "dd if=/dev/zero bs=1k count=2000 of=";
    world.file("big/Dockerfile", "FROM busybox\nCOPY big /big\n");
    world.file("big/big", &"x".repeat(2_000_000));
    world.hull(["build", "-q", "-t", "big", "big"]).success();
    let address = web(vec![("200 OK", vec![1; 2_000_000]); 3]);
    world.file("add/Dockerfile", &format!("FROM busybox\nADD {address}/big /big\n"));
    let archive = world.scratch().join("big.tar").to_string_lossy().into_owned();
    world.hull(["save", "-o", &archive, "big"]).success();
    let tree = world.scratch().join("tree.tar").to_string_lossy().into_owned();
    world.hull(["create", "--name", "tree", "big", "true"]).success();
    world.hull(["export", "-o", &tree, "tree"]).success();
    world.hull(["rm", "tree"]).success();
    let registry = Registry::start();
    let remote = registry.reference("big");
    world.hull(["tag", "big", &remote]).success();
    world.hull(["push", "-q", "--compression", "none", &remote]).success();
    world.hull(["rmi", "big", &remote]).success();
    world.hull(["builder", "prune", "-af"]).success();
    world.file(
        "data/Dockerfile",
        &format!("FROM busybox\nRUN mkdir /data && {megabytes}/data/x\nVOLUME /data\n"),
    );
    world.hull(["build", "-q", "-t", "data", "data"]).success();
    world.hull(["run", "--name", "web", "busybox", "sh", "-c", &format!("{megabytes}/x")]).success();
    let commands: [&[&str]; 8] = [
        &["import", &tree, "imported"],
        &["pull", &remote],
        &["load", "-i", &archive],
        &["build", "-t", "built", "big"],
        &["build", "-t", "fetched", "add"],
        &["run", "--rm", "data", "true"],
        &["run", "--name", "named", "-v", "fresh:/data", "data", "true"],
        &["commit", "web", "committed"],
    ];
    let lists: [&[&str]; 4] =
        [&["ps", "-aq"], &["images", "-aq"], &["volume", "ls", "-q"], &["network", "ls", "-q"]];
    let listed = || lists.map(|list| world.hull(list).success().stdout);
    let before = (disk.content(), listed());
    // With no room for anything, and with room for the database but not for the files.
    for free in [0, 1 << 20] {
        for command in commands {
            disk.fill(free);
            let output = world.hull(command);
            disk.free();
            let status = if command[0] == "run" { 125 } else { 1 };
            output.status(status).says("No space left on device").says("hint: free some space");
            assert_eq!((disk.content(), listed()), before, "{command:?} with {free} bytes left something");
        }
    }
    for command in commands {
        world.hull(command).success();
    }
}

#[test]
fn a_name_is_given_or_it_is_not() {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::new(&world);
    world.hull(["import", &testkit::busybox_tar().to_string_lossy(), "busybox"]).success();
    disk.fill(0);
    let mut failed = false;
    for number in 0..400 {
        let name = format!("{}:{number}", "name".repeat(40));
        let tag = world.hull(["tag", "busybox", &name]);
        let is_there = world.hull(["image", "inspect", &name]).status == Some(0);
        assert_eq!(tag.status == Some(0), is_there, "{tag}");
        if !is_there {
            tag.status(1).says("hint: free some space");
            failed = true;
            break;
        }
    }
    assert!(failed, "400 names found room on a full disk");
    disk.free();
    world.hull(["tag", "busybox", "again"]).success();
    world.hull(["image", "check"]).success();
}

#[test]
fn everything_can_be_removed_from_a_full_disk() {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::new(&world);
    let setup = || {
        world.hull(["import", &testkit::busybox_tar().to_string_lossy(), "busybox"]).success();
        world.file("built/Dockerfile", "FROM busybox\nRUN echo built > /built\n");
        world.hull(["build", "-q", "-t", "built", "built"]).success();
        world.hull(["network", "create", "net"]).success();
        world.hull(["run", "-d", "--name", "runs", "built", "sleep", "1000"]).success();
        for name in ["one", "two"] {
            world.hull(["create", "--name", name, "-v", "/anonymous", "busybox", "true"]).success();
            world.hull(["volume", "create", name]).success();
        }
        world.hull(["tag", "busybox", "busybox:second"]).success();
    };
    let commands: [&[&str]; 11] = [
        &["rm", "one"],
        &["rm", "-f", "runs"],
        &["container", "prune", "-f"],
        &["volume", "rm", "one"],
        &["volume", "prune", "-af"],
        &["network", "rm", "net"],
        &["rmi", "busybox:second"],
        &["rmi", "built"],
        &["image", "prune", "-af"],
        &["builder", "prune", "-af"],
        &["system", "prune", "-af", "--volumes"],
    ];
    setup();
    for command in commands {
        disk.fill(0);
        world.hull(command).success();
        disk.free();
    }
    assert_eq!(disk.content(), ["blobs/sha256"].map(|part| world.data_root().join(part)));
    // One after another without anybody making room in between.
    setup();
    disk.fill(0);
    world.hull(["rm", "-f", "runs"]).success();
    world.hull(["volume", "rm", "one"]).success();
    world.hull(["volume", "rm", "two"]).success();
    world.hull(["system", "prune", "-af", "--volumes"]).success();
    assert_eq!(disk.content(), ["blobs/sha256"].map(|part| world.data_root().join(part)));
}

#[test]
fn a_copy_that_finds_the_disk_full_leaves_whole_files() {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::new(&world);
    world.hull(["import", &testkit::busybox_tar().to_string_lossy(), "busybox"]).success();
    world.hull(["create", "--name", "box", "busybox", "true"]).success();
    world.file("tree/small", "small");
    world.file("tree/zbig", &"x".repeat(2_000_000));
    let tree = world.scratch().join("tree").to_string_lossy().into_owned();
    disk.fill(1 << 20);
    world.hull(["cp", &tree, "box:/"]).status(1).says("No space left on device").says("zbig");
    disk.free();
    let listed = world.hull(["export", "box"]).success().stdout;
    assert!(!listed.contains("tree/zbig"), "half a file stayed");
    world.hull(["cp", "box:/tree/small", "-"]).success();
    world.hull(["cp", &tree, "box:/"]).success();
}

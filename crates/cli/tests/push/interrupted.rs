//! Ctrl-C and SIGTERM in the middle of `push`, `save` and `load`: nothing is left, and the command, run again, succeeds.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::{World, eventually};

use crate::{skopeo, world};

const SIGNALS: [i32; 2] = [2, 15];

/// Everything that is kept of content, after a command that tidies up.
fn content(world: &World) -> Vec<PathBuf> {
    world.hull(["images"]).success();
    let entries = ["blobs/sha256", "snapshots", "partial", "tmp"].into_iter().flat_map(|directory| {
        fs::read_dir(world.data_root().join(directory))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
    });
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    paths
}

fn blob(world: &World, digest: &str) -> PathBuf {
    world.data_root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// The blob of the first layer of the image `app`.
fn layer(world: &World) -> PathBuf {
    let manifest = fs::read(blob(world, &world.inspect("app", "{{.Descriptor.digest}}"))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    blob(world, manifest["layers"][0]["digest"].as_str().unwrap())
}

/// A layer's blob that something slow stands for until it is put back.
struct Away {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Away {
    fn new(world: &World) -> Self {
        let path = layer(world);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        Self { path, bytes }
    }

    /// A pipe.
    fn pipe(world: &World) -> Self {
        let away = Self::new(world);
        assert!(Command::new("mkfifo").arg(&away.path).status().unwrap().success());
        away
    }

    /// A file that is far too large to be copied meanwhile, and has nothing on the disk.
    fn vast(world: &World) -> Self {
        let away = Self::new(world);
        File::create(&away.path).unwrap().set_len(4 << 30).unwrap();
        away
    }

    /// Waits for a reader of the pipe and gives it half of the bytes; there are no more as long as the file lives.
    fn give_half(&self) -> File {
        let mut options = File::options();
        options.write(true).custom_flags(sys::fs::OFlags::NONBLOCK.bits().cast_signed());
        // Without a reader it cannot be opened like this.
        let mut file = eventually("the pipe is read", 30, || options.open(&self.path).ok());
        // No more than a pipe has room for.
        file.write_all(&self.bytes[..self.bytes.len().min(100_000) / 2]).unwrap();
        file
    }

    /// Waits until `reader` has the file open.
    fn is_open_in(&self, reader: &Child) {
        let descriptors = format!("/proc/{}/fd", reader.id());
        eventually("the file is read", 30, || {
            let mut open = fs::read_dir(&descriptors).ok()?.flatten();
            open.any(|one| fs::read_link(one.path()).is_ok_and(|path| path == self.path)).then_some(())
        });
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::write(&self.path, &self.bytes);
    }
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[track_caller]
fn ends_by(mut child: Child, signal: i32) {
    sys::process::kill(child.id().cast_signed(), signal).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(signal));
}

#[test]
fn a_push() {
    let (world, registry) = world();
    let name = registry.reference("app:1");
    world.hull(["tag", "app", &name]).success();
    let before = content(&world);
    for signal in SIGNALS {
        let away = Away::pipe(&world);
        let push = start(&world, &["push", &name]);
        let given = away.give_half();
        ends_by(push, signal);
        drop((given, away));
        assert_eq!(content(&world), before);
        skopeo(&["inspect", "--tls-verify=false", &format!("docker://{name}")]).status(1);
    }
    world.hull(["image", "check"]).success();
    world.hull(["push", &name]).success();
    skopeo(&["inspect", "--tls-verify=false", &format!("docker://{name}")]).success();
}

#[test]
fn a_save_to_an_archive() {
    let (world, _) = world();
    let directory = world.scratch().join("out");
    fs::create_dir(&directory).unwrap();
    let before = content(&world);
    for signal in SIGNALS {
        for format in ["docker-archive", "oci-archive"] {
            let away = Away::vast(&world);
            let save = start(&world, &["save", "--format", format, "-o", "out/app.tar", "app"]);
            away.is_open_in(&save);
            ends_by(save, signal);
            drop(away);
            assert_eq!(content(&world), before);
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{format}");
        }
    }
    world.hull(["save", "-o", "out/app.tar", "app"]).success();
    world.hull(["load", "-i", "out/app.tar"]).success();
}

/// It has no index then, and whole blobs alone.
#[test]
fn a_save_to_a_layout() {
    let (world, _) = world();
    let layout = world.scratch().join("layout");
    let before = content(&world);
    let save = ["save", "--format", "oci-dir", "-o", "layout", "app"];
    for signal in SIGNALS {
        let away = Away::pipe(&world);
        let save = start(&world, &save);
        let given = away.give_half();
        ends_by(save, signal);
        drop((given, away));
        assert_eq!(content(&world), before);
        assert!(!layout.join("index.json").exists());
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let digest = oci::Digest::of(&fs::read(&path).unwrap()).hex();
            assert_eq!(path.file_name().unwrap().to_str(), Some(&*digest));
        }
    }
    world.hull(save).success();
    skopeo(&["inspect", &format!("oci:{}", layout.display())]).success();
}

#[test]
fn a_load() {
    let (world, _) = world();
    let archive = world.scratch().join("app.tar");
    for format in ["docker-archive", "oci-archive"] {
        world.hull(["save", "--format", format, "-o", "app.tar", "app"]).success();
        let other = World::new(env!("CARGO_BIN_EXE_hull"));
        let bytes = fs::read(&archive).unwrap();
        let before = content(&other);
        for signal in SIGNALS {
            let mut load = start(&other, &["load"]);
            // When it has taken that much, it has taken all but what a pipe has room for.
            load.stdin.as_mut().unwrap().write_all(&bytes[..bytes.len() - 100_000]).unwrap();
            ends_by(load, signal);
            assert_eq!(content(&other), before, "{format}");
            assert_eq!(other.hull(["images", "-q"]).success().stdout, "");
        }
        other.hull(["load", "-i", &archive.to_string_lossy()]).success();
        other.hull(["image", "check"]).success();
        fs::remove_file(&archive).unwrap();
    }
}

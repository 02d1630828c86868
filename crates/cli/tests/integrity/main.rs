//! Nothing is lost: what `image check` finds and mends, and what killed, crowded and full stores are like afterwards.

mod check;
mod crowd;
mod killed;

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Output, World};

/// Roots of their own with the image `busybox:latest`.
fn world() -> World {
    World::with_busybox(env!("CARGO_BIN_EXE_hull"))
}

/// The snapshot of the topmost layer of an image.
fn top_snapshot(world: &World, image: &str) -> PathBuf {
    let id = world.inspect(image, "{{json .RootFS.Layers}}");
    let diff_id = id.trim_matches(['[', ']', '"']).rsplit("sha256:").next().expect("it has layers");
    world.data_root().join("snapshots").join(diff_id)
}

/// Where a blob is.
fn blob(world: &World, digest: &str) -> PathBuf {
    world.data_root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// Writes something else over the middle of a file, whose length and times stay.
fn damage(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(path).expect("it is there");
    let times = fs::FileTimes::new().set_modified(file.metadata().unwrap().modified().unwrap());
    file.write_all_at(b"#", file.metadata().unwrap().len() / 2).expect("it is ours");
    file.set_times(times).unwrap();
}

/// Asserts that standard output contains `text`.
#[track_caller]
fn prints(output: &Output, text: &str) {
    assert!(output.stdout.contains(text), "standard output lacks {text:?}\n{output}");
}

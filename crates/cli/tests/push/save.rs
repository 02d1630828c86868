//! `hull save` and `hull load`: several platforms, and layouts in directories.

use std::fs;

use testkit::World;

use crate::multi::layout;
use crate::{manifest, skopeo, world};

/// The digest of what a layout or an archive has, as skopeo sees it.
fn digest(place: &str) -> String {
    let raw = skopeo(&["inspect", "--raw", place]).success().stdout;
    oci::Digest::of(raw.as_bytes()).to_string()
}

/// A world that has loaded an index of two platforms as `multi:1`; and the index's digest.
fn loaded() -> (World, String) {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let (layout, index) = layout(&world);
    let root = fs::read_to_string(layout.join("index.json")).unwrap();
    let named = root.replace(".ref.name\":\"1\"", ".ref.name\":\"multi:1\"");
    fs::write(layout.join("index.json"), named).unwrap();
    let said = world.hull(["load", "-i", &layout.to_string_lossy()]).success();
    assert_eq!(said.stdout, "Loaded image: multi:1\n");
    (world, index)
}

#[test]
fn a_name_for_several_platforms_keeps_them() {
    let (world, index) = loaded();
    assert_eq!(world.inspect("multi:1", "{{.Architecture}}"), "amd64");
    assert_eq!(world.inspect("multi:1", "{{index .RepoDigests 0}}"), format!("multi@{index}"));
    let (first, second) = (world.scratch().join("all.tar"), world.scratch().join("one.tar"));
    for format in ["docker-archive", "oci-archive"] {
        world.hull(["save", "--format", format, "-o", &first.to_string_lossy(), "multi:1"]).success();
        assert_eq!(digest(&format!("oci-archive:{}", first.display())), index, "{format}");
        let other = World::new(env!("CARGO_BIN_EXE_hull"));
        other.hull(["load", "-i", &first.to_string_lossy()]).success();
        other.hull(["save", "--format", "oci-archive", "-o", &second.to_string_lossy(), "multi:1"]).success();
        assert_eq!(digest(&format!("oci-archive:{}", second.display())), index, "{format}");
    }
    // A collection takes nothing of it.
    world.hull(["system", "prune", "-f"]).success();
    world.hull(["save", "-o", &first.to_string_lossy(), "multi:1"]).success();
    assert_eq!(digest(&format!("oci-archive:{}", first.display())), index);
    // Another name means the image alone.
    world.hull(["tag", "multi:1", "single:1"]).success();
    world.hull(["save", "-o", &second.to_string_lossy(), "single:1"]).success();
    assert_ne!(digest(&format!("oci-archive:{}", second.display())), index);
}

#[test]
fn one_platform_of_several() {
    let (world, index) = loaded();
    let archive = world.scratch().join("s390x.tar");
    let path = archive.to_string_lossy();
    world.hull(["save", "--platform", "linux/s390x", "-o", &path, "multi:1"]).success();
    let config = skopeo(&["inspect", "--config", &format!("docker-archive:{path}")]).success();
    assert!(config.stdout.contains("s390x"), "{config}");
    let missing = world.hull(["save", "--platform", "linux/riscv64", "-o", &path, "multi:1"]).status(1);
    assert!(missing.stderr.contains("multi:1 has no image for linux/riscv64 here"), "{missing}");
    let all = world.scratch().join("all.tar");
    world.hull(["save", "-o", &all.to_string_lossy(), "multi:1"]).success();
    let other = World::new(env!("CARGO_BIN_EXE_hull"));
    other.hull(["load", "--platform", "linux/s390x", "-i", &all.to_string_lossy()]).success();
    assert_eq!(other.inspect("multi:1", "{{.Architecture}}"), "s390x");
    assert_ne!(other.inspect("multi:1", "{{.RepoDigests}}"), format!("[multi@{index}]"));
}

#[test]
fn layouts_in_directories() {
    let (world, _) = world();
    let directory = world.scratch().join("layout");
    let path = directory.to_string_lossy();
    world.hull(["save", "--format", "oci-dir", "-o", &path, "app", "busybox"]).success();
    world.hull(["save", "--format", "oci-dir", "-o", &path, "app"]).success();
    let index = fs::read_to_string(directory.join("index.json")).unwrap();
    assert_eq!(index.matches("io.containerd.image.name").count(), 2, "each name once: {index}");
    let other = World::new(env!("CARGO_BIN_EXE_hull"));
    let said = other.hull(["load", "-i", &path]).success();
    assert_eq!(said.stdout, "Loaded image: busybox:latest\nLoaded image: app:latest\n");
    assert_eq!(other.inspect("app", "{{.Id}}"), world.inspect("app", "{{.Id}}"));
    let needs = world.hull(["save", "--format", "oci-dir", "app"]).status(125);
    assert!(needs.stderr.starts_with("--format oci-dir needs the -o flag"), "{needs}");
    fs::remove_file(directory.join("index.json")).unwrap();
    other.hull(["load", "-i", &path]).status(1);
}

#[test]
fn an_index_that_is_all_here_is_pushed_as_it_is() {
    let (world, index) = loaded();
    let registry = testkit::Registry::start();
    let name = registry.reference("multi:1");
    // A tag of the image would be that image's alone, so the archive gives the name.
    let archive = world.scratch().join("named.tar");
    let from = format!("oci:{}", world.scratch().join("multi").display());
    let to = format!("oci-archive:{}:{name}", archive.display());
    world.hull(["image", "copy", "--all-platforms", &from, &to]).success();
    world.hull(["load", "-i", &archive.to_string_lossy()]).success();
    let pushed = world.hull(["push", &name]).success();
    assert!(pushed.stdout.contains(&format!("1: digest: {index} size: ")), "{pushed}");
    assert_eq!(oci::Digest::of(manifest(&name).as_bytes()).to_string(), index);
    world.hull(["push", "-q", "--platform", "linux/s390x", &name]).success();
    assert!(!manifest(&name).contains("platform"));
    let missing = world.hull(["push", "--platform", "linux/riscv64", &name]).status(1);
    assert!(missing.stderr.contains("has no image for linux/riscv64 here"), "{missing}");
}

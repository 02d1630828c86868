//! Images: names, archives, removal.

use crate::world;

#[test]
fn names_come_and_go() {
    let world = world();
    let id = world.hull(["images", "-q", "--no-trunc"]).success().text().to_owned();
    world.hull(["tag", "busybox", "box:1"]).success();
    let names = world.hull(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success();
    let mut names: Vec<_> = names.text().lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["box:1", "busybox:latest"]);
    assert_eq!(world.hull(["rmi", "box:1"]).success().text(), "Untagged: box:1");
    world.hull(["create", "--name", "user", "busybox", "true"]).success();
    world.hull(["rmi", "busybox"]).status(1).says("conflict: unable to remove repository reference");
    world.hull(["rm", "user"]).success();
    let removed = world.hull(["rmi", "busybox"]).success();
    assert!(removed.stdout.contains("Untagged: busybox:latest\n"), "{removed}");
    assert!(removed.stdout.contains(&format!("Deleted: {id}\n")), "{removed}");
    world.hull(["rmi", "busybox"]).status(1).says("No such image: busybox");
    world.hull(["tag", "none", "x"]).status(1).says("No such image");
}

#[test]
fn archives_round_trip() {
    let world = world();
    let id = world.inspect("busybox", "{{.Id}}");
    for format in ["docker-archive", "oci-archive"] {
        let path = world.scratch().join(format);
        let path = path.to_string_lossy();
        world.hull(["save", "--format", format, "-o", &path, "busybox"]).success();
        world.hull(["rmi", "busybox"]).success();
        assert_eq!(world.hull(["load", "-i", &path]).success().text(), "Loaded image: busybox:latest");
        assert_eq!(world.inspect("busybox", "{{.Id}}"), id, "{format}");
        world.hull(["run", "--rm", "busybox", "true"]).success();
    }
    let junk = world.file("junk", "this is not an archive");
    world.hull(["load", "-i", &junk.to_string_lossy()]).status(1);
    world.hull(["import", &junk.to_string_lossy(), "x"]).status(1);
    world.hull(["load", "-i", "/none/such"]).status(1).says("/none/such");
}

#[test]
fn a_container_becomes_an_image() {
    let world = world();
    world.hull(["run", "--name", "made", "busybox", "sh", "-c", "echo new > /made"]).success();
    let diff = world.hull(["diff", "made"]).success();
    assert!(diff.stdout.lines().any(|line| line == "A /made"), "{diff}");
    let commit = ["commit", "-m", "made it", "-c", "CMD [\"cat\", \"/made\"]", "made", "made:1"];
    world.hull(commit).success();
    assert_eq!(world.hull(["run", "--rm", "made:1"]).success().text(), "new");
    let history = world.hull(["history", "--format", "{{.Comment}}", "made:1"]).success();
    assert_eq!(history.text().lines().next(), Some("made it"));
    let path = world.scratch().join("tree.tar");
    world.hull(["export", "-o", &path.to_string_lossy(), "made"]).success();
    world.hull(["import", "-c", "CMD [\"cat\", \"/made\"]", &path.to_string_lossy(), "flat"]).success();
    assert_eq!(world.hull(["run", "--rm", "flat"]).success().text(), "new");
}

#[test]
fn prune_asks_first() {
    let world = world();
    let asked = world.hull_with_input(["image", "prune", "-a"], b"n\n").status(1);
    assert!(asked.stdout.contains("WARNING! This will remove all images"), "{asked}");
    assert_eq!(world.hull(["images", "-q"]).text().lines().count(), 1);
    let pruned = world.hull_with_input(["image", "prune", "-a"], b"y\n").success();
    let (deleted, reclaimed) = pruned.stdout.split_once("\n\n").expect("two parts");
    assert!(deleted.contains("Deleted Images:\nuntagged: busybox:latest\ndeleted: sha256:"), "{pruned}");
    assert!(reclaimed.starts_with("Total reclaimed space: "), "{pruned}");
    assert_eq!(world.hull(["images", "-q"]).text(), "");
}

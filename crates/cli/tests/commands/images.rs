//! Images: names, history, archives, and what keeps them.

use crate::{sleeper, world};

#[test]
fn tags_come_and_go() {
    let world = world();
    world.hull(["tag", "busybox", "mine:1"]).success();
    world.hull(["tag", "mine:1", "registry.example.org:5000/team/mine:2"]).success();
    let names = world.hull(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success();
    let mut names: Vec<_> = names.stdout.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["busybox:latest", "mine:1", "registry.example.org:5000/team/mine:2"]);
    let id = world.inspect("busybox", "{{.Id}}");
    assert_eq!(world.inspect("mine:1", "{{.Id}}"), id);
    assert_eq!(world.hull(["rmi", "mine:1"]).success().text(), "Untagged: mine:1");
    world.hull(["rmi", "mine:1"]).status(1).says("No such image: mine:1");
    world.hull(["rmi", id.trim_start_matches("sha256:")]).status(1).says("must be forced");
    world.hull(["tag", "nope", "x"]).status(1).says("No such image: nope");
    world.hull(["tag", "busybox", "Bad Name"]).says("Bad Name");
    let removed = world.hull(["rmi", "-f", &id]).success();
    assert!(
        removed.stdout.contains("Untagged: busybox:latest") && removed.stdout.contains("Deleted: sha256:"),
        "{removed}"
    );
    assert_eq!(world.hull(["images", "-q"]).success().text(), "");
    world
        .hull(["run", "--pull", "never", "--rm", "busybox", "true"])
        .status(125)
        .says("No such image: busybox:latest");
}

#[test]
fn images_in_use_stay() {
    let world = world();
    sleeper(&world, "web", &[]);
    let refused = world.hull(["rmi", "busybox"]).status(1);
    assert!(refused.stderr.contains("conflict") && refused.stderr.contains("is using"), "{refused}");
    world.hull(["exec", "web", "true"]).success();
    world.hull(["rm", "-f", "web"]).success();
    world.hull(["rmi", "busybox"]).success();
}

#[test]
fn archives_carry_images() {
    let world = world();
    world.hull(["tag", "busybox", "second:2"]).success();
    let id = world.inspect("busybox", "{{.Id}}");
    let saved = world.scratch().join("saved.tar");
    let saved = saved.to_string_lossy();
    world.hull(["save", "-o", &saved, "busybox", "second:2"]).success();
    world.hull(["rmi", "-f", "busybox", "second:2"]).success();
    let loaded = world.hull(["load", "-i", &saved]).success();
    assert!(
        loaded.stdout.contains("Loaded image: busybox:latest")
            && loaded.stdout.contains("Loaded image: second:2"),
        "{loaded}"
    );
    assert_eq!(world.inspect("second:2", "{{.Id}}"), id, "the same bytes have the same name");
    world.hull(["run", "--rm", "second:2", "true"]).success();
    let piped = world.command(["save", "busybox"]).output().expect("the binary was built").stdout;
    world.hull(["rmi", "-f", &id]).success();
    world.hull_with_input(["load"], &piped).success();
    assert_eq!(world.inspect("busybox", "{{.Id}}"), id);

    world.hull(["save", "-o", &saved, "nope"]).status(1).says("No such image: nope");
    world.file("garbage.tar", "this is no archive");
    world.hull(["load", "-i", "garbage.tar"]).status(1).says("error: cannot load garbage.tar\n  caused by:");
    world.hull(["load", "-i", "absent.tar"]).status(1).says("absent.tar");
    let half = world.hull_with_input(["load"], &piped[..piped.len() / 2]).status(1);
    half.says("cannot load the archive on standard input").says("has to be a whole archive");
    assert_eq!(world.hull(["images", "-q"]).success().stdout.lines().count(), 1);
}

#[test]
fn imports_take_changes_and_history_tells() {
    let world = world();
    let tar = testkit::busybox_tar();
    let tar = tar.to_string_lossy();
    world
        .hull(["import", "-c", "CMD [\"echo\", \"hello\"]", "-c", "ENV A=b", "-m", "by hand", &tar, "made:1"])
        .success();
    assert_eq!(world.hull(["run", "--rm", "made:1"]).success().text(), "hello");
    assert_eq!(world.inspect("made:1", "{{index .Config.Env 0}}"), "A=b");
    let history = world.hull(["history", "--no-trunc", "--format", "{{.Comment}}", "made:1"]).success();
    assert_eq!(history.text(), "by hand");
    world.hull(["import", "-c", "RUN true", &tar, "made:2"]).says("RUN");
    world.hull(["import", "absent.tar", "made:2"]).status(1).says("absent.tar");
    assert!(world.hull(["history", "busybox"]).success().stdout.starts_with("IMAGE "));
    world.hull(["pull", "alpine"]).says("registr");
}

/// Asking whether a container runs while the image's rows were locked waited for itself.
#[test]
fn a_used_image_is_removed_by_force() {
    let world = world();
    world.hull_with_input(["build", "-t", "used", "-"], b"FROM busybox\nRUN echo used > /used\n").success();
    crate::sleeper(&world, "idle", &[]);
    world.hull(["create", "--name", "stopped", "used", "cat", "/used"]).success();
    world.hull(["rmi", "used"]).status(1).says("container");
    world.hull(["rmi", "-f", "used"]).success();
    assert_eq!(world.hull(["start", "-a", "stopped"]).success().stdout, "used\n");
}

#[test]
fn layers_of_a_removed_image_go_with_its_last_container() {
    let world = world();
    let layers = || std::fs::read_dir(world.data_root().join("snapshots")).unwrap().count();
    for name in ["first", "second"] {
        world.hull(["create", "--name", name, "busybox", "echo", "here"]).success();
    }
    world.hull(["rmi", "-f", "busybox"]).success();
    world.hull(["rm", "first"]).success();
    assert_eq!(layers(), 1);
    assert_eq!(world.hull(["start", "-a", "second"]).success().stdout, "here\n");
    world.hull(["rm", "second"]).success();
    assert_eq!(layers(), 0);
}

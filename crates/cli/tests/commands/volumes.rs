//! Volumes: filled at first use, kept, in use, pruned.

use std::fs;

use crate::{sleeper, world};

#[test]
fn a_new_volume_holds_what_the_image_has_there() {
    let world = world();
    let show = ["run", "--rm", "-v", "data:/etc", "busybox", "ls", "/etc"];
    assert!(world.hull(show).success().stdout.contains("passwd"));
    world.hull(["run", "--rm", "-v", "data:/x", "busybox", "rm", "/x/passwd"]).success();
    assert!(!world.hull(show).success().stdout.contains("passwd"), "only an empty new volume is filled");
    let empty = world.hull(["run", "--rm", "-v", "raw:/etc:nocopy", "busybox", "ls", "/etc"]).success();
    assert!(!empty.stdout.contains("passwd"), "{empty}");
    let path = world.hull(["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]).success();
    assert!(fs::exists(format!("{}/group", path.text())).expect("it is our own directory"));
}

#[test]
fn volumes_in_use_stay() {
    let world = world();
    assert_eq!(world.hull(["volume", "create", "--label", "a=b", "data"]).success().text(), "data");
    assert_eq!(world.hull(["volume", "create", "data"]).success().text(), "data", "creating twice is fine");
    sleeper(&world, "web", &["-v", "data:/data", "-v", "/anonymous"]);
    let id = world.inspect("web", "{{.Id}}");
    let refused = world.hull(["volume", "rm", "data"]).status(1);
    assert!(refused.stderr.contains("volume is in use") && refused.stderr.contains(&id), "{refused}");
    assert_eq!(world.hull(["volume", "ls", "-q"]).success().stdout.lines().count(), 2);
    world.hull(["rm", "-f", "-v", "web"]).success();
    assert_eq!(world.hull(["volume", "ls", "-q"]).success().text(), "data", "rm -v takes the anonymous one");
    world.hull(["volume", "rm", "data"]).success();
    world.hull(["volume", "rm", "data"]).status(1).says("no such volume");
    world.hull(["volume", "inspect", "data"]).status(1).says("data");
    world.hull(["volume", "create", "../x"]).says("../x");
    world.hull(["volume", "create", "--driver", "nfs4", "far"]).says("nfs4");
}

#[test]
fn pruning_takes_what_nobody_uses() {
    let world = world();
    sleeper(&world, "web", &["-v", "used:/used", "-v", "/anon"]);
    world.hull(["volume", "create", "idle"]).success();
    world.hull(["create", "--name", "old", "-v", "/old-anon", "busybox", "true"]).success();
    world.hull(["rm", "old"]).success();
    let pruned = world.hull(["volume", "prune", "--force"]).success();
    assert!(pruned.stdout.contains("Total reclaimed space"), "{pruned}");
    let left = world.hull(["volume", "ls", "-q"]).success();
    assert!(left.stdout.contains("used") && left.stdout.contains("idle"), "named ones stay: {left}");
    world.hull(["volume", "prune", "--all", "--force"]).success();
    let left = world.hull(["volume", "ls", "-q"]).success();
    assert!(left.stdout.contains("used") && !left.stdout.contains("idle"), "{left}");
    assert_eq!(left.stdout.lines().count(), 2, "{left}");
    world.hull(["run", "--rm", "-v", "/gone", "busybox", "true"]).success();
    assert_eq!(
        world.hull(["volume", "ls", "-q"]).stdout.lines().count(),
        2,
        "--rm takes its anonymous volume"
    );
}

#[test]
fn a_volume_can_be_a_directory_of_the_users() {
    let world = world();
    fs::create_dir_all(world.scratch().join("kept")).expect("our own directory");
    let device = format!("device={}", world.scratch().join("kept").display());
    world.hull(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "kept"]).success();
    world
        .hull(["run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo mine > /data/file"])
        .success();
    assert_eq!(fs::read_to_string(world.scratch().join("kept/file")).expect("it was written"), "mine\n");
    world.hull(["volume", "rm", "kept"]).success();
    assert!(world.scratch().join("kept/file").exists(), "removing the volume leaves the user's directory");
}

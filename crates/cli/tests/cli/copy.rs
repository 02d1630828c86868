//! `cp` both ways, with `cp -r`'s rules about what lands where.

use std::fs;

use crate::world;

#[test]
fn files_are_copied_both_ways() {
    let world = world();
    world
        .hull([
            "run",
            "-d",
            "--name",
            "box",
            "busybox",
            "sh",
            "-c",
            "mkdir -p /d/e; echo f > /d/e/f; sleep 100",
        ])
        .success();
    let here = world.scratch();
    let path = |name: &str| here.join(name).display().to_string();
    let cp = |from: &str, to: &str| world.hull(["cp", from, to]);
    cp("box:/d", &path("new")).success();
    assert_eq!(fs::read_to_string(path("new/e/f")).expect("copied"), "f\n");
    cp("box:/d", &path("new")).success();
    assert!(here.join("new/d/e/f").exists(), "onto a directory: below it");
    cp("box:/d/e/.", &path("new")).success();
    assert!(here.join("new/f").exists(), "a directory's content");
    cp("box:/d/e/f", &path("renamed")).success();
    assert_eq!(fs::read_to_string(path("renamed")).expect("copied"), "f\n");
    cp("box:/d", &path("renamed")).status(1).says("cannot copy directory");
    cp("box:/none", &path("x")).status(1).says("Could not find the file /none in container box");
    cp(&path("new"), "box:/in").success();
    cp(&path("renamed"), "box:/in/").success();
    cp(&path("renamed"), "box:/in/g").success();
    let seen = world.hull(["exec", "box", "cat", "/in/e/f", "/in/renamed", "/in/g"]).success();
    assert_eq!(seen.stdout, "f\nf\nf\n");
    cp(&path("renamed"), "box:/none/x").status(1);
    cp("box:/d", "box:/e").status(1).says("between containers");
    cp(&path("renamed"), &path("other")).status(1).says("container");
    world.hull(["kill", "box"]).success();
    world.hull(["wait", "box"]).success();
    cp("box:/in/g", &path("after")).success();
    cp(&path("after"), "box:/stopped").success();
    assert!(here.join("after").exists());
    let tar = world.hull(["cp", "box:/stopped", "-"]).success();
    assert!(tar.stdout.contains("ustar"), "a tar archive");
}

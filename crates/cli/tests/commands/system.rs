//! `info`, `version`, `df`, `prune`, `events`, help, and the name `docker`.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::{sleeper, world};

#[test]
fn events_tell_what_happened() {
    let world = world();
    world.hull(["run", "--name", "job", "--label", "a=b", "busybox", "sh", "-c", "exit 3"]).status(3);
    world.hull(["rm", "job"]).success();
    let events = world
        .hull([
            "events",
            "--since",
            "10m",
            "--until",
            "0s",
            "--filter",
            "container=job",
            "--format",
            "{{.Action}}",
        ])
        .success();
    let seen: Vec<_> = events.stdout.lines().collect();
    for action in ["create", "start", "die", "destroy"] {
        assert!(seen.contains(&action), "{action} is missing\n{events}");
    }
    let die = world
        .hull(["events", "--since", "10m", "--until", "0s", "--filter", "event=die", "--format", "json"])
        .success();
    assert!(die.stdout.contains("\"exitCode\":\"3\""), "{die}");
    world.hull(["events", "--since", "yesterweek", "--until", "0s"]).says("yesterweek");
}

#[test]
fn events_tell_what_happened_to_images() {
    let world = world();
    let id = world.inspect("busybox", "{{.Id}}");
    let tree = testkit::busybox_tar();
    let commands: [(&[&str], &str); 9] = [
        (&["import", &tree.to_string_lossy(), "imported"], "import sha256:"),
        (&["save", "-o", "archive.tar", "busybox"], "save busybox"),
        (&["save", "--format", "oci-dir", "-o", "layout", "busybox"], "save busybox"),
        (&["load", "-i", "archive.tar"], &format!("load {id}")),
        (&["image", "copy", "oci:layout", "copied"], &format!("load {id}")),
        (&["image", "copy", "busybox", "oci:other"], "save busybox"),
        (&["tag", "busybox", "again"], &format!("tag {id}")),
        (&["rmi", "again"], &format!("untag {id}")),
        (&["rmi", "-f", "imported"], "untag sha256:"),
    ];
    let told = || {
        let args = [
            "events",
            "--since",
            "10m",
            "--until",
            "0s",
            "--filter",
            "type=image",
            "--format",
            "{{.Action}} {{.Actor.ID}}",
        ];
        world.hull(args).success().stdout
    };
    let mut before = told();
    for (command, expected) in commands {
        world.hull(command).success();
        let now = told();
        let new = now.strip_prefix(&before).expect("events are appended");
        assert!(new.starts_with(expected), "{command:?}: {new}");
        before = now;
    }
    // What fails is not told of.
    world.hull(["load", "-i", "missing.tar"]).status(1);
    world.hull(["image", "copy", "missing", "oci:third"]).status(1);
    assert_eq!(told(), before);
}

#[test]
fn df_counts_and_prune_removes() {
    let world = world();
    world.hull(["run", "--name", "old", "busybox", "true"]).success();
    sleeper(&world, "web", &[]);
    let df = world.hull(["system", "df"]).success();
    for kind in ["Images", "Containers", "Local Volumes", "Build Cache"] {
        assert!(df.stdout.contains(kind), "{df}");
    }
    world.hull(["network", "create", "idle"]).success();
    world.hull(["tag", "busybox", "unused:1"]).success();
    let pruned = world.hull(["system", "prune", "--all", "--force", "--volumes"]).success();
    assert!(pruned.stdout.contains("Total reclaimed space"), "{pruned}");
    assert_eq!(world.hull(["ps", "-a", "--format", "{{.Names}}"]).success().text(), "web");
    assert!(!world.hull(["network", "ls"]).success().stdout.contains("idle"));
    world.hull(["exec", "web", "true"]).success();
    world.hull(["run", "--rm", "busybox", "true"]).success();
}

#[test]
fn help_is_grouped_and_mistakes_are_named() {
    let world = world();
    let help = world.hull(["--help"]).success();
    for heading in ["Common Commands:", "Management Commands:", "Commands:", "Global Options:"] {
        assert!(help.stdout.contains(heading), "{help}");
    }
    assert!(world.hull(["--version"]).success().stdout.contains("version"));
    let root = world.file("root", "no directory").display().to_string();
    world.hull(["--root", &root, "version"]).success();
    assert!(world.hull(["version", "--format", "json"]).success().stdout.starts_with('{'));
    assert!(world.hull(["info"]).success().stdout.contains("Containers: 0"));
    world.hull(["fly"]).says("fly");
    world.hull(["run", "--fly", "busybox"]).status(125).says("--fly");
    world.hull(["run", "-d", "--memory"]).status(125).says("--memory");
    world.hull(["ps", "--fly"]).status(125).says("--fly");
    world.hull(["run"]).says("requires");
    let link = world.scratch().join("docker");
    symlink(env!("CARGO_BIN_EXE_hull"), &link).expect("our own directory");
    let output = Command::new(&link).arg("--help").output().expect("it was built");
    assert!(String::from_utf8_lossy(&output.stdout).contains("docker"));
}

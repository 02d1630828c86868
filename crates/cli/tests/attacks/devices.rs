//! Device nodes: made in the container, brought by an image, lying in a bind mount.

use std::process::Command;

use crate::{image, world};

fn mknod(path: &std::path::Path, kind: &str, major: &str, minor: &str) {
    let made = Command::new("mknod").arg("-m").arg("666").arg(path).args([kind, major, minor]).status();
    assert!(made.expect("mknod is part of Debian").success());
}

/// The kernel's memory, a way to new block devices, and the disk that the host's root is on.
fn nodes() -> Vec<(&'static str, String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    let root = std::fs::metadata("/").expect("every host has one").dev();
    let (major, minor) = ((root >> 8) & 0xfff, (root & 0xff) | ((root >> 12) & 0xfff00));
    let mut nodes = vec![("c", "1".to_owned(), "1".to_owned()), ("c", "10".to_owned(), "237".to_owned())];
    // A root that is on no disk, an overlay, has none.
    if major != 0 {
        nodes.push(("b", major.to_string(), minor.to_string()));
    }
    nodes
}

#[test]
fn nodes_made_in_a_container_are_dead() {
    let world = world();
    for (kind, major, minor) in nodes() {
        let script = format!("mknod /tmp/node {kind} {major} {minor} && exec 3</tmp/node");
        for users in ["private", "host"] {
            let run = |flags: &[&str]| {
                world.hull(
                    [&["run", "--rm", "--userns", users], flags, &["busybox", "sh", "-c", &script]].concat(),
                )
            };
            let output = run(&[]);
            assert_ne!(output.status, Some(0), "{output}");
            let output = run(&["--tmpfs", "/tmp:dev,exec,suid"]);
            assert_ne!(output.status, Some(0), "{output}");
        }
        if major == "10" {
            // Who asks for the device gets it: it was the rule that refused it.
            let rule = format!("{kind} {major}:{minor} rm");
            let allowed = ["--device-cgroup-rule", &rule, "--userns", "host"];
            world
                .hull([&["run", "--rm"], &allowed[..], &["busybox", "sh", "-c", &script]].concat())
                .success();
        }
    }
    let own = "mknod /tmp/null c 1 3 && echo > /tmp/null";
    world.hull(["run", "--rm", "--userns", "host", "busybox", "sh", "-c", own]).success();
}

#[test]
fn nodes_that_were_brought_along_are_dead() {
    let world = world();
    let bind = world.scratch().join("bind");
    std::fs::create_dir(&bind).expect("a fresh directory");
    for (n, (kind, major, minor)) in nodes().into_iter().enumerate() {
        mknod(&bind.join(format!("node{n}")), kind, &major, &minor);
    }
    image(&world, "nodes", |root| {
        for (n, (kind, major, minor)) in nodes().into_iter().enumerate() {
            mknod(&root.join(format!("node{n}")), kind, &major, &minor);
        }
    });
    let volume = format!("{}:/b", bind.display());
    for users in ["private", "host"] {
        for n in 0..nodes().len() {
            for path in [format!("/node{n}"), format!("/b/node{n}")] {
                let run = ["run", "--rm", "--userns", users, "-v", &volume, "nodes", "sh", "-c"];
                let output = world.hull([&run[..], &[&format!("exec 3<{path}")]].concat());
                assert_ne!(output.status, Some(0), "{path}: {output}");
            }
        }
    }
}

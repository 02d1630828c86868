//! Descriptors and directories of the host that a container could get hold of (CVE-2024-21626), and other inheritances.

use std::process::Command;

use crate::{image, sleeper, trap, world};

#[test]
fn no_working_directory_leads_out() {
    let world = world();
    sleeper(&world, "web", &[]);
    image(&world, "linked", |root| {
        for n in 3..24 {
            let target = format!("/proc/self/fd/{n}");
            std::os::unix::fs::symlink(target, root.join(format!("fd{n}"))).expect("a fresh directory");
        }
    });
    for n in 3..24 {
        for (image, path) in [("busybox", format!("/proc/self/fd/{n}")), ("linked", format!("/fd{n}/.."))] {
            let output = world.hull(["run", "--rm", "-w", &path, image, "ls", "-la", "."]);
            // Either it cannot be entered, or it is a directory of the container.
            let inside = output.stdout.contains("proc") && output.stdout.contains("busybox");
            assert!(output.status != Some(0) || inside, "{output}");
        }
        let path = format!("/proc/self/fd/{n}");
        let output = world.hull(["exec", "-w", &path, "web", "ls", "-la", "."]);
        assert_ne!(output.status, Some(0), "{output}");
    }
    let seen = world.hull(["run", "--rm", "-w", "/tmp", "busybox", "readlink", "/proc/self/cwd"]).success();
    assert_eq!(seen.text(), "/tmp");
}

#[test]
fn a_process_has_its_three_streams_and_nothing_else() {
    let world = world();
    sleeper(&world, "web", &[]);
    // The fourth is the directory that `ls` is reading.
    let list: &[&str] = &["ls", "/proc/self/fd"];
    let ways: [&[&str]; 5] = [
        &["run", "--rm", "busybox"],
        &["run", "--rm", "-i", "--init", "busybox"],
        &["run", "--rm", "--userns", "host", "--privileged", "busybox"],
        &["exec", "web"],
        &["exec", "-i", "--privileged", "web"],
    ];
    for way in ways {
        let hull = world.command([way, list].concat());
        // What the caller has left open, as a careless script does.
        let mut leaky = Command::new("sh");
        leaky.args(["-c", "exec 7</etc/shadow 8</ 9</proc; exec \"$0\" \"$@\""]);
        leaky.arg(hull.get_program()).args(hull.get_args());
        for (name, value) in hull.get_envs() {
            leaky.env(name, value.unwrap_or_default());
        }
        let output = leaky.output().expect("sh is part of Debian");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, "0\n1\n2\n3\n", "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let first = world.hull(["exec", "web", "ls", "/proc/1/fd"]).success();
    assert_eq!(first.text(), "0\n1\n2");
}

#[test]
fn the_callers_environment_stays_with_the_caller() {
    let world = world();
    sleeper(&world, "web", &[]);
    let context = world.file("context/Dockerfile", "FROM busybox\nRUN env > /env\n");
    let context = context.parent().expect("it has one").to_string_lossy().into_owned();
    let with_secret = |args: &[&str]| {
        let output = world.command(args).env("TOKEN_OF_THE_HOST", "hush").output().expect("it was built");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    with_secret(&["build", "-q", "-t", "made", &context]);
    with_secret(&["run", "-d", "--name", "late", "--stop-signal", "KILL", "busybox", "sleep", "600"]);
    let asked = with_secret(&["run", "--rm", "-e", "TOKEN_OF_THE_HOST", "busybox", "env"]);
    assert!(asked.contains("TOKEN_OF_THE_HOST=hush"), "by choice it is handed on: {asked}");
    let ways: [&[&str]; 4] = [
        &["run", "--rm", "busybox", "env"],
        &["exec", "web", "env"],
        &["exec", "late", "cat", "/proc/1/environ"],
        &["run", "--rm", "made", "cat", "/env"],
    ];
    for way in ways {
        let seen = with_secret(way);
        assert!(seen.contains("PATH=") && !seen.contains("TOKEN_OF_THE_HOST"), "{way:?}: {seen}");
        assert!(!seen.contains("HULL_"), "{way:?}: {seen}");
    }
}

#[test]
fn no_socket_of_hulls_is_abstract() {
    let world = world();
    sleeper(&world, "web", &["--network", "host"]);
    // In the host's network namespace every abstract socket can be connected to, whatever the file system (CVE-2020-15257).
    let seen = world.hull(["exec", "web", "cat", "/proc/net/unix"]).success();
    assert!(seen.stdout.contains("RefCount"), "{seen}");
    let ours = seen.stdout.lines().filter(|line| line.contains(" @") && line.contains("hull"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn what_hull_keeps_is_for_its_owner_alone() {
    let world = world();
    sleeper(&world, "web", &["-e", "PASSWORD=hush", "-v", "data:/data"]);
    world.hull(["exec", "web", "sh", "-c", "echo hush > /data/file; echo hush > /file"]).success();
    let look = |root: &std::path::Path, user: &[&str]| {
        let mut find = Command::new("setpriv");
        find.args(user).args(["find"]).arg(root).args(["-mindepth", "2", "-type", "f", "-print"]);
        let found = find.output().expect("setpriv and find are part of Debian");
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    for root in [world.data_root(), world.run_root().to_owned()] {
        assert_eq!(look(&root, &nobody), 0, "{}", root.display());
        assert!(look(&root, &["--reuid=0"]) > 0, "{}", root.display());
    }
    // Where hull makes the roots itself nobody gets in at all, and what is in them is nobody's to read.
    let (data, run) = (world.scratch().join("fresh"), world.run_root().join("fresh"));
    let info = world.command(["images"]).env("HULL_ROOT", &data).env("HULL_RUN_ROOT", &run).output();
    assert!(info.expect("it was built").status.success());
    for root in [&data, &run] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(root).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", root.display());
    }
    // Nor does another container, whatever the host lets it see.
    let trap = trap(&world);
    let root = trap.ancestors().nth(2).expect("the world's directory").to_string_lossy().into_owned();
    let other = ["run", "--rm", "-v", &format!("{root}:/w:ro"), "busybox", "ls", "/w/data/containers"];
    assert_ne!(world.hull(other).status, Some(99));
}

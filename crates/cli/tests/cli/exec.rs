//! `exec`, `logs`, `top`, `stats`.

use testkit::eventually;

use crate::world;

#[test]
fn exec_runs_in_the_container() {
    let world = world();
    world
        .hull(["run", "-d", "--name", "box", "-e", "A=1", "-h", "inside", "busybox", "sleep", "100"])
        .success();
    let exec = |args: &[&str]| world.hull([&["exec"], args].concat());
    assert_eq!(exec(&["box", "hostname"]).success().text(), "inside");
    assert_eq!(exec(&["-e", "B=2", "box", "sh", "-c", "echo $A$B"]).success().text(), "12");
    assert_eq!(
        exec(&["-u", "user", "-w", "/tmp", "box", "sh", "-c", "id -un; pwd"]).success().text(),
        "user\n/tmp"
    );
    exec(&["box", "sh", "-c", "exit 5"]).status(5);
    exec(&["box", "nope"]).status(127).says("executable file not found");
    exec(&["box", "/etc/passwd"]).status(126);
    exec(&["other", "true"]).status(1).says("No such container: other");
    assert_eq!(world.hull_with_input(["exec", "-i", "box", "cat"], b"in").success().stdout, "in");
    assert_eq!(exec(&["box", "cat"]).success().stdout, "", "without -i there is no input");
    exec(&["-d", "box", "sh", "-c", "echo done > /tmp/mark"]).success();
    eventually("the detached process wrote", 10, || {
        (exec(&["box", "cat", "/tmp/mark"]).stdout == "done\n").then_some(())
    });
    let both = exec(&["box", "sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    world.hull(["pause", "box"]).success();
    exec(&["box", "true"]).status(1).says("is paused");
    world.hull(["unpause", "box"]).success();
    world.hull(["kill", "box"]).success();
    world.hull(["wait", "box"]).success();
    exec(&["box", "true"]).status(1).says("is not running");
}

#[test]
fn exec_is_limited_as_the_container_is() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "--cap-drop", "ALL", "busybox", "sleep", "100"]).success();
    let caps = |flags: &[&str]| {
        let args =
            [&["exec"], flags, &["box", "sh", "-c", "grep CapEff /proc/self/status | cut -f2"]].concat();
        world.hull(args).success().text().to_owned()
    };
    assert_eq!(caps(&[]), "0000000000000000");
    assert_ne!(caps(&["--privileged"]), "0000000000000000");
}

#[test]
fn logs_are_kept_and_selected() {
    let world = world();
    let script = "for i in 1 2 3; do echo out $i; done; echo err >&2";
    world.hull(["run", "--name", "talk", "busybox", "sh", "-c", script]).success();
    let logs = world.hull(["logs", "talk"]).success();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out 1\nout 2\nout 3\n", "err\n"));
    let tail = world.hull(["logs", "--tail", "2", "talk"]).success();
    assert_eq!(tail.stdout.lines().count() + tail.stderr.lines().count(), 2);
    assert_eq!(world.hull(["logs", "-n", "0", "talk"]).success().stdout, "");
    let stamped = world.hull(["logs", "-t", "talk"]).success().stdout;
    assert!(stamped.starts_with("20") && stamped.contains("Z out 1\n"), "{stamped}");
    assert_eq!(world.hull(["logs", "--since", "1h", "talk"]).success().stdout.lines().count(), 3);
    assert_eq!(world.hull(["logs", "--until", "1h", "talk"]).success().stdout, "");
    world.hull(["logs", "--tail", "x", "talk"]).status(125);
    world.hull(["logs", "--since", "yesterday", "talk"]).status(1).says("yesterday");
}

#[test]
fn logs_follow_to_the_end() {
    let world = world();
    world
        .hull(["run", "-d", "--name", "talk", "busybox", "sh", "-c", "echo one; sleep 0.3; echo two"])
        .success();
    assert_eq!(world.hull(["logs", "-f", "talk"]).success().stdout, "one\ntwo\n");
}

#[test]
fn a_running_container_is_seen_from_outside() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "100"]).success();
    let top = world.hull(["top", "box"]).success().stdout;
    assert!(top.starts_with("UID ") && top.contains("sleep 100"), "{top}");
    let stats = world
        .hull(["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "box"])
        .success();
    assert!(stats.text().starts_with("box ") && stats.text().ends_with("/ 64MiB 1"), "{stats}");
}

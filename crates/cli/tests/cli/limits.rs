//! Limits the kernel enforces.

use crate::world;

#[test]
fn memory_is_limited() {
    let world = world();
    let eat = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; echo alive";
    let ran = world.hull([
        "run",
        "--name",
        "eater",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "sh",
        "-c",
        eat,
    ]);
    assert!(ran.status != Some(0) || ran.stdout.contains("alive"));
    assert_eq!(world.inspect("eater", "{{.HostConfig.Memory}}"), "33554432");
    let tail = ["busybox", "sh", "-c", "tail -c 100m /dev/zero | wc -c"];
    let args = [&["run", "--name", "hog", "-m", "16m", "--memory-swap", "16m"], &tail[..]].concat();
    world.hull(args);
    assert_eq!(world.inspect("hog", "{{.State.OOMKilled}}"), "true");
}

#[test]
fn processes_are_limited() {
    let world = world();
    let script = "for i in 1 2 3 4 5 6; do sleep 5 & done 2>&1; wait";
    let ran = world.hull(["run", "--rm", "--pids-limit", "4", "busybox", "sh", "-c", script]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("fork"), "{ran}");
}

#[test]
fn limits_can_be_changed() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "100"]).success();
    world.hull(["update", "-m", "128m", "--memory-swap", "256m", "--restart", "always", "box"]).success();
    let shown = world.inspect("box", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(shown, "134217728 always");
    world.hull(["update", "box"]).status(125).says("one or more flags");
}

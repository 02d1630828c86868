//! Stop, start, restart, kill, pause, rename, wait; restart policies and healthchecks.

use testkit::eventually;

use crate::world;

#[test]
fn a_container_is_stopped_started_and_removed() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "--stop-timeout", "1", "busybox", "sleep", "100"]).success();
    assert_eq!(world.hull(["stop", "box"]).success().text(), "box");
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    world.hull(["start", "box"]).success();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    let before = world.inspect("box", "{{.State.Pid}}");
    world.hull(["restart", "-t", "0", "box"]).success();
    assert_ne!(world.inspect("box", "{{.State.Pid}}"), before);
    world.hull(["rm", "box"]).status(1).says("is running");
    world.hull(["kill", "-s", "KILL", "box"]).success();
    assert_eq!(world.hull(["wait", "box"]).success().text(), "137");
    world.hull(["rename", "box", "case"]).success();
    world.hull(["inspect", "box"]).status(1).says("No such object: box");
    assert_eq!(world.hull(["rm", "case"]).success().text(), "case");
}

#[test]
fn several_are_done_and_each_failure_is_told() {
    let world = world();
    world.hull(["create", "--name", "one", "busybox", "true"]).success();
    world.hull(["create", "--name", "two", "busybox", "true"]).success();
    let removed = world.hull(["rm", "one", "none", "two"]).status(1).says("No such container: none");
    assert_eq!(removed.stdout, "one\ntwo\n");
    world.hull(["rm", "-f", "none"]).success();
}

#[test]
fn removing_one_that_removes_itself_is_no_failure() {
    let world = world();
    for _ in 0..5 {
        world.hull(["run", "-d", "--rm", "--name", "box", "busybox", "sleep", "100"]).success();
        world.hull(["restart", "-t", "0", "box"]).success();
        let removed = world.hull(["rm", "-f", "box"]).success();
        assert_eq!((removed.stdout.as_str(), removed.stderr.as_str()), ("box\n", ""));
    }
}

#[test]
fn start_attaches_when_asked() {
    let world = world();
    world.hull(["create", "--name", "box", "-i", "busybox", "sh", "-c", "cat; exit 4"]).success();
    let started = world.hull_with_input(["start", "-ai", "box"], b"hello").status(4);
    assert_eq!(started.stdout, "hello");
    world.hull(["start", "none"]).status(1).says("No such container: none");
}

#[test]
fn pausing_freezes() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "100"]).success();
    world.hull(["pause", "box"]).success();
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    assert!(world.hull(["ps"]).stdout.contains("(Paused)"));
    world.hull(["unpause", "box"]).success();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
}

#[test]
fn failures_are_restarted_until_the_limit() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "--restart", "on-failure:2", "busybox", "false"]).success();
    eventually("it gave up", 20, || (world.inspect("box", "{{.State.Status}}") == "exited").then_some(()));
    assert_eq!(world.inspect("box", "{{.RestartCount}} {{.State.ExitCode}}"), "2 1");
}

#[test]
fn a_killed_process_is_restarted() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "--restart", "always", "busybox", "sleep", "100"]).success();
    let pid = world.inspect("box", "{{.State.Pid}}");
    std::process::Command::new("kill").args(["-9", &pid]).status().expect("kill is part of Debian");
    eventually("another process runs", 20, || {
        let now = world.inspect("box", "{{.State.Status}} {{.State.Pid}}");
        (now.starts_with("running ") && now != format!("running {pid}")).then_some(())
    });
    world.hull(["stop", "-t", "0", "box"]).success();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "a stop is not undone");
}

#[test]
fn health_is_checked() {
    let world = world();
    let flags = ["run", "-d", "--name", "box", "--health-interval", "100ms", "--health-retries", "2"];
    let check = ["--health-cmd", "test -e /tmp/well", "busybox", "sh", "-c", "touch /tmp/well; sleep 100"];
    world.hull([&flags[..], &check[..]].concat()).success();
    let health = |wanted: &str| {
        eventually(wanted, 20, || (world.inspect("box", "{{.State.Health.Status}}") == wanted).then_some(()));
    };
    health("healthy");
    assert!(world.hull(["ps"]).stdout.contains("(healthy)"));
    world.hull(["exec", "box", "rm", "/tmp/well"]).success();
    health("unhealthy");
}

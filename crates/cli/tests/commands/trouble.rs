//! Commands interrupted in the middle, and files no parser likes: one error, a status, nothing left.
//!
//! That nothing is left on the host is looked at when the `World` of each test ends; what is looked at here is hull's own lists.

use testkit::{World, eventually};

use crate::world;

/// No container, and no image but BusyBox.
#[track_caller]
fn nothing_left(world: &World) {
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
    assert_eq!(world.hull(["images", "--format", "{{.Repository}}"]).success().text(), "busybox");
    let builds = std::fs::read_dir(world.run_root().join("builds")).map_or(0, Iterator::count);
    assert_eq!(builds, 0, "build steps left their bundles");
}

#[test]
fn an_interrupted_build_stops() {
    let world = world();
    let mark = world.scratch().join("mark");
    world.file("Dockerfile", "FROM busybox\nRUN echo started; sleep 300\nRUN echo never\n");
    let building = world.spawn(["build", "--progress", "plain", "-t", "never", "."]);
    eventually("the step runs", 30, || {
        let steps = std::fs::read_dir(world.run_root().join("builds")).ok()?;
        (steps.count() > 0).then_some(())
    });
    building.signal("INT");
    building.finish().status(130);
    assert!(!mark.exists());
    nothing_left(&world);
    world.hull_with_input(["build", "-t", "busybox", "-"], b"FROM busybox\nRUN true\n").success();
}

#[test]
fn an_interrupted_run_stops() {
    let world = world();
    let running = world.spawn([
        "run",
        "--rm",
        "--name",
        "job",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 130' INT; echo up; while :; do sleep 0.05; done",
    ]);
    eventually("it runs", 20, || world.hull(["logs", "job"]).stdout.contains("up").then_some(()));
    running.signal("INT");
    running.finish().status(130);
    nothing_left(&world);
}

#[test]
fn an_interrupted_up_stops() {
    let world = world();
    world.file("compose.yaml", "name: stop\nservices:\n  one: {image: busybox, command: sh -c 'echo ready; exec sleep 300', init: true}\n  two: {image: busybox, command: sleep 300, init: true, depends_on: [one]}\n");
    let up = world.spawn(["compose", "up"]);
    eventually("both run", 30, || {
        (world.hull(["ps", "-q"]).success().stdout.lines().count() == 2).then_some(())
    });
    up.signal("INT");
    let output = up.finish();
    assert!(matches!(output.status, Some(0 | 130)), "{output}");
    assert_eq!(world.hull(["ps", "-q"]).success().text(), "", "what ran was stopped");
    world.hull(["compose", "down"]).success();
    nothing_left(&world);
    assert!(!world.hull(["network", "ls"]).success().stdout.contains("stop_default"));
}

#[test]
fn compose_files_no_parser_likes() {
    let world = world();
    let fails = |text: &str, says: &[&str]| {
        world.file("bad/compose.yaml", text);
        let output = world.hull(["compose", "--project-directory", "bad", "up", "-d"]).status(1);
        for part in says {
            assert!(output.stderr.contains(part), "{part:?} is missing\n{output}");
        }
        assert!(output.stderr.starts_with("error: "), "{output}");
    };
    fails("services:\n  web:\n    image: busybox\n    fly: high\n", &["compose.yaml:4:5", "fly"]);
    fails("services:\n  web:\n    image: busybox\n    ports: ['x:80']\n", &["compose.yaml:4", "x:80"]);
    fails("services:\n  web:\n    image: busybox\n    depends_on: [nope]\n", &["nope"]);
    fails(
        "services:\n  a: {image: busybox, depends_on: [b]}\n  b: {image: busybox, depends_on: [a]}\n",
        &["a", "b"],
    );
    fails("services:\n  web:\n    image: ${NOT_SET:?say which}\n", &["say which"]);
    fails("services: [\n", &["compose.yaml:"]);
    fails("services:\n  web: {}\n", &["web"]);
    world.file("bad/compose.yaml", "services:\n  web: {image: '127.0.0.1:1/absent:1'}\n");
    let absent = world.hull(["compose", "--project-directory", "bad", "up", "-d"]).status(1);
    absent.says("error: cannot reach registry 127.0.0.1:1");
    fails("services:\n  web: {image: busybox, networks: [nope]}\n", &["nope"]);
    fails("services:\n  web: {image: busybox, volumes: ['nope:/x']}\n", &["nope"]);
    fails("services:\n  web: {image: busybox, secrets: [nope]}\n", &["nope"]);
    fails("services:\n  web: {image: busybox, cpu_rt_period: 5}\n", &["cpu_rt_period"]);
    world.hull(["compose", "-f", "absent.yaml", "up"]).status(1).says("absent.yaml");
    world.file("none/file", "");
    world.hull(["compose", "--project-directory", "none", "ps"]).status(1).says("compose.yaml");
    nothing_left(&world);
}

#[test]
fn nothing_can_be_written() {
    let world = world();
    let mut command = world.command(["run", "--rm", "busybox", "true"]);
    command.env("HULL_ROOT", "/proc/nowhere");
    let output = command.output().expect("the binary was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(125) && said.contains("/proc/nowhere"), "{said}");
}

#[test]
fn a_run_that_is_interrupted_before_it_began_is_taken_back() {
    let world = world();
    for delay_ms in (0..120).step_by(10) {
        let running = world.spawn(["run", "-d", "--name", "job", "busybox", "sleep", "600"]);
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        running.signal("INT");
        // A signal before anything was begun kills; one after the end comes too late.
        let output = running.finish();
        assert!(matches!(output.status, Some(0 | 130) | None), "{output}");
        if output.status == Some(0) {
            world.hull(["rm", "-f", "job"]).success();
        }
        nothing_left(&world);
    }
}

#[test]
fn a_container_whose_run_was_killed_can_be_removed() {
    let world = world();
    for delay_ms in (0..150).step_by(10) {
        let running = world.spawn(["run", "-d", "--name", "job", "busybox", "sleep", "600"]);
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        running.signal("KILL");
        running.finish();
        // Whatever state it is in: there is none, one that never starts, one that is just starting, one that runs.
        world.hull(["rm", "-f", "job"]);
        nothing_left(&world);
    }
}

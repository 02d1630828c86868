//! What is left by monitors that were killed, and who cleans it up.

use testkit::{World, eventually};

use crate::supervision::monitor_of;
use crate::{sleeper, world};

/// Starts a container whose program has changed its user since, so that the kernel does not end it with its monitor.
fn changed_user(world: &World, name: &str, flags: &[&str]) -> String {
    let program = ["busybox", "busybox", "su", "user", "-c", "exec sleep 600"];
    let run = ["run", "-d", "--network", "none", "--name", name];
    world.hull([&run, flags, &program].concat()).success();
    let pid = world.inspect(name, "{{.State.Pid}}");
    eventually("it has changed its user", 20, || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let uid =
            status.lines().find_map(|line| line.strip_prefix("Uid:\t")?.split('\t').next()?.parse().ok());
        // The container's 1000, wherever its range of ids begins.
        uid.is_some_and(|uid: u32| uid % 65_536 == 1000).then_some(())
    });
    pid
}

/// Kills the process and waits until it holds nothing any more.
fn kill(pid: &str) {
    crate::supervision::kill(pid);
    eventually("it is dead", 20, || (!runs(pid)).then_some(()));
}

/// Whether the process runs; one that nobody has waited for yet does not.
fn runs(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

#[test]
fn whatever_looks_first_ends_what_a_monitor_left() {
    let world = world();
    for (name, look) in [
        ("ps1", &["ps"][..]),
        ("logs1", &["logs", "logs1"]),
        ("diff1", &["diff", "diff1"]),
        ("wait1", &["wait", "wait1"]),
    ] {
        let pid = changed_user(&world, name, &[]);
        kill(&monitor_of(&world, name));
        world.hull(look).success();
        assert!(!runs(&pid), "after {look:?}");
        assert_eq!(world.inspect(name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    }
}

#[test]
fn a_foreground_run_cleans_up_after_its_monitor() {
    let world = world();
    for (name, flags) in [("kept", &[][..]), ("gone", &["--rm"][..])] {
        let program = ["busybox", "busybox", "su", "user", "-c", "echo ready; exec sleep 600"];
        let run = ["run", "--network", "none", "--name", name];
        let running = world.spawn([&run, flags, &program].concat());
        eventually("it has changed its user", 20, || {
            world.hull(["logs", name]).stdout.contains("ready").then_some(())
        });
        let pid = world.inspect(name, "{{.State.Pid}}");
        kill(&monitor_of(&world, name));
        running.finish().status(125).says("lost the connection");
        assert!(!runs(&pid), "{name}");
    }
    assert_eq!(world.hull(["ps", "-a", "--format", "{{.Names}}"]).success().text(), "kept");
}

#[test]
fn a_container_that_removes_itself_is_gone_with_its_monitor() {
    let world = world();
    let gone: [&[&str]; 9] = [
        &["start", "box"],
        &["restart", "box"],
        &["update", "--memory", "64m", "box"],
        &["rename", "box", "other"],
        &["network", "disconnect", "bridge", "box"],
        &["inspect", "box"],
        &["logs", "box"],
        &["exec", "box", "true"],
        &["start", "--attach", "box"],
    ];
    let fine: [&[&str]; 5] = [
        &["stop", "box"],
        &["rm", "-f", "box"],
        &["ps", "-aq"],
        &["container", "prune", "-f"],
        &["system", "boot"],
    ];
    for (command, status) in gone.iter().map(|c| (c, 1)).chain(fine.iter().map(|c| (c, 0))) {
        sleeper(&world, "box", &["--rm"]);
        kill(&monitor_of(&world, "box"));
        let output = world.hull(*command);
        assert_eq!(output.status, Some(status), "{output}");
        assert_eq!(world.hull(["ps", "-aq"]).success().text(), "", "after {command:?}");
    }
}

#[test]
fn a_container_that_waited_to_be_restarted_keeps_its_exit_code() {
    let world = world();
    let program = ["busybox", "sh", "-c", "exit 4"];
    world.hull([&["run", "-d", "--name", "box", "--restart", "always"], &program[..]].concat()).success();
    // The delays double: soon there is time to meet it in one.
    eventually("it waits", 20, || {
        let state = world.inspect("box", "{{.State.Status}} {{.RestartCount}}");
        ["restarting 3", "restarting 4", "restarting 5"].contains(&state.as_str()).then_some(())
    });
    let state = std::fs::read_dir(world.run_root().join("containers")).expect("it has one").flatten().next();
    let state = std::fs::read_to_string(state.expect("it has one").path().join("state.json"));
    let state = state.expect("its monitor writes it");
    let monitor = state.split("\"monitor_pid\":").nth(1).and_then(|rest| rest.split(',').next());
    kill(monitor.expect("it is recorded"));
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 4");
}

#[test]
fn a_failed_start_of_one_that_removes_itself_removes_it() {
    let world = world();
    for start in [&["start", "box"][..], &["start", "--attach", "box"]] {
        world.hull(["create", "--rm", "--name", "box", "busybox", "nope"]).success();
        world.hull(start).status(1).says("executable file not found");
        world.hull(["inspect", "box"]).status(1);
    }
    world.hull(["run", "--rm", "--name", "box", "busybox", "nope"]).status(127);
    world.hull(["inspect", "box"]).status(1);
}

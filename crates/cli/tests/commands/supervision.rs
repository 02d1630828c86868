//! Restart policies, healthchecks, monitors killed, and starting after a reboot.

use std::process::Command;

use testkit::{World, eventually};

use crate::{sleeper, world};

/// The process id of the monitor of the container `name`: the parent of its first process.
pub fn monitor_of(world: &World, name: &str) -> String {
    let pid = world.inspect(name, "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("Linux shows it");
    parent.trim().to_owned()
}

pub fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill is part of Debian").success());
}

#[test]
fn policies_restart_and_give_up() {
    let world = world();
    let failing = ["busybox", "sh", "-c", "echo again; exit 5"];
    world
        .hull([&["run", "-d", "--name", "twice", "--restart", "on-failure:2"], &failing[..]].concat())
        .success();
    assert_eq!(world.hull(["wait", "twice"]).success().text(), "5");
    eventually("it gave up", 20, || {
        (world.inspect("twice", "{{.State.Status}} {{.RestartCount}}") == "exited 2").then_some(())
    });
    assert_eq!(world.hull(["logs", "twice"]).success().stdout, "again\nagain\nagain\n");
    world.hull(["run", "-d", "--name", "fine", "--restart", "on-failure", "busybox", "true"]).success();
    eventually("a success is the end", 20, || {
        (world.inspect("fine", "{{.State.Status}}") == "exited").then_some(())
    });
    assert_eq!(world.inspect("fine", "{{.RestartCount}}"), "0");

    sleeper(&world, "always", &["--restart", "always"]);
    kill(&world.inspect("always", "{{.State.Pid}}"));
    eventually("it is back", 20, || {
        (world.inspect("always", "{{.State.Running}} {{.RestartCount}}") == "true 1").then_some(())
    });
    world.hull(["stop", "always"]).success();
    assert_eq!(world.inspect("always", "{{.State.Status}}"), "exited", "stopped means stopped");
    world.hull(["run", "-d", "--restart", "sometimes", "busybox"]).status(125).says("sometimes");
    world
        .hull(["run", "-d", "--rm", "--restart", "always", "busybox", "true"])
        .status(125)
        .says("restart policy");
}

#[test]
fn health_is_watched() {
    let world = world();
    let flags = ["--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "2"];
    sleeper(&world, "web", &flags);
    let health = |wanted: &str| {
        eventually(wanted, 20, || (world.inspect("web", "{{.State.Health.Status}}") == wanted).then_some(()));
    };
    health("unhealthy");
    assert!(world.hull(["ps"]).stdout.contains("(unhealthy)"));
    world.hull(["exec", "web", "touch", "/ok"]).success();
    health("healthy");
    assert_eq!(world.hull(["ps", "-q", "-f", "health=healthy"]).success().stdout.lines().count(), 1);
    world
        .hull(["run", "-d", "--health-cmd", "true", "--health-interval", "soon", "busybox"])
        .status(125)
        .says("soon");
}

#[test]
fn a_killed_monitor_leaves_no_ghost() {
    let world = world();
    sleeper(&world, "web", &["-p", "80"]);
    let pid = world.inspect("web", "{{.State.Pid}}");
    kill(&monitor_of(&world, "web"));
    eventually("the program is gone", 20, || {
        (!std::path::Path::new("/proc").join(&pid).exists()).then_some(())
    });
    let state = world.inspect("web", "{{.State.Status}} {{.State.ExitCode}}");
    assert_eq!(state, "exited 137");
    assert!(world.hull(["ps", "-a"]).success().stdout.contains("Exited (137)"));
    world.hull(["exec", "web", "true"]).status(1).says("is not running");
    assert_eq!(world.hull(["wait", "web"]).success().text(), "137");
    world.hull(["start", "web"]).success();
    world.hull(["exec", "web", "true"]).success();
    kill(&monitor_of(&world, "web"));
    world.hull(["rm", "-f", "web"]).success();
}

#[test]
fn boot_starts_what_should_run() {
    let world = world();
    sleeper(&world, "always", &["--restart", "always"]);
    sleeper(&world, "unless", &["--restart", "unless-stopped"]);
    sleeper(&world, "stopped", &["--restart", "unless-stopped"]);
    sleeper(&world, "never", &[]);
    world.hull(["stop", "stopped"]).success();
    for name in ["always", "unless", "never"] {
        kill(&monitor_of(&world, name));
    }
    eventually("nothing runs", 20, || {
        let names = ["always", "unless", "never"];
        names.iter().all(|name| world.inspect(name, "{{.State.Running}}") == "false").then_some(())
    });
    // A reboot takes the run root's file system away.
    for entry in std::fs::read_dir(world.run_root()).expect("it is there").flatten() {
        std::fs::remove_dir_all(entry.path())
            .or_else(|_| std::fs::remove_file(entry.path()))
            .expect("it is ours");
    }
    world.hull(["system", "boot"]).success();
    let running = world.hull(["ps", "--format", "{{.Names}}"]).success();
    let mut running: Vec<_> = running.stdout.lines().collect();
    running.sort_unstable();
    assert_eq!(running, ["always", "unless"]);
    world.hull(["exec", "always", "true"]).success();
}

//! `stop`, `kill`, `restart`, `pause`, `wait`, `top`, `stats`, `diff`, `port`, `rename` and `update` of running containers.

use testkit::eventually;

use crate::{sleeper, world};

#[test]
fn stop_asks_then_kills() {
    let world = world();
    let polite = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    world.hull(["run", "-d", "--name", "polite", "busybox", "sh", "-c", polite]).success();
    eventually("it is ready", 20, || world.hull(["logs", "polite"]).stdout.contains("ready").then_some(()));
    assert_eq!(world.hull(["stop", "polite"]).success().text(), "polite");
    assert_eq!(world.inspect("polite", "{{.State.ExitCode}}"), "3");
    world.hull(["stop", "polite"]).success();

    world.hull(["run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "600"]).success();
    world.hull(["stop", "deaf"]).success();
    assert_eq!(world.inspect("deaf", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");

    let usr1 = "trap 'exit 4' USR1; echo ready; while :; do sleep 0.05; done";
    let flags = ["run", "-d", "--name", "usr", "--stop-signal", "SIGUSR1", "busybox", "sh", "-c", usr1];
    world.hull(flags).success();
    eventually("it is ready", 20, || world.hull(["logs", "usr"]).stdout.contains("ready").then_some(()));
    world.hull(["stop", "usr"]).success();
    assert_eq!(world.inspect("usr", "{{.State.ExitCode}}"), "4");
}

#[test]
fn kill_sends_what_it_is_told() {
    let world = world();
    sleeper(&world, "web", &[]);
    world.hull(["kill", "-s", "NOPE", "web"]).status(1).says("NOPE");
    world.hull(["kill", "web"]).success();
    assert_eq!(world.hull(["wait", "web"]).success().text(), "137");
    world.hull(["kill", "web"]).status(1).says("is not running");
    world.hull(["kill", "nobody"]).status(1).says("No such container: nobody");
    world.hull(["stop", "nobody", "web"]).status(1).says("No such container: nobody");
}

#[test]
fn restart_starts_anew_and_keeps_the_files() {
    let world = world();
    let count = "echo x >> /count; sleep 600";
    world
        .hull(["run", "-d", "--name", "web", "--stop-signal", "KILL", "busybox", "sh", "-c", count])
        .success();
    let first = world.inspect("web", "{{.State.Pid}}");
    world.hull(["restart", "web"]).success();
    assert_ne!(world.inspect("web", "{{.State.Pid}}"), first);
    eventually("it counted twice", 20, || {
        (world.hull(["exec", "web", "wc", "-l", "/count"]).text() == "2 /count").then_some(())
    });
    world.hull(["stop", "web"]).success();
    world.hull(["restart", "web"]).success();
    assert_eq!(world.inspect("web", "{{.State.Running}}"), "true");
}

#[test]
fn pause_freezes_every_process() {
    let world = world();
    world
        .hull([
            "run",
            "-d",
            "--name",
            "tick",
            "--stop-signal",
            "KILL",
            "busybox",
            "sh",
            "-c",
            "while :; do echo t; sleep 0.02; done",
        ])
        .success();
    world.hull(["pause", "tick"]).success();
    assert_eq!(world.inspect("tick", "{{.State.Status}}"), "paused");
    assert!(world.hull(["ps"]).stdout.contains("(Paused)"));
    let lines = || world.hull(["logs", "tick"]).stdout.lines().count();
    let before = lines();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(lines(), before, "a frozen container says nothing");
    world.hull(["exec", "tick", "true"]).status(1).says("paused");
    world.hull(["pause", "tick"]).status(1).says("already paused");
    world.hull(["unpause", "tick"]).success();
    world.hull(["unpause", "tick"]).status(1).says("not paused");
    eventually("it goes on", 10, || (lines() > before).then_some(()));
    world.hull(["pause", "tick"]).success();
    world.hull(["rm", "-f", "tick"]).success();
}

#[test]
fn wait_gives_the_status() {
    let world = world();
    world.hull(["run", "-d", "--name", "job", "busybox", "sh", "-c", "sleep 0.3; exit 12"]).success();
    let waiting = world.spawn(["wait", "job"]);
    assert_eq!(waiting.finish().success().text(), "12");
    world.hull(["wait", "nobody"]).status(1).says("No such container: nobody");
}

#[test]
fn top_and_stats_look_inside() {
    let world = world();
    sleeper(&world, "web", &["--memory", "64m"]);
    let top = world.hull(["top", "web"]).success();
    assert!(top.stdout.contains("PID") && top.stdout.contains("sleep 600"), "{top}");
    let stats = world
        .hull(["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "web"])
        .success();
    assert!(stats.stdout.starts_with("web ") && stats.stdout.contains("/ 64MiB 1"), "{stats}");
    let table = world.hull(["stats", "--no-stream"]).success();
    assert!(table.stdout.contains("CPU %") && table.stdout.contains("web"), "{table}");
    world.hull(["stop", "web"]).success();
    world.hull(["top", "web"]).status(1).says("is not running");
}

#[test]
fn diff_names_what_changed() {
    let world = world();
    let change = "echo x > /new; rm /etc/group; echo y >> /etc/passwd";
    world.hull(["run", "--name", "job", "busybox", "sh", "-c", change]).success();
    let diff = world.hull(["diff", "job"]).success();
    let mut lines: Vec<_> = diff.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A /new", "C /etc", "C /etc/passwd", "D /etc/group"], "{diff}");
}

#[test]
fn update_changes_limits_in_place() {
    let world = world();
    sleeper(&world, "web", &["--memory", "64m"]);
    world
        .hull(["update", "--memory", "96m", "--memory-swap", "96m", "--restart", "on-failure:2", "web"])
        .success();
    assert_eq!(world.inspect("web", "{{.HostConfig.Memory}}"), (96 << 20).to_string());
    assert_eq!(world.inspect("web", "{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
    let stats = world.hull(["stats", "--no-stream", "--format", "{{.MemUsage}}", "web"]).success();
    assert!(stats.stdout.contains("/ 96MiB"), "{stats}");
}

#[test]
fn an_updated_limit_outlives_a_restart() {
    let world = world();
    sleeper(&world, "web", &["--restart", "always", "--memory", "64m"]);
    world.hull(["update", "--memory", "32m", "--cpus", "0.5", "web"]).success();
    let first = world.inspect("web", "{{.State.Pid}}");
    assert!(std::process::Command::new("kill").args(["-KILL", &first]).status().is_ok());
    eventually("it is back", 20, || {
        (world.inspect("web", "{{.State.Running}} {{.RestartCount}}") == "true 1").then_some(())
    });
    let stats = world.hull(["stats", "--no-stream", "--format", "{{.MemUsage}}", "web"]).success();
    assert!(stats.stdout.contains("/ 32MiB"), "{stats}");
    let id = world.inspect("web", "{{.Id}}");
    let plan = world.run_root().join("containers").join(id).join("launch.json");
    let plan = std::fs::read_to_string(plan).expect("it runs");
    assert!(plan.contains("\"limit\":33554432") && plan.contains("\"quota\":50000"), "{plan}");
}

#[test]
fn update_refuses_what_create_refuses() {
    let world = world();
    sleeper(&world, "web", &["--memory", "64m"]);
    world.hull(["update", "--memory", "1k", "web"]).status(1).says("Minimum memory limit allowed is 6MB");
    world.hull(["update", "--memory-swap", "16m", "web"]).status(1).says("memoryswap");
    world.hull(["update", "--cpus", "0.5", "web"]).success();
    world.hull(["update", "--cpu-quota", "5000", "web"]).status(1).says("Nano CPUs");
    // Zero says nothing.
    world.hull(["update", "--cpus", "0", "web"]).success();
    assert_eq!(world.inspect("web", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}"), "500000000 67108864");
}

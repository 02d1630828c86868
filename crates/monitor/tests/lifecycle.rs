//! Real monitors, real containers: starting, ending, stopping, restarting, being killed.

mod common;

use std::time::{Duration, Instant};

use common::{ATTACH, Box, read_all};
use diag::Diagnose;
use monitor::client::StopOptions;
use monitor::plan::{Networking, RestartPolicy};
use monitor::state::{Status, Supervision};

#[test]
fn output_and_exit_code_are_recorded() {
    let one = Box::new("record", "echo out; echo err >&2; exit 3");
    one.launch();
    let state = one.wait_end();
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, 3, 0));
    assert!(state.finished_at_ns >= state.started_at_ns && state.started_at_ns > 0);
    let mut lines: Vec<_> = one.log().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(one.events(), ["start", "die"]);
    assert_eq!(one.observe().supervision, Supervision::Ended);
    // Survives a reboot, which empties the run root.
    std::fs::remove_dir_all(&one.run_dir).unwrap();
    let observed = one.observe();
    assert_eq!((observed.supervision, observed.state.exit_code), (Supervision::Ended, 3));
}

#[test]
fn a_launch_that_fails_leaves_nothing_and_says_why() {
    let mut one = Box::new("missing", "");
    one.plan.spec.process.as_mut().unwrap().args = vec!["no-such-program".into()];
    let failure = one.try_launch(None).unwrap_err();
    assert_eq!(failure.exit_status(), Some(127), "{failure}");
    assert!(failure.to_string().contains("executable file not found in $PATH"), "{failure}");
    let observed = one.observe();
    assert_eq!(observed.supervision, Supervision::Never);
    assert_eq!((observed.state.status, observed.state.exit_code), (Status::Created, 127));
    assert!(observed.state.error.unwrap().contains("no-such-program"));
    assert!(one.cgroups().is_empty() && !monitor::is_alive(&one.run_dir));
    // And it can be launched after all.
    one.plan.spec.process.as_mut().unwrap().args = vec!["true".into()];
    one.launch();
    assert_eq!(one.wait_end().exit_code, 0);
}

#[test]
fn a_second_launch_is_refused() {
    let one = Box::new("second", "sleep 100");
    one.launch();
    let failure = one.try_launch(None).unwrap_err();
    assert_eq!(failure.class(), diag::Class::Conflict, "{failure}");
    assert_eq!(one.observe().state.status, Status::Running);
}

#[test]
fn a_stop_that_is_heard_ends_at_once() {
    let one = Box::new("stop", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    one.launch();
    let deadline = Instant::now() + Duration::from_secs(10);
    while one.log().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = one.client().stop(StopOptions::default()).unwrap();
    assert_eq!(ended.code, 7);
    assert_eq!(one.log(), "ready\nbye\n");
    let state = one.wait_end();
    assert!(state.stopped_by_user);
    assert_eq!(one.events(), ["start", "kill", "die", "stop"]);
}

#[test]
fn a_stop_that_is_ignored_becomes_a_kill() {
    let mut one = Box::new("ignore", "trap '' TERM; while :; do sleep 1; done");
    one.plan.restart = RestartPolicy::Always;
    one.launch();
    let begun = Instant::now();
    let ended = one.client().stop(StopOptions { signal: None, timeout_s: Some(1) }).unwrap();
    assert_eq!(ended.code, 137);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(one.observe().state.restart_count, 0);
}

#[test]
fn a_failing_container_is_started_again_as_often_as_allowed() {
    let mut one = Box::new("again", "echo run; exit 1");
    one.plan.restart = RestartPolicy::OnFailure { max: 2 };
    one.launch();
    one.wait_for("the last end", |state| state.status == Status::Exited);
    let state = one.wait_end();
    assert_eq!((state.restart_count, state.exit_code), (2, 1));
    assert_eq!(one.log(), "run\nrun\nrun\n");
    assert_eq!(one.events(), ["start", "die", "start", "die", "start", "die"]);
}

#[test]
fn stopping_between_two_restarts_ends_it() {
    let mut one = Box::new("between", "exit 1");
    one.plan.restart = RestartPolicy::Always;
    one.launch();
    one.wait_for("some restarts", |state| state.restart_count >= 2 && state.status == Status::Restarting);
    let ended = one.client().stop(StopOptions::default()).unwrap();
    assert_eq!(ended.code, 1);
    assert_eq!(one.wait_end().status, Status::Exited);
}

#[test]
fn a_signal_from_outside_restarts_and_one_by_request_does_not() {
    let mut one = Box::new("killed", "sleep 100");
    one.plan.restart = RestartPolicy::UnlessStopped;
    let pid = one.launch().pid;
    sys::process::kill(pid, 9).unwrap();
    let state =
        one.wait_for("a restart", |state| state.restart_count == 1 && state.status == Status::Running);
    assert_ne!(state.pid, pid);
    one.client().kill(9).unwrap();
    assert_eq!(one.wait_end().exit_code, 137);
}

#[test]
fn a_requested_restart_keeps_the_network_namespace() {
    let one = Box::new("restart", "readlink /proc/self/ns/net; sleep 100");
    let first = one.launch().pid;
    one.wait_for("output", |_| one.log().lines().count() == 1);
    let (second, _) = one.client().restart(StopOptions { signal: Some(9), timeout_s: None }).unwrap();
    assert_ne!(first, second);
    one.wait_for("output", |_| one.log().lines().count() == 2);
    let log = one.log();
    let namespaces: Vec<_> = log.lines().collect();
    assert_eq!(namespaces[0], namespaces[1]);
    assert_eq!(one.events(), ["start", "kill", "die", "stop", "start", "restart"]);
}

#[test]
fn a_killed_monitor_leaves_no_ghost() {
    let one = Box::new("ghost", "sleep 100");
    let launched = one.launch();
    let container = sys::process::open(launched.pid).unwrap();
    sys::process::kill(launched.monitor_pid, 9).unwrap();
    // The kernel takes the container with it.
    let gone = sys::event::poll_one(
        std::os::fd::AsFd::as_fd(&container),
        sys::event::PollFlags::IN,
        Some(Duration::from_secs(10)),
    );
    assert!(gone.unwrap(), "the container outlived its monitor");
    one.wait_for("the lock", |_| !monitor::is_alive(&one.run_dir));
    let observed = one.observe();
    assert_eq!(observed.supervision, Supervision::Orphaned);
    assert_eq!((observed.state.status, observed.state.exit_code), (Status::Exited, 137));
    assert!(monitor::recover(&one.run_dir).unwrap());
    assert!(!monitor::recover(&one.run_dir).unwrap());
    assert!(one.cgroups().is_empty());
    assert_eq!(one.observe().supervision, Supervision::Ended);
    assert_eq!(one.events(), ["start", "die"]);
}

#[test]
fn a_machine_that_goes_down_stops_it_in_good_order() {
    let mut one = Box::new("down", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done");
    one.plan.restart = RestartPolicy::UnlessStopped;
    let launched = one.launch();
    one.wait_for("the trap", |_| one.log() == "ready\n");
    sys::process::kill(launched.monitor_pid, 15).unwrap();
    let state = one.wait_end();
    assert_eq!((state.exit_code, state.stopped_by_user), (5, false));
}

#[test]
fn recovery_ends_what_the_kernel_let_live() {
    // A change of user takes the parent-death signal back.
    let one = Box::new("gosu", "exec busybox su user -c 'echo changed; exec sleep 100'");
    let launched = one.launch();
    one.wait_for("the change", |_| one.log() == "changed\n");
    let container = sys::process::open(launched.pid).unwrap();
    sys::process::kill(launched.monitor_pid, 9).unwrap();
    one.wait_for("the lock", |_| !monitor::is_alive(&one.run_dir));
    assert!(monitor::recover(&one.run_dir).unwrap());
    let container = std::os::fd::AsFd::as_fd(&container);
    let patience = Some(Duration::from_secs(10));
    assert!(sys::event::poll_one(container, sys::event::PollFlags::IN, patience).unwrap());
    assert_eq!(one.observe().state.exit_code, 137);
}

#[test]
fn pausing_stops_time() {
    let one = Box::new("pause", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done");
    one.launch();
    one.wait_for("output", |_| one.log().lines().count() > 3);
    let mut client = one.client();
    client.pause().unwrap();
    assert_eq!(one.observe().state.status, Status::Paused);
    assert_eq!(client.pause().unwrap_err().class(), diag::Class::Conflict);
    std::thread::sleep(Duration::from_millis(30));
    let before = one.log();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(one.log(), before);
    client.unpause().unwrap();
    one.wait_for("more output", |_| one.log().len() > before.len());
    client.pause().unwrap();
    // Stopping a paused container thaws it.
    client.stop(StopOptions { signal: Some(9), timeout_s: None }).unwrap();
}

#[test]
fn the_reaper_runs_unless_the_client_removes() {
    let mut one = Box::new("reap", "exit 4");
    one.plan.auto_remove = true;
    one.launch();
    one.wait_for("the reaper", |_| one.dir.join("reaped").exists());
    std::fs::remove_file(one.dir.join("reaped")).unwrap();

    let options = monitor::client::AttachOptions { will_remove: true, ..ATTACH };
    let launched = one.try_launch(Some(options)).unwrap();
    let monitor_pid = launched.monitor_pid;
    let mut stream = launched.stream.unwrap();
    while let Some(frame) = stream.reader.next_frame().unwrap() {
        if let monitor::client::Frame::Exited(ended) = frame {
            assert_eq!(ended.code, 4);
            stream.writer.reaping().unwrap();
        }
    }
    let monitor = sys::process::open(monitor_pid).unwrap();
    sys::process::wait(std::os::fd::AsFd::as_fd(&monitor)).unwrap();
    assert!(!one.dir.join("reaped").exists());

    // Input that nobody read does not keep the client from saying so.
    let mut flooded = Box::new("flood", "exit 0");
    (flooded.plan.auto_remove, flooded.plan.open_stdin) = (true, true);
    let mut stream = flooded.try_launch(Some(options)).unwrap().stream.unwrap();
    stream.writer.stdin(&vec![0; 4 << 20]).unwrap();
    while !matches!(stream.reader.next_frame().unwrap(), Some(monitor::client::Frame::Exited(_))) {}
    let begun = Instant::now();
    stream.writer.reaping().unwrap();
    stream.reader.wait_end().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!flooded.dir.join("reaped").exists());

    // A client that dies before it has said so leaves it to the monitor.
    drop(one.try_launch(Some(options)).unwrap());
    one.wait_for("the reaper", |_| one.dir.join("reaped").exists());
}

#[test]
fn memory_beyond_the_limit_is_reported() {
    let mut one = Box::new("oom", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    let resources = one.plan.spec.linux.as_mut().unwrap().resources.as_mut().unwrap();
    resources.memory =
        Some(oci::runtime::LinuxMemory { limit: Some(16 << 20), swap: Some(16 << 20), ..Default::default() });
    one.launch();
    let state = one.wait_end();
    assert_eq!((state.exit_code, state.oom_killed), (137, true));
    assert_eq!(one.events(), ["start", "oom", "die"]);
}

#[test]
fn a_container_in_the_hosts_network_needs_no_namespace() {
    let mut one = Box::new("host", "readlink /proc/self/ns/net");
    one.plan.network = Networking::Host;
    one.plan.users = monitor::plan::Users::Given;
    let namespaces = &mut one.plan.spec.linux.as_mut().unwrap().namespaces;
    namespaces.retain(|namespace| namespace.r#type != oci::runtime::NamespaceType::Network);
    let launched = one.try_launch(Some(ATTACH)).unwrap();
    let (out, err, code) = read_all(launched);
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!((out.trim_end(), err.as_str(), code), (ours.to_str().unwrap(), "", Some(0)));
}

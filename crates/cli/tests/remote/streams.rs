//! What goes on while it is watched: attached containers, processes, logs, events, statistics.

use testkit::eventually;

use crate::Two;

#[test]
fn output_errors_and_status_come_through() {
    let two = Two::new();
    let script = "cat; echo err >&2; exit 7";
    let output =
        two.here.hull_with_input(two.args(&["run", "--rm", "-i", "busybox", "sh", "-c", script]), b"input\n");
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str(), output.status),
        ("input\n", "err\n", Some(7))
    );
    // More than any buffer on the way holds, both ways.
    let large = vec![b'x'; 3 << 20];
    let output = two.here.hull_with_input(
        two.args(&["run", "--rm", "-i", "busybox", "sh", "-c", "cat | md5sum; yes | head -c 3000000"]),
        &large,
    );
    assert_eq!(output.status, Some(0), "{}", output.stderr);
    assert_eq!(output.stdout.len(), 36 + 3_000_000);
    assert_eq!(two.there.world.hull(["ps", "-aq"]).stdout, "");
}

#[test]
fn signals_reach_the_container() {
    let two = Two::new();
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let running = two.here.spawn(two.args(&["run", "--name", "box", "busybox", "sh", "-c", script]));
    eventually("it is ready", 20, || {
        two.there.world.hull(["logs", "box"]).stdout.contains("ready").then_some(())
    });
    running.signal("TERM");
    let output = running.finish().status(3);
    assert_eq!(output.stdout, "ready\ntold\n");
    // One that has closed its output is still told.
    let script = "trap 'exit 4' INT; exec >/dev/null 2>&1; while :; do sleep 0.1; done";
    let running = two.here.spawn(two.args(&["run", "--name", "box2", "busybox", "sh", "-c", script]));
    eventually("it runs", 20, || {
        (two.there.world.hull(["ps", "-q", "--filter", "name=box2"]).text().len() == 12).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal("INT");
    running.finish().status(4);
}

#[test]
fn terminals_have_sizes_and_are_detached_from() {
    let two = Two::new();
    let mut terminal = two.here.terminal(two.args(&["run", "-it", "--name", "box", "busybox", "sh"]));
    terminal.send("stty size\n");
    terminal.expect("40 100");
    terminal.resize(20, 60);
    eventually("the size has arrived", 20, || {
        terminal.send("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        two.there.world.hull(["logs", "box"]).stdout.contains("20 60").then_some(())
    });
    terminal.send("\u{10}\u{11}");
    assert_eq!(terminal.finish().0, Some(0));
    assert_eq!(two.there.world.inspect("box", "{{.State.Running}}"), "true");
    let mut terminal = two.here.terminal(two.args(&["attach", "--detach-keys", "ctrl-x", "box"]));
    terminal.send("echo $((6*7))\n");
    terminal.expect("42");
    terminal.send("\u{18}");
    assert_eq!(terminal.finish().0, Some(0));
    let mut terminal = two.here.terminal(two.args(&["exec", "-it", "box", "sh"]));
    terminal.send("stty size; exit 5\n");
    terminal.expect("40 100");
    assert_eq!(terminal.finish().0, Some(5));
    two.hull(&["attach", "none"]).status(1);
    let mut terminal = two.here.terminal(two.args(&["start", "-ai", "box"]));
    terminal.send("exit 6\n");
    assert_eq!(terminal.finish().0, Some(6));
    two.hull(&["attach", "box"]).status(1).says("You cannot attach to a stopped container");
    two.hull(&["run", "-it", "busybox"]).status(1).says("the input device is not a TTY");
}

#[test]
fn processes_are_run_in_containers() {
    let two = Two::new();
    two.hull(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    let script = "echo $A $PWD; id -u; cat; echo err >&2; exit 9";
    let exec = ["exec", "-i", "-e", "A=b", "-w", "/tmp", "-u", "5", "box", "sh", "-c", script];
    let output = two.here.hull_with_input(two.args(&exec), b"in");
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str(), output.status),
        ("b /tmp\n5\nin", "err\n", Some(9))
    );
    two.hull(&["exec", "-d", "box", "touch", "/made"]).success();
    eventually("it was made", 20, || {
        (two.hull(&["exec", "box", "test", "-e", "/made"]).status == Some(0)).then_some(())
    });
    assert_eq!(two.hull(&["exec", "box", "frob"]).status, Some(127));
    assert_eq!(two.hull(&["exec", "box", "/etc"]).status, Some(126));
    two.hull(&["exec", "-it", "box", "true"]).status(1).says("the input device is not a TTY");
}

#[test]
fn logs_are_read_and_followed() {
    let two = Two::new();
    two.hull(&["run", "--name", "box", "busybox", "sh", "-c", "echo one; echo err >&2; echo two"]).success();
    for args in [
        &["logs", "box"][..],
        &["logs", "-n", "1", "box"],
        &["logs", "--since", "1h", "box"],
        &["logs", "--until", "1h", "box"],
    ] {
        let (over, at) = (two.hull(args).success(), two.there.world.hull(args).success());
        assert_eq!((over.stdout, over.stderr), (at.stdout, at.stderr), "{args:?}");
    }
    let stamped = two.hull(&["logs", "-t", "box"]).success().stdout;
    assert!(stamped.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{stamped}");
    two.hull(&["run", "-d", "--name", "box2", "busybox", "sh", "-c", "echo begun; sleep 2; echo done"])
        .success();
    assert_eq!(two.hull(&["logs", "-f", "box2"]).success().stdout, "begun\ndone\n");
    two.hull(&["run", "-d", "-t", "--name", "box3", "busybox", "echo", "raw"]).success();
    eventually("it is written", 20, || (two.hull(&["logs", "box3"]).stdout == "raw\r\n").then_some(()));
}

#[test]
fn events_and_statistics() {
    let two = Two::new();
    two.hull(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=start"];
    let printed = two.same(&events);
    assert!(printed.contains(" container start ") && printed.contains("name=box"), "{printed}");
    two.same(&[&events[..], &["--format", "{{.Actor.Attributes.name}} {{.Action}}"]].concat());
    let row = two
        .hull(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.CPUPerc}}", "box"])
        .success()
        .stdout;
    assert!(row.starts_with("box 1 0.") && row.ends_with("%\n"), "{row}");
    assert_eq!(two.hull(&["stats", "--no-stream", "--format", "{{.Name}}"]).success().stdout, "box\n");
    two.hull(&["stats", "--no-stream", "none"]).status(1).says("No such container: none");
}

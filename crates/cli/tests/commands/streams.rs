//! Standard input and output, logs, attach, and signals of an attached command.

use std::io::Write as _;

use testkit::eventually;

use crate::world;

#[test]
fn input_and_output_pass_through() {
    let world = world();
    let big = vec![b'x'; 3_000_000];
    let counted = world
        .hull_with_input(["run", "--rm", "-i", "--network", "none", "busybox", "wc", "-c"], &big)
        .success();
    assert_eq!(counted.text(), "3000000");
    let same =
        world.hull_with_input(["run", "--rm", "-i", "--network", "none", "busybox", "cat"], &big).success();
    assert_eq!(same.stdout.len(), big.len());
    let closed = world.hull_with_input(["run", "--rm", "busybox", "wc", "-c"], b"not given").success();
    assert_eq!(closed.text(), "0", "without -i there is no input");
    let both = world.hull(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn signals_reach_the_program() {
    let world = world();
    let trap = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let running = world.spawn(["run", "--rm", "--name", "job", "busybox", "sh", "-c", trap]);
    eventually("the trap is set", 20, || world.hull(["logs", "job"]).stdout.contains("ready").then_some(()));
    running.signal("TERM");
    let output = running.finish().status(7);
    assert_eq!(output.stdout, "ready\ngot\n");
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");

    let running = world.spawn(["run", "--rm", "--init", "--name", "job", "busybox", "sleep", "600"]);
    eventually("it runs", 20, || (world.hull(["exec", "job", "true"]).status == Some(0)).then_some(()));
    running.signal("INT");
    running.finish().status(130);
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
}

#[test]
fn killing_the_command_leaves_the_container() {
    let world = world();
    let running = world.spawn(["run", "--name", "web", "busybox", "sh", "-c", "echo up; sleep 600"]);
    eventually("it runs", 20, || world.hull(["logs", "web"]).stdout.contains("up").then_some(()));
    running.signal("KILL");
    running.finish();
    assert_eq!(world.inspect("web", "{{.State.Status}}"), "running");
    world.hull(["exec", "web", "true"]).success();
}

#[test]
fn attach_joins_and_leaves() {
    let world = world();
    world.hull(["run", "-di", "--name", "echo", "busybox", "cat"]).success();
    let mut attached = world.spawn(["attach", "echo"]);
    let mut stdin = attached.stdin().expect("it was asked for");
    stdin.write_all(b"hello\n").expect("it reads");
    eventually("the line was logged", 20, || {
        world.hull(["logs", "echo"]).stdout.contains("hello").then_some(())
    });
    drop(stdin);
    world.hull(["exec", "echo", "true"]).success();
    world.hull(["kill", "echo"]).success();
    let output = attached.finish().status(137);
    assert_eq!(output.stdout, "hello\n", "the end of our input was not the end of the container's");
    world.hull(["attach", "echo"]).status(1).says("stopped container");
}

#[test]
fn logs_follow_and_cut() {
    let world = world();
    let count = "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done";
    world.hull(["run", "-d", "--name", "count", "busybox", "sh", "-c", count]).success();
    let followed = world.spawn(["logs", "-f", "count"]).finish().success();
    assert_eq!(followed.stdout.lines().count(), 5, "{followed}");
    assert_eq!(world.hull(["logs", "-n", "2", "count"]).success().stdout, "line 4\nline 5\n");
    let stamped = world.hull(["logs", "-t", "--tail", "1", "count"]).success();
    assert!(stamped.stdout.starts_with("20") && stamped.stdout.ends_with("Z line 5\n"), "{stamped}");
    assert_eq!(world.hull(["logs", "--since", "2100-01-01T00:00:00Z", "count"]).success().stdout, "");
    world.hull(["logs", "nobody"]).status(1).says("No such container: nobody");

    let flags = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    let flood = ["busybox", "sh", "-c", "seq 1 5000"];
    world.hull([&["run", "--name", "flood"], &flags[..], &flood].concat()).success();
    let kept = world.hull(["logs", "flood"]).success();
    assert!(
        kept.stdout.ends_with("\n5000\n") && kept.stdout.len() < 20_000,
        "rotated: {}",
        kept.stdout.len()
    );
    world.hull(["run", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "hi"]).success();
    world.hull(["logs", "quiet"]).status(1);
}

#[test]
fn an_error_nobody_reads_is_still_only_an_error() {
    let world = world();
    for words in [["inspect", "nothing"], ["run", "--nothing"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = world.hull(words);
        let unread =
            world.command(words).stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(unread.code(), output.status, "{output}");
    }
}

//! Containers on a terminal: size, raw mode, detach keys, statuses.

use testkit::eventually;

use crate::world;

#[test]
fn a_terminal_has_a_size_and_a_status() {
    let world = world();
    let terminal = world.terminal(["run", "--rm", "-it", "busybox", "sh", "-c", "tty; stty size; exit 3"]);
    let (status, printed) = terminal.finish();
    assert_eq!(status, Some(3), "{printed}");
    assert!(printed.contains("/dev/pts/0") && printed.contains("40 100"), "{printed}");
    world.hull(["run", "--rm", "-it", "busybox", "true"]).status(1).says("the input device is not a TTY");
}

#[test]
fn keys_go_to_the_program_raw() {
    let world = world();
    let mut terminal = world.terminal(["run", "--rm", "-it", "--name", "shell", "busybox", "sh"]);
    terminal.send("echo $((40+2))\n");
    terminal.expect("42");
    terminal.send("sleep 600\n");
    eventually("sleep runs", 20, || {
        let listed = world.hull(["exec", "shell", "ps"]);
        listed.stdout.contains("sleep 600").then_some(())
    });
    terminal.send("\x03");
    terminal.send("echo still $((6*7+1))\n");
    terminal.expect("still 43");
    terminal.send("exit 4\n");
    assert_eq!(terminal.finish().0, Some(4));
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
}

#[test]
fn the_window_can_change() {
    let world = world();
    let watch = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let terminal = world.terminal(["run", "--rm", "-it", "busybox", "sh", "-c", watch]);
    terminal.expect("ready");
    terminal.resize(33, 77);
    terminal.expect("33 77");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn detach_keys_leave_the_container() {
    let world = world();
    let mut terminal = world.terminal(["run", "-it", "--name", "shell", "busybox", "sh"]);
    terminal.send("echo $((40+2))\n");
    terminal.expect("42");
    terminal.send("\x10\x11");
    let (status, printed) = terminal.finish();
    assert_eq!(status, Some(0), "{printed}");
    assert_eq!(world.inspect("shell", "{{.State.Status}}"), "running");

    let mut terminal = world.terminal(["attach", "--detach-keys", "ctrl-x,q", "shell"]);
    terminal.send("echo back $((40+3))\n");
    terminal.expect("back 43");
    terminal.send("\x18q");
    terminal.finish();
    assert_eq!(world.inspect("shell", "{{.State.Status}}"), "running");

    let mut terminal =
        world.terminal(["exec", "-it", "shell", "sh", "-c", "tty; stty size; read line; exit 6"]);
    terminal.expect("40 100");
    terminal.send("\n");
    assert_eq!(terminal.finish().0, Some(6));
}

#[test]
fn an_exec_that_is_detached_from_goes_on() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "600"]).success();
    let script = "echo ready; until test -e /go; do sleep 0.05; done; echo shown to nobody; touch /done; exec sleep 601";
    let mut terminal = world.terminal(["exec", "-it", "box", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\x10\x11");
    let (status, printed) = terminal.finish();
    assert_eq!(status, Some(0), "{printed}");
    world.hull(["exec", "box", "touch", "/go"]).success();
    eventually("it goes on", 20, || {
        (world.hull(["exec", "box", "test", "-e", "/done"]).status == Some(0)).then_some(())
    });
    assert!(world.hull(["top", "box"]).success().stdout.contains("sleep 601"));
}

#[test]
fn a_killed_client_leaves_the_container_and_others_can_attach() {
    let world = world();
    let mut terminal = world.terminal(["run", "-it", "--name", "shell", "busybox", "sh"]);
    terminal.send("echo $((40+2))\n");
    terminal.expect("42");
    terminal.kill();
    terminal.finish();
    assert_eq!(world.inspect("shell", "{{.State.Status}}"), "running");
    let mut terminal = world.terminal(["attach", "shell"]);
    terminal.send("echo back $((40+3)); exit 7\n");
    terminal.expect("back 43");
    assert_eq!(terminal.finish().0, Some(7));
}

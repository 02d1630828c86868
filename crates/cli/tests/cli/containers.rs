//! `run` and what it prints, returns and leaves.

use testkit::eventually;

use crate::world;

#[test]
fn output_and_exit_status_are_the_processes() {
    let world = world();
    let ran = world.hull(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]).status(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    world.hull(["run", "--rm", "busybox", "true"]).success();
    world.hull(["run", "--rm", "--init", "busybox", "sh", "-c", "kill -TERM $$"]).status(143);
    let fed = world.hull_with_input(["run", "--rm", "-i", "busybox", "cat"], b"through");
    assert_eq!(fed.success().stdout, "through");
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
}

#[test]
fn what_cannot_start_has_dockers_status() {
    let world = world();
    world.hull(["run", "--rm", "busybox", "nope"]).status(127).says("executable file not found in $PATH");
    world.hull(["run", "--rm", "busybox", "/etc/passwd"]).status(126).says("permission denied");
    world.hull(["run", "--pull", "never", "--rm", "nosuch"]).status(125).says("No such image: nosuch:latest");
    world.hull(["run", "--rm", "--pid", "frob", "busybox"]).status(125);
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
}

#[test]
fn detached_run_prints_the_id() {
    let world = world();
    let cidfile = world.scratch().join("cid");
    let cidfile = cidfile.to_string_lossy();
    let ran = world.hull(["run", "-d", "--name", "web", "--cidfile", &cidfile, "busybox", "sleep", "100"]);
    let ran = ran.success();
    let id = ran.text();
    assert_eq!(id.len(), 64);
    assert_eq!(std::fs::read_to_string(&*cidfile).expect("it was written"), id);
    assert_eq!(world.inspect("web", "{{.Id}} {{.State.Status}} {{.Name}}"), format!("{id} running /web"));
    world
        .hull(["run", "-d", "--cidfile", &cidfile, "busybox", "true"])
        .status(125)
        .says("container ID file found");
    world
        .hull(["run", "--name", "web", "busybox", "true"])
        .status(125)
        .says(&format!("Conflict. The container name \"/web\" is already in use by container \"{id}\"."));
    assert_eq!(world.hull(["rm", "-f", "web"]).success().text(), "web");
}

#[test]
fn options_reach_the_process() {
    let world = world();
    let run = |flags: &[&str], script: &str| {
        let args = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        world.hull(args).success().text().to_owned()
    };
    assert_eq!(run(&["-e", "A=b c", "-w", "/tmp"], "echo $A; pwd"), "b c\n/tmp");
    assert_eq!(run(&["-u", "user"], "id -un; echo $HOME"), "user\n/home");
    assert_eq!(run(&["-u", "12:34"], "id -u; id -g"), "12\n34");
    assert_eq!(run(&["-h", "box"], "hostname"), "box");
    assert_eq!(
        run(&["--read-only", "--tmpfs", "/t"], "touch /x 2>&1 | grep -c Read-only; touch /t/x && echo ok"),
        "1\nok"
    );
    assert_eq!(run(&["--add-host", "db:10.1.2.3"], "grep -c '10.1.2.3.*db' /etc/hosts"), "1");
    assert_eq!(run(&["--cap-drop", "ALL"], "grep CapEff /proc/self/status | cut -f2"), "0000000000000000");
    assert_eq!(run(&["--network", "none"], "ls /sys/class/net"), "lo");
    assert_eq!(run(&["--entrypoint", "echo"], "x"), "sh -c x");
    assert_eq!(run(&["--ulimit", "nofile=64:64"], "ulimit -n"), "64");
    assert_eq!(
        run(&["--sysctl", "net.ipv4.ip_default_ttl=33"], "cat /proc/sys/net/ipv4/ip_default_ttl"),
        "33"
    );
    assert_eq!(run(&["--shm-size", "8m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "8192");
    let env = world.file("vars", "# comment\nONE=1\nTWO=two words\n");
    assert_eq!(run(&["--env-file", &env.to_string_lossy()], "echo $ONE $TWO"), "1 two words");
}

#[test]
fn ps_filters_and_formats() {
    let world = world();
    world.hull(["run", "-d", "--name", "up", "-l", "tier=web", "busybox", "sleep", "100"]).success();
    world.hull(["run", "--name", "down", "busybox", "sh", "-c", "exit 3"]).status(3);
    assert_eq!(world.hull(["ps", "--format", "{{.Names}} {{.State}}"]).success().text(), "up running");
    let all = world.hull(["ps", "-a", "--format", "{{.Names}}"]).success();
    assert_eq!(all.text(), "down\nup");
    let one = |filter: &str| {
        world.hull(["ps", "-a", "-f", filter, "--format", "{{.Names}}"]).success().text().to_owned()
    };
    assert_eq!(one("label=tier=web"), "up");
    assert_eq!(one("status=exited"), "down");
    assert_eq!(one("exited=3"), "down");
    assert_eq!(one("name=do"), "down");
    assert_eq!(world.hull(["ps", "-lq", "--no-trunc"]).success().text().len(), 64);
    world.hull(["ps", "-f", "frob=x"]).status(1).says("invalid filter 'frob'");
    let table = world.hull(["ps", "-a"]).success().stdout;
    assert!(table.starts_with("CONTAINER ID   IMAGE     COMMAND "), "{table}");
    assert!(table.contains("Exited (3) "), "{table}");
}

#[test]
fn signals_are_passed_on() {
    let world = world();
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let running = world.spawn(["run", "--rm", "--name", "trap", "busybox", "sh", "-c", script]);
    eventually("the trap is set", 10, || world.hull(["logs", "trap"]).stdout.contains("ready").then_some(()));
    running.signal("TERM");
    let ended = running.finish().status(9);
    assert_eq!(ended.stdout, "ready\ncaught\n");
}

#[test]
fn a_killed_cli_hurts_no_container() {
    let world = world();
    let running =
        world.spawn(["run", "--name", "on", "busybox", "sh", "-c", "sleep 0.5; echo later; sleep 100"]);
    eventually("it runs", 10, || (world.hull(["ps", "-q"]).text().len() == 12).then_some(()));
    running.signal("KILL");
    running.finish();
    eventually("it writes on", 10, || world.hull(["logs", "on"]).stdout.contains("later").then_some(()));
    assert_eq!(world.inspect("on", "{{.State.Running}}"), "true");
}

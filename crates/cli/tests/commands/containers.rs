//! `run`, `create`, `start`, `exec`, `ps`, `rm`: statuses and names.

use crate::{sleeper, world};

#[test]
fn exit_statuses_are_the_programs_or_dockers() {
    let world = world();
    let run = |command: &[&str]| {
        let mut args = vec!["run", "--rm", "--network", "none", "busybox"];
        args.extend(command);
        world.hull(args)
    };
    assert_eq!(run(&["echo", "hi"]).success().stdout, "hi\n");
    run(&["sh", "-c", "exit 42"]).status(42);
    run(&["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]).status(143);
    run(&["nope"]).status(127).says("exec: \"nope\": executable file not found in $PATH");
    run(&["/bin/nope"]).status(127).says("/bin/nope").says("no such file or directory");
    run(&["/etc/passwd"]).status(126).says("permission denied");
    run(&["/etc"]).status(126).says("is a directory");
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "", "--rm leaves nothing");

    world.hull(["run", "--name", "bad", "busybox", "nope"]).status(127);
    assert_eq!(world.inspect("bad", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
}

#[test]
fn exec_runs_beside_the_program() {
    let world = world();
    sleeper(&world, "web", &["-e", "COLOR=blue"]);
    let exec = |args: &[&str]| world.hull([&["exec"], args].concat());
    assert_eq!(
        exec(&["web", "sh", "-c", "echo $COLOR; hostname"]).success().stdout.lines().next(),
        Some("blue")
    );
    exec(&["web", "sh", "-c", "exit 9"]).status(9);
    exec(&["web", "nope"]).status(127).says("executable file not found in $PATH");
    exec(&["web", "/etc/passwd"]).status(126);
    exec(&["web", "sh", "-c", "kill -KILL $$"]).status(137);
    assert_eq!(exec(&["-u", "user", "web", "id", "-u"]).success().text(), "1000");
    assert_eq!(exec(&["-w", "/var", "web", "pwd"]).success().text(), "/var");
    assert_eq!(exec(&["-e", "A=b", "web", "sh", "-c", "echo $A"]).success().text(), "b");
    let cat = world.hull_with_input(["exec", "-i", "web", "cat"], b"through").success();
    assert_eq!(cat.stdout, "through");
    exec(&["-d", "web", "touch", "/tmp/mark"]).success();
    testkit::eventually("the detached process did its work", 10, || {
        (exec(&["web", "test", "-e", "/tmp/mark"]).status == Some(0)).then_some(())
    });
    exec(&["nobody", "true"]).status(1).says("No such container: nobody");
    world.hull(["stop", "web"]).success();
    exec(&["web", "true"]).status(1).says("is not running");
}

#[test]
fn names_are_taken_once() {
    let world = world();
    sleeper(&world, "web", &[]);
    let id = world.inspect("web", "{{.Id}}");
    let conflict = format!("Conflict. The container name \"/web\" is already in use by container \"{id}\"");
    world.hull(["run", "-d", "--name", "web", "busybox", "true"]).status(125).says(&conflict);
    world.hull(["create", "--name", "web", "busybox", "true"]).status(1).says(&conflict);
    world.hull(["rename", "web", "front"]).success();
    assert_eq!(world.inspect(&id[..12], "{{.Name}}"), "/front");
    assert_eq!(world.inspect(&id[..4], "{{.Id}}"), id, "a prefix is enough");
    world.hull(["inspect", "web"]).status(1).says("web");
    sleeper(&world, "web", &[]);
    world.hull(["rename", "web", "front"]).status(1).says("already in use");
    world
        .hull(["run", "--name", "-bad-", "busybox", "true"])
        .status(125)
        .says("Invalid container name (-bad-)");
}

#[test]
fn created_then_started_then_removed() {
    let world = world();
    let id = world
        .hull(["create", "--name", "job", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5"])
        .success();
    assert_eq!(id.text().len(), 64);
    assert_eq!(world.inspect("job", "{{.State.Status}}"), "created");
    let attached = world.hull(["start", "-a", "job"]).status(5);
    assert_eq!((attached.stdout.as_str(), attached.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(world.hull(["start", "job"]).success().text(), "job");
    assert_eq!(world.hull(["wait", "job"]).success().text(), "5");
    let logs = world.hull(["logs", "job"]).success();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\nout\n", "err\nerr\n"));

    assert_eq!(world.hull(["rm", "job"]).success().text(), "job");
    world.hull(["rm", "job"]).status(1).says("No such container: job");
    world.hull(["rm", "-f", "job"]).success().says("No such container: job");
    sleeper(&world, "busy", &[]);
    world.hull(["rm", "busy"]).status(1).says("running");
    world.hull(["rm", "-f", "busy"]).success();
}

#[test]
fn ps_lists_filters_and_formats() {
    let world = world();
    sleeper(&world, "one", &["--label", "tier=db"]);
    world.hull(["run", "--name", "two", "busybox", "sh", "-c", "exit 3"]).status(3);
    let names = |args: &[&str]| {
        let output = world.hull([&["ps", "--format", "{{.Names}}"], args].concat()).success();
        let mut names: Vec<_> = output.stdout.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "one");
    assert_eq!(names(&["-a"]), "one two");
    assert_eq!(names(&["-a", "-f", "status=exited"]), "two");
    assert_eq!(names(&["-a", "-f", "exited=3"]), "two");
    assert_eq!(names(&["-f", "label=tier=db"]), "one");
    assert_eq!(names(&["-f", "name=tw", "-a"]), "two");
    assert_eq!(names(&["-a", "-f", "ancestor=busybox"]), "one two");
    let table = world.hull(["ps", "-a"]).success();
    assert!(table.stdout.starts_with("CONTAINER ID   IMAGE "), "{table}");
    assert!(table.stdout.contains("Exited (3)") && table.stdout.contains("Up "), "{table}");
    world.hull(["ps", "-f", "nope=1"]).status(1).says("nope");
}

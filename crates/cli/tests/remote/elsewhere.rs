//! The engine that was chosen is the one that is used, or none.

use testkit::World;

use crate::{HULL, Two, is_untouched};

/// The commands of a help text.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !name.starts_with('-')).map(str::to_owned).collect()
}

/// What each command needs to get as far as its engine.
fn arguments(command: &str) -> Vec<&'static str> {
    match command.rsplit(' ').next().unwrap() {
        "run" | "create" if !command.contains("network") && !command.contains("volume") => vec!["busybox"],
        "exec" => vec!["box", "true"],
        "cp" => vec!["box:/etc", "."],
        "rename" | "tag" => vec!["a", "b"],
        "connect" | "disconnect" => vec!["n", "box"],
        "update" => vec!["-m", "64m", "box"],
        "prune" => vec!["--force"],
        "import" => vec!["/dev/null"],
        "load" => vec!["-i", "/dev/null"],
        "save" => vec!["-o", "saved.tar", "i"],
        "export" => vec!["-o", "exported.tar", "box"],
        "ps" | "ls" | "images" | "info" | "events" | "df" | "stats" | "boot" | "version" => vec![],
        "copy" => vec!["a", "b"],
        "search" => vec!["x"],
        "reset" => vec!["--force"],
        "check" | "serve" | "compose" => vec![],
        "build" => vec!["."],
        _ => vec!["x"],
    }
}

/// The commands that need no engine: they work whatever is chosen.
const NOWHERE: &[&str] = &["context ", "logout", "manifest "];
/// The commands that work with this host's engine alone.
const HERE: &[&str] = &[
    "build",
    "builder build",
    "compose",
    "image bootstrap",
    "image build",
    "image check",
    "image copy",
    "image mount",
    "image tree",
    "image unmount",
    "image verify",
    "login",
    "registry serve",
    "serve",
    "system boot",
    "system reset",
];

/// No command falls back to the engine of this host when it cannot use the one that was chosen; whatever the table says.
#[test]
fn no_command_uses_this_host_by_mistake() {
    let world = World::new(HULL);
    let mut commands = Vec::new();
    for command in listed(&world.hull(["--help"]).stdout) {
        let help = world.hull([&command, "--help"]).success().stdout;
        match help.contains("\nCommands:\n") && command != "compose" {
            true => commands.extend(listed(&help).into_iter().map(|inner| format!("{command} {inner}"))),
            false => commands.push(command),
        }
    }
    assert!(commands.len() > 90, "{commands:?}");
    let mut here = Vec::new();
    for command in &commands {
        if NOWHERE.iter().any(|nowhere| command.starts_with(nowhere)) {
            continue;
        }
        let words: Vec<&str> = command.split(' ').chain(arguments(command)).collect();
        let output = world.hull([&["-H", "unix:///nowhere/docker.sock"], &words[..]].concat());
        assert_ne!(output.status, Some(0), "{output}");
        if output.stderr.contains("works with the engine of this host alone") {
            assert!(output.stderr.contains(&format!("error: `hull {command}` works")), "{output}");
            assert!(
                output.stderr.contains(&format!("hint: for this host say `hull -c default {command}`")),
                "{output}"
            );
            here.push(command.as_str());
        } else {
            assert!(
                output.stderr.contains("cannot connect to the engine at unix:///nowhere/docker.sock"),
                "{output}"
            );
            let expected = if command.ends_with("run") { 125 } else { 1 };
            assert_eq!(output.status, Some(expected), "{output}");
        }
        is_untouched(&world);
    }
    here.sort_unstable();
    assert_eq!(here, HERE);
}

#[test]
fn flags_come_before_the_environment_and_that_before_contexts() {
    let two = Two::new();
    let names = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = two.here.command([args, &["info", "-f", "{{.Name}} {{.Instance}}"]].concat());
        command.envs(environment.iter().copied());
        testkit::Output::of(&mut command)
    };
    let there = two.there.world.hull(["info", "-f", "{{.Name}} {{.Instance}}"]).success().stdout;
    let host = two.there.host();
    two.here.hull(["context", "create", "there", "--docker", &format!("host={host}")]).success();
    two.here.hull(["context", "create", "gone", "--docker", "host=unix:///nowhere.sock"]).success();
    assert_eq!(names(&["-H", &host], &[("HULL_HOST", "unix:///nowhere.sock")]).success().stdout, there);
    assert_eq!(names(&["-c", "there"], &[("HULL_HOST", "unix:///nowhere.sock")]).success().stdout, there);
    assert_eq!(names(&[], &[("HULL_HOST", &host), ("HULL_CONTEXT", "gone")]).success().stdout, there);
    assert_eq!(names(&[], &[("HULL_CONTEXT", "there")]).success().stdout, there);
    names(&["--host", &host, "--context", "there"], &[])
        .status(1)
        .says("cannot specify both --host and --context");
    names(&["-c", "none"], &[]).status(1).says("context \"none\" does not exist");
    two.here.hull(["context", "use", "there"]).success().says("Current context is now \"there\"");
    assert_eq!(names(&[], &[]).success().stdout, there);
    names(&[], &[("HULL_CONTEXT", "gone")])
        .status(1)
        .says("cannot connect to the engine at unix:///nowhere.sock");
    two.here.hull(["serve"]).status(1).says("`hull serve` works with the engine of this host alone");
    two.here.hull(["context", "use", "default"]).success();
    is_untouched(&two.here);
}

/// Docker's variables lead Docker's client, often to a hull: they do not lead hull.
#[test]
fn dockers_variables_are_not_read() {
    let world = World::new(HULL);
    let mut command = world.command(["ps", "-q"]);
    command.envs([("DOCKER_HOST", "unix:///nowhere.sock"), ("DOCKER_CONTEXT", "none")]);
    assert_eq!(testkit::Output::of(&mut command).success().stdout, "");
}

#[test]
fn flags_of_this_host_alone_are_refused_by_name() {
    let two = Two::new();
    for (args, flag) in [
        (&["run", "--pull", "lazy", "busybox"][..], "--pull lazy"),
        (&["pull", "--all-platforms", "busybox"], "--all-platforms"),
        (&["push", "--compression", "zstd", "busybox"], "--compression"),
        (&["images", "--tree"], "--tree"),
        (&["save", "--format", "oci-archive", "-o", "x", "busybox"], "--format"),
    ] {
        let status = if args[0] == "run" { 125 } else { 1 };
        two.hull(args)
            .status(status)
            .says(&format!("error: {flag} works with the engine of this host alone"));
    }
}

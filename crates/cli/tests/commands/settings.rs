//! Flags that set the program's environment, names, user and directory.

use crate::{sleeper, world};

#[test]
fn the_program_sees_its_environment() {
    let world = world();
    let file = world.file("env", "# a comment\nFROM_FILE=1\nHOME_OF=${HOME}\nEMPTY=\n");
    let file = file.to_string_lossy();
    let mut command = world.command([
        "run",
        "--rm",
        "-e",
        "A=b c",
        "-e",
        "TAKEN",
        "-e",
        "ABSENT",
        "--env-file",
        &file,
        "busybox",
        "env",
    ]);
    command.env("TAKEN", "from here").env_remove("ABSENT");
    let output = command.output().expect("the binary was built");
    let text = String::from_utf8_lossy(&output.stdout);
    let has = |line: &str| text.lines().any(|found| found == line);
    for line in ["A=b c", "TAKEN=from here", "FROM_FILE=1", "HOME_OF=${HOME}", "EMPTY=", "HOME=/root"] {
        assert!(has(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("ABSENT") && !text.contains("HULL_ROOT"), "{text}");
    world.hull(["run", "--rm", "--env-file", "nope", "busybox", "env"]).status(125).says("nope");
}

#[test]
fn names_and_addresses_are_written_to_etc() {
    let world = world();
    let flags = [
        "--hostname",
        "box",
        "--add-host",
        "db:10.1.2.3",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "example.org",
        "--network",
        "none",
    ];
    let look = "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf";
    let output =
        world.hull([&["run", "--rm"], &flags[..], &["busybox", "sh", "-c", look]].concat()).success();
    assert!(output.stdout.starts_with("box\nbox\n"), "{output}");
    assert!(output.stdout.contains("10.1.2.3\tdb"), "{output}");
    let output = world.hull([
        "run",
        "--rm",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "example.org",
        "busybox",
        "cat",
        "/etc/resolv.conf",
    ]);
    assert!(output.stdout.contains("search example.org"), "{output}");
    world.hull(["run", "--rm", "--add-host", "db", "busybox", "true"]).status(125).says("db");
    world.hull(["run", "--rm", "--dns", "nine", "busybox", "true"]).status(125).says("nine");
}

#[test]
fn user_group_and_directory() {
    let world = world();
    let id = |flags: &[&str]| {
        let run = [
            &["run", "--rm", "--network", "none"],
            flags,
            &["busybox", "sh", "-c", "id -u; id -g; id -G; pwd; echo $HOME"],
        ];
        let output = world.hull(run.concat()).success();
        output.stdout.lines().collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(id(&[]), "0 | 0 | 0 | / | /root");
    assert_eq!(id(&["-u", "user"]), "1000 | 1000 | 1000 29 | / | /home");
    assert_eq!(id(&["-u", "33:1000", "-w", "/made/here"]), "33 | 1000 | 1000 | /made/here | /var/www");
    assert_eq!(id(&["-u", "7:8", "--group-add", "audio"]), "7 | 8 | 8 29 | / | /");
    world.hull(["run", "--rm", "-u", "nobody-here", "busybox", "id"]).status(125).says("nobody-here");
    world.hull(["run", "--rm", "-w", "relative", "busybox", "id"]).status(125).says("relative");
}

#[test]
fn entrypoint_and_command() {
    let world = world();
    let run = |flags: &[&str], command: &[&str]| {
        world.hull([&["run", "--rm", "--network", "none"], flags, &["busybox"], command].concat())
    };
    assert_eq!(run(&["--entrypoint", "echo"], &["one", "two"]).success().stdout, "one two\n");
    assert_eq!(run(&["--entrypoint", ""], &["echo", "three"]).success().stdout, "three\n");
    run(&[], &[]).status(125).says("no command specified");
}

#[test]
fn init_reaps_and_namespaces_are_shared() {
    let world = world();
    let first =
        world.hull(["run", "--rm", "--init", "busybox", "sh", "-c", "echo $$; cat /proc/1/comm"]).success();
    assert!(!first.stdout.starts_with("1\n"), "{first}");
    sleeper(&world, "web", &["--hostname", "web-host"]);
    let joined = world.hull(["run", "--rm", "--pid", "container:web", "busybox", "ps"]).success();
    assert!(joined.stdout.contains("sleep 600"), "{joined}");
    let address = world.inspect("web", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let shown = world.hull(["run", "--rm", "--network", "container:web", "busybox", "ip", "addr"]).success();
    assert!(shown.stdout.contains(&address), "{shown}");
    let host = world.hull(["run", "--rm", "--uts", "host", "--pid", "host", "busybox", "hostname"]).success();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc is mounted");
    assert_eq!(host.text(), name.trim());
}

#[test]
fn labels_and_cidfile() {
    let world = world();
    let labels = world.file("labels", "from=file\n");
    let id_file = world.scratch().join("id");
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        "a=b",
        "--label-file",
        &labels.to_string_lossy(),
        "--cidfile",
        &id_file.to_string_lossy(),
        "busybox",
        "true",
    ]
    .map(str::to_owned);
    let id = world.hull(&run).success();
    assert_eq!(std::fs::read_to_string(&id_file).expect("it was written"), id.text());
    assert_eq!(world.inspect("web", "{{.Config.Labels.a}} {{.Config.Labels.from}}"), "b file");
    world.hull(&run).status(125).says("id");
}

//! What a process is allowed: capabilities, groups, set-id programs, keys.

use std::process::Command;

use crate::{TOOLS, sleeper, world};

#[test]
fn nothing_is_inheritable() {
    let world = world();
    sleeper(&world, "web", &[]);
    let look: &[&str] = &["grep", "-E", "CapInh|CapAmb", "/proc/self/status"];
    // CVE-2022-24769 for the first process, CVE-2022-29162 for those that follow.
    let ways: [&[&str]; 5] = [
        &["run", "--rm", "busybox"],
        &["run", "--rm", "--privileged", "busybox"],
        &["run", "--rm", "--cap-add", "ALL", "-u", "1000", "busybox"],
        &["exec", "web"],
        &["exec", "--privileged", "web"],
    ];
    for way in ways {
        let seen = world.hull([way, look].concat()).success();
        let zero = seen.stdout.lines().all(|line| line.ends_with("\t0000000000000000"));
        assert!(zero && seen.stdout.lines().count() == 2, "{seen}");
    }
}

#[test]
fn only_the_users_own_groups_are_kept() {
    let world = world();
    let hull = |args: &[&str]| {
        let command = world.command(args);
        // The caller is a member of many groups.
        let mut grouped = Command::new("setpriv");
        grouped.args(["--groups", "4,20,27,44"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            grouped.env(name, value.unwrap_or_default());
        }
        let output = grouped.output().expect("setpriv is part of Debian");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let groups = ["grep", "Groups", "/proc/self/status"];
    for (users, user, expected) in [
        ("private", "12345", "0"),
        ("host", "12345", "0"),
        ("host", "12345:12345", "12345"),
        ("private", "user", "29 1000"),
        ("host", "user:33", "33"),
    ] {
        let run = [&["run", "--rm", "--userns", users, "-u", user, "busybox"], &groups[..]].concat();
        assert_eq!(hull(&run).trim_start_matches("Groups:").trim(), expected, "{user}");
    }
    // A file that its group may not read, though everybody else may: leaving the group must not help (CVE-2022-2989).
    let fill = "echo text > /data/kept && chgrp 29 /data/kept && chmod 0604 /data/kept";
    world.hull(["run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", fill]).success();
    let read = |user: &str| {
        world.hull(["run", "--rm", "-v", "data:/data", "-u", user, "busybox", "cat", "/data/kept"]).status
    };
    assert_eq!(read("33"), Some(0));
    assert_ne!(read("user"), Some(0));
}

#[test]
fn set_id_programs_do_not_lead_out() {
    let world = world();
    let bind = world.scratch().join("bind");
    std::fs::create_dir(&bind).expect("a fresh directory");
    let volume = format!("{}:/b", bind.display());
    let make = "cp /usr/bin/id /b/id && chown 0:0 /b/id && chmod 4755 /b/id && chmod 755 /b";
    let in_tools = |flags: &[&str], program: &[&str]| {
        let run = ["run", "--rm", "-v", &volume];
        world.hull([&run[..], &TOOLS, flags, &["busybox"], program].concat())
    };
    in_tools(&[], &["sh", "-c", make]).success();
    let id = |flags: &[&str]| in_tools(flags, &["/b/id", "-u"]).success().text().to_owned();
    assert_eq!(id(&["-u", "1000"]), "0", "the bit works, or the rest proves nothing");
    assert_eq!(id(&["-u", "1000", "--security-opt", "no-new-privileges"]), "1000");
    // And the 0 it leads to is the container's.
    let map = in_tools(&["-u", "1000"], &["cat", "/proc/self/uid_map"]).success();
    assert!(map.text().ends_with("65536"), "{map}");
}

/// Joins a new session keyring and puts a key there, then runs the rest of the command line.
const WITH_KEY: &str = r#"
my ($name, $type, $desc, $data) = ("session-of-the-host", "user", "key-of-the-host", "hush");
syscall(250, 1, $name) > 0 or die "keyring: $!";
syscall(248, $type, $desc, $data, 4, -3) > 0 or die "key: $!";
exec @ARGV;
"#;

const FIND_KEY: &str = r#"
my ($type, $desc) = ("user", "key-of-the-host");
my $key = syscall(250, 10, -3, $type, $desc, 0);
print $key > 0 ? "found\n" : "none: $!\n";
"#;

#[test]
fn keys_of_the_host_stay_there() {
    let world = world();
    let with_key = |program: &std::ffi::OsStr, args: Vec<&std::ffi::OsStr>| {
        let mut perl = Command::new("perl");
        perl.args(["-e", WITH_KEY]).arg(program).args(args).current_dir(world.scratch());
        perl.env("HULL_ROOT", world.data_root()).env("HULL_RUN_ROOT", world.run_root());
        let output = perl.output().expect("Perl is part of Debian");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let find = ["perl", "-e", FIND_KEY];
    let plain = with_key("perl".as_ref(), vec!["-e".as_ref(), FIND_KEY.as_ref()]);
    if plain.contains("keyring:") {
        // A kernel without keys has none to keep.
        return;
    }
    assert_eq!(plain, "found\n", "the host itself has it");
    let seccomp = ["--security-opt", "seccomp=unconfined"];
    sleeper(&world, "web", &[&seccomp[..], &["--userns", "host"]].concat());
    for users in ["private", "host"] {
        let run = [&["run", "--rm", "--userns", users], &seccomp[..], &TOOLS, &["busybox"], &find].concat();
        let command = world.command(run);
        let seen = with_key(command.get_program(), command.get_args().collect());
        assert!(seen.starts_with("none"), "{users}: {seen}");
    }
    let command = world.command([&["exec", "web"], &find[..]].concat());
    let seen = with_key(command.get_program(), command.get_args().collect());
    assert!(seen.starts_with("none"), "{seen}");
    // By default a container has no keyring calls at all.
    let refused = world.hull([&["run", "--rm"], &TOOLS[..], &["busybox"], &find].concat()).success();
    assert!(refused.text().contains("not permitted"), "{refused}");
}

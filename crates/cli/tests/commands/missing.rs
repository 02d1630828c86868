//! A kernel or a user that does not have what hull needs: the message names it, and nothing is left.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;

use testkit::{Output, World};

use crate::world;

/// Runs `hull` where the kernel answers ENOSYS to `syscall`, as one does that is too old, or a sandbox.
fn without(syscall: &str, world: &World, args: &[&str]) -> Output {
    let profile = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["{syscall}"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}}]}}"#
    );
    let profile = runtime::seccomp::Profile::parse(profile.as_bytes()).expect("it is in Docker's format");
    let filter = runtime::seccomp::Seccomp::Profile(Box::new(profile));
    let filter = filter.compile(sys::capability::CapabilitySet::default()).expect("the call exists");
    let filter = filter.expect("a profile has a filter");
    // A filter is for one thread and what it starts.
    let run = || {
        filter.install().expect("tests run as root");
        world.hull(args)
    };
    std::thread::scope(|scope| scope.spawn(run).join()).expect("the thread does not panic")
}

#[test]
fn a_missing_system_call_is_named() {
    let world = world();
    world.file("Dockerfile", "FROM busybox\nRUN true\n");
    let calls = [
        "clone3",
        "close_range",
        "fsopen",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "pivot_root",
        "seccomp",
    ];
    for syscall in calls {
        let expected = format!("does not offer {syscall};");
        without(syscall, &world, &["run", "--rm", "busybox", "true"]).status(125).says(&expected);
        assert_eq!(world.hull(["ps", "-aq"]).success().text(), "", "{syscall}");
        without(syscall, &world, &["build", "--no-cache", "."]).status(1).says(&expected);
    }
    // Without this one nothing is ever unpacked.
    let archive = testkit::busybox_tar();
    without("openat2", &world, &["import", &archive.to_string_lossy(), "again"])
        .status(1)
        .says("does not offer openat2;");
    assert_eq!(world.hull(["images", "-aq"]).success().stdout.lines().count(), 1);
    world.hull(["run", "--rm", "busybox", "true"]).success();
}

const NOBODY: u32 = 65534;

/// `hull` with `args` as nobody, a user without subordinate ids on every system.
fn as_nobody(world: &World, args: &[&str]) -> Output {
    // The build directory may be one that only root may enter.
    let binary = world.scratch().join("hull");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_hull"), &binary).expect("the file system has room");
    }
    let run = world.scratch().join("run");
    std::fs::create_dir_all(&run).expect("our own directory");
    chown(&run, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    let mut command = std::process::Command::new(binary);
    command.args(args).current_dir("/").uid(NOBODY).gid(NOBODY).stdin(std::process::Stdio::null());
    command.env_remove("HULL_ROOT").env_remove("HULL_RUN_ROOT").env("XDG_RUNTIME_DIR", run);
    let line = format!("{command:?}");
    Output::new(line, command.output().expect("it may be executed"))
}

#[test]
fn a_user_without_ids_is_told_what_to_do() {
    let world = world();
    for (args, status) in
        [(&["ps"][..], 1), (&["run", "--rm", "busybox", "true"], 125), (&["compose", "ls"], 1)]
    {
        let output = as_nobody(&world, args).status(status);
        output
            .says("error: user nobody has no subordinate user ids in /etc/subuid")
            .says("hint: let root give it some: `usermod --add-subuids");
    }
    as_nobody(&world, &["version"]).success();
}

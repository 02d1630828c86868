//! User ids: root in a container is nobody on the host, and files have the owners people expect on both sides.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::world;

fn uid_on_host(world: &testkit::World, container: &str) -> u32 {
    let pid = world.inspect(container, "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("every process has one");
    line.split_whitespace().next().and_then(|uid| uid.parse().ok()).expect("a number")
}

#[test]
fn root_inside_is_nobody_outside_and_no_two_share_ids() {
    let world = world();
    for name in ["one", "two"] {
        world.hull(["run", "-d", "--name", name, "busybox", "sleep", "1000"]).success();
    }
    let (one, two) = (uid_on_host(&world, "one"), uid_on_host(&world, "two"));
    assert!(one >= 65_536 && two >= 65_536 && one.abs_diff(two) >= 65_536, "{one} {two}");
    assert_eq!(world.hull(["exec", "one", "id", "-u"]).success().text(), "0");
    assert_eq!(world.hull(["exec", "-u", "user", "one", "id", "-u"]).success().text(), "1000");
    // The same user by the host's number.
    assert_eq!(uid_on_host(&world, "one"), one);
    let top = world.hull(["top", "one", "-o", "user,pid,cmd"]).success();
    assert!(top.stdout.contains("root"), "{top}");
    // What the host's root may do to itself, a container's may not to the host.
    let probe =
        "cat /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic; mknod /tmp/x b 7 0; mount -t tmpfs x /mnt";
    let refused = world.hull(["exec", "--privileged", "one", "sh", "-c", probe]);
    assert_ne!(refused.status, Some(0), "{refused}");
}

#[test]
fn the_hosts_ids_are_kept_where_asked_for_or_needed() {
    let world = world();
    for flags in [
        &["--userns", "host"][..],
        &["--privileged"],
        &["--pid", "host"],
        &["--network", "host"],
        &["--ipc", "host"],
    ] {
        let args = [&["run", "--rm"][..], flags, &["busybox", "cat", "/proc/self/uid_map"]].concat();
        let map = world.hull(args).success();
        assert!(map.text().ends_with("4294967295"), "{flags:?}: {map}");
    }
    world
        .hull(["run", "--rm", "--userns", "private", "--privileged", "busybox", "true"])
        .status(125)
        .says("conflicting options: --userns=private and --privileged");
    world.hull(["create", "--name", "host", "--userns", "host", "busybox", "true"]).success();
    assert_eq!(world.inspect("host", "{{.HostConfig.UsernsMode}}"), "host");
}

#[test]
fn files_of_volumes_binds_and_copies_have_the_expected_owners() {
    let world = world();
    let bind = world.scratch().join("bind");
    fs::create_dir(&bind).expect("a fresh directory");
    fs::write(bind.join("theirs"), "").expect("it is ours");
    std::os::unix::fs::chown(bind.join("theirs"), Some(1000), Some(1000)).expect("we are root");
    let volume = format!("{}:/b", bind.display());
    world
        .hull([
            "run", "-d", "--name", "web", "-v", &volume, "-v", "data:/d", "--tmpfs", "/t", "busybox",
            "sleep", "1000",
        ])
        .success();
    let inside = |script: &str| world.hull(["exec", "web", "sh", "-c", script]).success().text().to_owned();
    assert_eq!(
        inside("stat -c '%u %n' /b/theirs /d /t /etc/hosts /etc/resolv.conf; touch /b/root /d/root"),
        "1000 /b/theirs\n0 /d\n0 /t\n0 /etc/hosts\n0 /etc/resolv.conf"
    );
    world.hull(["exec", "-u", "1000", "web", "sh", "-c", "echo more >> /b/theirs"]).success();
    assert_eq!(fs::metadata(bind.join("root")).expect("it was made").uid(), 0);
    inside("echo '1.2.3.4 extra' >> /etc/hosts");
    // Copies, while it runs and when it does not.
    let (file, back) = (world.scratch().join("file"), world.scratch().join("back"));
    fs::write(&file, "text").expect("a fresh file");
    std::os::unix::fs::chown(&file, Some(1000), Some(1000)).expect("we are root");
    let copy = |from: &str, to: &str| world.hull(["cp", "-a", from, to]).success();
    copy(&file.display().to_string(), "web:/root/in");
    assert_eq!(inside("stat -c %u /root/in; chown 33 /root/in; cat /root/in"), "1000\ntext");
    copy("web:/root/in", &back.display().to_string());
    assert_eq!(fs::metadata(&back).expect("it was copied").uid(), 33);
    world.hull(["stop", "-t", "0", "web"]).success();
    copy("web:/root/in", &back.display().to_string());
    assert_eq!(fs::metadata(&back).expect("it was copied").uid(), 33);
    copy(&file.display().to_string(), "web:/root/again");
    world.hull(["start", "web"]).success();
    assert_eq!(inside("stat -c %u /root/in /root/again /b/theirs"), "33\n1000\n1000");
    // An image made of it has the owners, and whoever runs it sees them.
    world.hull(["commit", "web", "copy"]).success();
    let seen = world.hull(["run", "--rm", "copy", "stat", "-c", "%u", "/root/in", "/root/again"]).success();
    assert_eq!(seen.text(), "33\n1000");
}

#[test]
fn capabilities_of_files_go_in_and_out_and_count() {
    let world = world();
    world.hull(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).success();
    let cat = world.scratch().join("cat");
    world.hull(["cp", "web:/bin/busybox", &cat.display().to_string()]).success();
    // cap_dac_override+ep, as setcap(8) writes it: for the root of wherever the file is.
    let capable = [1, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attribute = |path: &std::path::Path| {
        sys::fs::get_xattr(fs::File::open(path).expect("it is there"), c"security.capability")
            .expect("it can be read")
    };
    sys::fs::set_xattr(fs::File::open(&cat).expect("it is there"), c"security.capability", &capable)
        .expect("we are root");
    world.hull(["exec", "web", "sh", "-c", "echo hidden > /secret; chmod 600 /secret"]).success();
    let works = |name: &str, place: &str| {
        let seen = world.hull(["exec", "--user", "1000", name, &format!("{place}/cat"), "/secret"]);
        assert_eq!(seen.success().text(), "hidden");
    };
    let copy = |from: &str, to: &str| world.hull(["cp", from, to]).success();
    let path = |name: &str| world.scratch().join(name).display().to_string();
    world.hull(["exec", "--user", "1000", "web", "cat", "/secret"]).status(1);
    copy(&path("cat"), "web:/home/cat");
    works("web", "/home");
    // One file, a directory, and while it does not run.
    copy("web:/home/cat", &path("one"));
    copy("web:/home", &path("home"));
    world.hull(["stop", "-t", "0", "web"]).success();
    copy("web:/home/cat", &path("stopped"));
    copy(&path("one"), "web:/root/cat");
    for back in ["one", "home/cat", "stopped"] {
        assert_eq!(attribute(&world.scratch().join(back)).as_deref(), Some(&capable[..]), "{back}");
    }
    // An image made of it has them, as root's own.
    world.hull(["commit", "web", "copy"]).success();
    world.hull(["run", "-d", "--name", "copy", "copy", "sleep", "1000"]).success();
    works("copy", "/home");
    let upper = world.data_root().join("snapshots");
    let found =
        fs::read_dir(upper).expect("it has some").flatten().map(|entry| entry.path().join("home/cat"));
    let found: Vec<_> = found.filter(|path| path.exists()).map(|path| attribute(&path)).collect();
    assert_eq!(found, [Some(capable.to_vec())]);
}

#[test]
fn a_container_that_joins_another_shares_its_ids() {
    let world = world();
    world.hull(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]).success();
    let script = "readlink /proc/self/ns/user; readlink /proc/self/ns/net";
    let alone = world.hull(["exec", "one", "sh", "-c", script]).success();
    let joined =
        world.hull(["run", "--rm", "--network", "container:one", "busybox", "sh", "-c", script]).success();
    assert_eq!(joined.text(), alone.text());
    let pids = world.hull([
        "run",
        "--rm",
        "--pid",
        "container:one",
        "busybox",
        "sh",
        "-c",
        "cat /proc/1/comm; kill -0 1",
    ]);
    assert_eq!(pids.success().text(), "sleep");
}

#[test]
fn ipc_and_shared_memory_are_shared_with_who_allows_it() {
    let world = world();
    world.hull(["run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sleep", "1000"]).success();
    world.hull(["run", "-d", "--name", "alone", "busybox", "sleep", "1000"]).success();
    let script = "readlink /proc/self/ns/user; readlink /proc/self/ns/ipc";
    let theirs = world.hull(["exec", "donor", "sh", "-c", script]).success();
    world.hull(["exec", "donor", "sh", "-c", "echo from donor > /dev/shm/a; chown 33 /dev/shm/a"]).success();
    let join = |donor: &str, script: &str| {
        world.hull(["run", "--rm", "--ipc", &format!("container:{donor}"), "busybox", "sh", "-c", script])
    };
    assert_eq!(join("donor", script).success().text(), theirs.text());
    let seen = join(
        "donor",
        "cat /dev/shm/a; stat -c %u /dev/shm/a; echo back > /dev/shm/b; grep -c ' /dev/shm .*nosuid,nodev,noexec' /proc/mounts",
    );
    assert_eq!(seen.success().text(), "from donor\n33\n1");
    assert_eq!(world.hull(["exec", "donor", "cat", "/dev/shm/b"]).success().text(), "back");
    join("alone", "true").status(125).says("container alone: non-shareable IPC").says("--ipc shareable");
    join("nobody", "true").status(125).says("No such container: nobody");
    world.hull(["stop", "-t", "0", "donor"]).success();
    join("donor", "true").status(125).says("it is not running");
    assert_eq!(world.hull(["ps", "-aq"]).success().stdout.lines().count(), 2);
    // Where nobody has ids of his own.
    let shared = ["--userns", "host", "--ipc"];
    world
        .hull(
            [&["run", "-d", "--name", "host"][..], &shared, &["shareable", "busybox", "sleep", "99"]]
                .concat(),
        )
        .success();
    let joined =
        [&["run", "--rm"][..], &shared, &["container:host", "busybox", "touch", "/dev/shm/c"]].concat();
    world.hull(&joined).success();
    assert_eq!(world.hull(["exec", "host", "ls", "/dev/shm"]).success().text(), "c");
}

#[test]
fn a_restart_finds_the_network_it_had() {
    let world = world();
    world.hull(["run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", "busybox", "sleep", "1000"]).success();
    let address = "ip -o -4 addr show eth0 | wc -l; ip link set lo mtu 1234 2>&1 | grep -c permitted";
    let before = world.hull(["exec", "web", "sh", "-c", address]).success();
    world.hull(["restart", "-t", "0", "web"]).success();
    assert_eq!(world.hull(["exec", "web", "sh", "-c", address]).success().text(), before.text());
}

#[test]
fn the_environment_says_what_is_the_default() {
    let world = world();
    let map = |policy: &str| {
        let mut command = world.command(["run", "--rm", "busybox", "cat", "/proc/self/uid_map"]);
        let output = command.env("HULL_USERNS", policy).output().expect("the binary was built");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    assert!(map("host").1.trim_end().ends_with("4294967295"));
    assert!(map("require").1.trim_end().ends_with("65536"));
    let (status, text) = map("sometimes");
    assert!(text.contains("HULL_USERNS is \"sometimes\", not one of private, require and host"), "{text}");
    assert_eq!(status, Some(125));
}

#[test]
fn a_build_step_has_ids_of_its_own() {
    let world = world();
    let context = world.scratch().join("context");
    fs::create_dir(&context).expect("a fresh directory");
    let dockerfile = "FROM busybox\nRUN cat /proc/self/uid_map > /map && touch /mine && chown 33 /mine\n\
                      RUN --mount=type=cache,target=/c --mount=type=secret,id=s stat -c '%u' /c /run/secrets/s > /owners && cat /run/secrets/s\n\
                      COPY --from=busybox /bin/busybox /copy\n";
    fs::write(context.join("Dockerfile"), dockerfile).expect("a fresh file");
    fs::write(world.scratch().join("secret"), "hush").expect("a fresh file");
    let secret = format!("id=s,src={}", world.scratch().join("secret").display());
    world.hull(["build", "-q", "-t", "made", "--secret", &secret, &context.display().to_string()]).success();
    let seen =
        world.hull(["run", "--rm", "made", "sh", "-c", "cat /map /owners; stat -c %u /mine /copy"]).success();
    let lines: Vec<&str> = seen.text().lines().collect();
    assert!(lines[0].ends_with("65536") && !lines[0].contains(" 0  "), "{seen}");
    assert_eq!(lines[1..], ["0", "0", "33", "0"], "{seen}");
}

//! Limits and rights, seen from inside the container.

use testkit::{World, eventually};

use crate::{sleeper, world};

#[test]
fn memory_is_limited() {
    let world = world();
    let eat = "x=; while :; do x=$x$x.................................................; done";
    let flags = ["run", "--name", "eater", "--memory", "16m", "--memory-swap", "16m"];
    world.hull([&flags[..], &["busybox", "sh", "-c", eat]].concat()).status(137);
    assert_eq!(world.inspect("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    world.hull(["run", "--rm", "--memory", "1", "busybox", "true"]).status(125).says("6MB");
    world.hull(["run", "--rm", "--memory", "lots", "busybox", "true"]).status(125).says("lots");
}

#[test]
fn processes_are_limited() {
    let world = world();
    let spawn = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait";
    let output = world.hull(["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", spawn]);
    assert!(output.stderr.contains("fork"), "{output}");
    assert_ne!(output.status, Some(0));
}

#[test]
fn processors_are_limited() {
    let world = world();
    sleeper(&world, "web", &["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"]);
    assert_eq!(world.inspect("web", "{{.HostConfig.NanoCpus}}"), "500000000");
    let allowed = world.hull(["exec", "web", "grep", "Cpus_allowed_list", "/proc/self/status"]).success();
    assert!(allowed.text().ends_with("\t0"), "{allowed}");
    let quota = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    let quota = world.hull(["exec", "web", "sh", "-c", quota]).success();
    assert!(quota.text().starts_with("50000"), "{quota}");
    world.hull(["run", "--rm", "--cpus", "x", "busybox", "true"]).status(125).says("x");
    world.hull(["run", "--rm", "--cpus", "9999", "busybox", "true"]).status(125).says("range of CPUs");
}

#[test]
fn ulimits_and_sysctls_are_set() {
    let world = world();
    let flags = ["--ulimit", "nofile=1024:2048", "--sysctl", "net.ipv4.ip_unprivileged_port_start=80"];
    let look = "ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let output =
        world.hull([&["run", "--rm"], &flags[..], &["busybox", "sh", "-c", look]].concat()).success();
    assert_eq!(output.stdout, "1024\n2048\n80\n");
    world
        .hull(["run", "--rm", "--sysctl", "kernel.panic=1", "busybox", "true"])
        .status(125)
        .says("kernel.panic");
    world.hull(["run", "--rm", "--ulimit", "nofile=9:3", "busybox", "true"]).status(125).says("nofile");
    world.hull(["run", "--rm", "--ulimit", "nope=1", "busybox", "true"]).status(125).says("nope");
    let shm = world.hull(["run", "--rm", "--shm-size", "8m", "busybox", "df", "-k", "/dev/shm"]).success();
    assert!(shm.stdout.contains("8192"), "{shm}");
}

#[test]
fn rights_are_dockers_and_change() {
    let world = world();
    let effective = |flags: &[&str]| {
        let run = [&["run", "--rm"], flags, &["busybox", "grep", "CapEff", "/proc/self/status"]].concat();
        world.hull(run).success().text().trim_start_matches("CapEff:").trim().to_owned()
    };
    assert_eq!(effective(&[]), "00000000a80425fb");
    assert_eq!(effective(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]), "0000000000000001");
    assert_eq!(effective(&["--cap-add", "net_admin"]), "00000000a80435fb");
    assert_eq!(effective(&["-u", "user"]), "0000000000000000");
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("Linux shows it");
    assert_eq!(effective(&["--privileged"]), own.trim(), "all there is");
    world.hull(["run", "--rm", "--cap-add", "FLY", "busybox", "true"]).status(125).says("FLY");

    let make = ["run", "--rm", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs t /m"];
    assert_ne!(world.hull(make).status, Some(0), "no mounts without CAP_SYS_ADMIN");
    let make = ["run", "--rm", "--privileged", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs t /m"];
    world.hull(make).success();
    let gained = |flags: &[&str]| {
        let run = [&["run", "--rm"], flags, &["busybox", "grep", "NoNewPrivs", "/proc/self/status"]].concat();
        world.hull(run).success().text().ends_with('1')
    };
    assert!(!gained(&[]) && gained(&["--security-opt", "no-new-privileges"]));
    world.hull(["run", "--rm", "--security-opt", "selinux=on", "busybox", "true"]).status(125);
}

#[test]
fn devices_are_few() {
    let world = world();
    let open = |flags: &[&str]| {
        let run =
            [&["run", "--rm"], flags, &["busybox", "sh", "-c", "mknod /tmp/kmsg c 1 11; head -c0 /tmp/kmsg"]];
        world.hull(run.concat()).status
    };
    assert_ne!(open(&[]), Some(0), "/dev/kmsg is not one of the devices");
    assert_eq!(open(&["--privileged"]), Some(0));
    world.hull(["run", "--rm", "--device", "/dev/fuse", "busybox", "test", "-c", "/dev/fuse"]).success();
    world.hull(["run", "--rm", "--device", "/dev/nope", "busybox", "true"]).status(125).says("/dev/nope");
    let masked = world.hull([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "wc -c < /proc/timer_list; echo 1 > /proc/sysrq-trigger",
    ]);
    assert_ne!(masked.status, Some(0), "{masked}");
    assert!(masked.stdout.starts_with('0'), "{masked}");
}

/// A control group of nobody else's.
fn parent(world: &World) -> String {
    let name = world.scratch().parent().and_then(|p| Some(p.file_name()?.to_str()?.to_owned()));
    format!("{}-parent", name.expect("it has a name"))
}

#[test]
fn steps_of_a_build_are_below_the_parent_they_are_given() {
    let world = world();
    let parent = parent(&world);
    let roots = || {
        let entries = std::fs::read_dir("/sys/fs/cgroup").expect("it is mounted").flatten();
        entries.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]).map(|root| root.join(&parent))
    };
    let groups = || {
        let entries = roots().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    world.file("Dockerfile", "FROM busybox\nRUN sleep 600\n");
    let build = world.spawn(["build", "--cgroup-parent", &format!("/{parent}"), "."]);
    eventually("the step is there", 60, || (groups() > 0).then_some(()));
    build.signal("KILL");
    build.finish();
    // The next build cleans up.
    world.file("Dockerfile", "FROM busybox\nRUN true\n");
    world.hull(["build", "--cgroup-parent", &parent, "."]).success();
    assert_eq!(groups(), 0);
    for root in roots() {
        let _ = std::fs::remove_dir(root);
    }
    for bad in ["/", "../up"] {
        let refused = world.hull(["build", "--no-cache", "--cgroup-parent", bad, "."]);
        refused.status(1).says("invalid cgroup parent");
    }
}

#[test]
fn a_control_group_is_below_the_parent_it_is_given() {
    let world = world();
    let parent = parent(&world);
    sleeper(&world, "web", &["--cgroup-parent", &format!("/{parent}/inner"), "--pids-limit", "50"]);
    let id = world.inspect("web", "{{.Id}}");
    let pid = world.inspect("web", "{{.State.Pid}}");
    let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let group = format!("/{parent}/inner/{id}");
    assert!(place.lines().any(|line| line.ends_with(&group)), "{place}");
    assert_eq!(world.inspect("web", "{{.HostConfig.CgroupParent}}"), format!("/{parent}/inner"));
    // Everything that looks for the group finds it there.
    assert!(world.hull(["top", "web"]).success().stdout.contains("sleep 600"));
    world.hull(["stats", "--no-stream", "web"]).success();
    world.hull(["exec", "web", "true"]).success();
    world.hull(["update", "--pids-limit", "60", "web"]).success();
    world.hull(["pause", "web"]).success();
    world.hull(["unpause", "web"]).success();
    // Also who cleans up after a killed monitor.
    crate::supervision::kill(&crate::supervision::monitor_of(&world, "web"));
    world.hull(["rm", "-f", "web"]).success();
    let mut left = 0;
    for hierarchy in
        std::fs::read_dir("/sys/fs/cgroup").expect("it is mounted").flatten().map(|entry| entry.path())
    {
        let inner = hierarchy.join(&parent).join("inner");
        left += usize::from(inner.join(&id).exists());
        // The parents are the user's business.
        let _ = std::fs::remove_dir(&inner);
        let _ = std::fs::remove_dir(inner.parent().expect("it has one"));
    }
    let unified = std::path::Path::new("/sys/fs/cgroup").join(&parent);
    left += usize::from(unified.join("inner").join(&id).exists());
    let _ = std::fs::remove_dir(unified.join("inner"));
    let _ = std::fs::remove_dir(&unified);
    assert_eq!(left, 0);
    for bad in ["/", "../up", "/a/../b"] {
        world
            .hull(["run", "--rm", "--cgroup-parent", bad, "busybox", "true"])
            .status(125)
            .says("invalid cgroup parent");
    }
}

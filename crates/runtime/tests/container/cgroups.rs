//! Containers in control groups.

use cgroup::{Cgroup, Hierarchy};
use oci::runtime::{LinuxMemory, LinuxPids, LinuxResources};
use runtime::{Exit, Stdio};

use crate::sandbox::{Sandbox, pipes};

crate::tests![
    a_container_is_in_its_group_and_sees_only_that,
    an_exec_joins_the_group,
    memory_and_process_limits_hold,
    devices_are_denied,
    a_v2_group_is_entered_at_birth,
];

/// A group that is removed when the test is over.
struct Group(Cgroup);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.kill_all().unwrap();
        self.0.remove().unwrap();
    }
}

fn group(hierarchy: &Hierarchy, resources: &LinuxResources) -> Group {
    let name = format!("hull-runtimetest/{}", std::process::id());
    Group(Cgroup::create(hierarchy, &name, resources).unwrap())
}

fn in_group(command: &str, change: impl FnOnce(&mut LinuxResources)) -> (Sandbox, Group) {
    let mut sandbox = Sandbox::shell(command);
    let resources = sandbox.linux().resources.as_mut().unwrap();
    change(resources);
    let group = group(&Hierarchy::detect().unwrap(), resources);
    sandbox.cgroup = Some(group.0.clone());
    (sandbox, group)
}

fn a_container_is_in_its_group_and_sees_only_that() {
    let (sandbox, group) = in_group(
        "grep -E ':(memory|pids|):' /proc/self/cgroup | cut -d: -f3 | sort -u; find /sys/fs/cgroup -name cgroup.procs | wc -l; \
         for limit in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do \
           test -e $limit || continue; cat $limit; mkdir ${limit%/*}/x 2>&1 | grep -c Read-only; \
           echo 1 2>/dev/null >$limit || echo ro; \
         done; mkdir /sys/fs/cgroup/x 2>&1 | grep -c Read-only",
        |resources| resources.memory = Some(LinuxMemory { limit: Some(64 << 20), ..LinuxMemory::default() }),
    );
    let text = sandbox.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0] == "/", "{text}");
    assert!(lines[1].parse::<u32>().unwrap() >= 1, "{text}");
    assert_eq!(lines[2..], ["67108864", "1", "ro", "1"], "{text}");
    assert!(group.0.pids().unwrap().is_empty());
}

fn an_exec_joins_the_group() {
    let (sandbox, group) = in_group("sleep 100", |_| {});
    let container = sandbox.start(Stdio::Null).unwrap();
    let mut process = Sandbox::shell("grep -E ':pids:|^0::' /proc/self/cgroup | cut -d: -f3 | head -1");
    let (stdio, pipes) = pipes();
    let exec = runtime::exec(runtime::Exec {
        id: "test",
        container: container.pidfd(),
        process: process.process(),
        linux: None,
        user: &sandbox.user,
        extra_groups: &[],
        cgroup: sandbox.cgroup.as_ref(),
        seccomp: &sandbox.seccomp,
        state: None,
        stdio,
        preserve_fds: 0,
    });
    assert_eq!(pipes.finish(exec.unwrap()).out, "/\n");
    assert_eq!(group.0.pids().unwrap(), [container.pid()]);
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn memory_and_process_limits_hold() {
    let (sandbox, group) =
        in_group("head -c 200000000 /dev/zero | tail | wc -c; echo ${PIPESTATUS}", |resources| {
            // Swap counts together with memory where the kernel accounts for it.
            resources.memory = Some(LinuxMemory { limit: Some(16 << 20), ..LinuxMemory::default() });
        });
    let _ = sandbox.output().unwrap();
    assert!(group.0.oom_kills().unwrap() > 0);
    drop(group);
    let (sandbox, _group) =
        in_group("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; echo; kill $(jobs -p)", |resources| {
            resources.pids = Some(LinuxPids { limit: 5 });
        });
    let output = sandbox.output().unwrap();
    assert!(format!("{}{}", output.out, output.err).contains("fork"), "{output:?}");
}

fn devices_are_denied() {
    let (sandbox, _group) = in_group(
        "mknod /srv/kmsg c 1 11 && cat /srv/kmsg 2>&1 | head -1; cat /dev/zero | head -c2 | wc -c",
        |_| {},
    );
    assert_eq!(sandbox.text(), "cat: can't open '/srv/kmsg': Operation not permitted\n2");
}

fn a_v2_group_is_entered_at_birth() {
    // Also on a hybrid host, whose v2 hierarchy has no controllers but takes processes.
    let point = match Hierarchy::detect().unwrap() {
        Hierarchy::V2 { point } => point,
        Hierarchy::V1 { unified: Some(point), .. } => point,
        Hierarchy::V1 { unified: None, .. } | Hierarchy::Delegated(_) | Hierarchy::Withheld => return,
    };
    let mut sandbox = Sandbox::shell(
        "grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup | grep -c cgroup.procs; cat /sys/fs/cgroup/cgroup.procs; exit 6",
    );
    let group = group(&Hierarchy::V2 { point }, &LinuxResources::default());
    sandbox.cgroup = Some(group.0.clone());
    let output = sandbox.output().unwrap();
    assert_eq!((output.exit, output.err.as_str()), (Exit::Code(6), ""));
    assert!(output.out.starts_with("0::/\n1\n1\n"), "{}", output.out);
}

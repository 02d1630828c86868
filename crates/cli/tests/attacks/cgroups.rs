//! Control groups as a way out: `release_agent` (CVE-2022-0492), and writing to one's own limits.

use std::fs;

use crate::{TOOLS, world};

/// The public proof of concept, in every variant that needs no privilege.
const ESCAPE: &str = r#"
mkdir -p /tmp/c
for kind in rdma memory pids misc freezer devices; do
    mount -t cgroup -o $kind none /tmp/c 2>/dev/null && break
done
grep -q ' /tmp/c cgroup' /proc/mounts && echo "mounted /tmp/c"
for root in /sys/fs/cgroup /sys/fs/cgroup/* $(grep ' /tmp/c cgroup' /proc/mounts | cut -d ' ' -f 2); do
    mkdir -p $root/x 2>/dev/null && echo "made $root/x"
    (echo 1 > $root/notify_on_release) 2>/dev/null && echo "wrote $root/notify_on_release"
    (echo AGENT > $root/release_agent) 2>/dev/null && echo "wrote $root/release_agent"
    (echo 0 > $root/x/cgroup.procs) 2>/dev/null && echo "moved to $root/x"
    (echo max > $root/memory.max) 2>/dev/null && echo "wrote $root/memory.max"
    (echo max > $root/pids.max) 2>/dev/null && echo "wrote $root/pids.max"
    (echo a > $root/devices.allow) 2>/dev/null && echo "wrote $root/devices.allow"
done
echo tried
"#;

#[test]
fn a_control_group_leads_nowhere() {
    let world = world();
    let marker = world.scratch().join("escaped");
    let agent = world.file("agent", &format!("#!/bin/sh\ntouch {}\n", marker.display()));
    let script = ESCAPE.replace("AGENT", &agent.to_string_lossy());
    let inner =
        format!("exec unshare -UrmC --propagation unchanged sh -c '{}'", script.replace('\'', r"'\''"));
    // Hierarchies of v1 have one, and groups of v2, which come and go with other tests' containers, have none.
    let agents = || {
        let roots = fs::read_dir("/sys/fs/cgroup").expect("it is mounted").flatten();
        roots
            .filter_map(|root| fs::read_to_string(root.path().join("release_agent")).ok())
            .collect::<Vec<_>>()
    };
    let before = agents();
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    for flags in [&[][..], &unconfined, &["--cap-add", "DAC_OVERRIDE"], &["--userns", "host"]] {
        for script in [&script, &inner] {
            let run = [&["run", "--rm"], flags, &TOOLS[..], &["busybox", "sh", "-c", script]].concat();
            let output = world.hull(run);
            assert!(output.stdout.contains("tried") || script == &inner, "{output}");
            // In a user namespace of its own (which the seccomp filter forbids) it may mount what it then cannot write to.
            let harmless = |line| line == "tried" || script == &inner && line == "mounted /tmp/c";
            assert!(output.text().lines().all(harmless), "{flags:?}: {output}");
        }
    }
    assert_eq!(agents(), before);
    assert!(!marker.exists());
}

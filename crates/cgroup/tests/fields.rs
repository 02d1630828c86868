//! Every field of `linux.resources` on the real kernel: what is written can be read back, or the error names what is missing.

use std::fs;
use std::path::PathBuf;

use cgroup::{Cgroup, CgroupError, Hierarchy};
use oci::runtime::*;

/// A group that goes with the test, whatever its outcome.
struct Group(Cgroup);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill_all();
        self.0.remove().expect("the group can be removed");
    }
}

fn hierarchies() -> Vec<Hierarchy> {
    let found = Hierarchy::detect().expect("control groups are mounted");
    let beside = match &found {
        Hierarchy::V1 { unified: Some(point), .. } => Some(Hierarchy::V2 { point: point.clone() }),
        _ => None,
    };
    std::iter::once(found).chain(beside).collect()
}

fn name(test: &str) -> String {
    format!("hull-field{}/{test}", std::process::id())
}

/// The directory of a group in the hierarchy that has `file`.
fn directory(hierarchy: &Hierarchy, test: &str, file: &str) -> PathBuf {
    let controller = file.split('.').next().expect("split has a first part");
    match hierarchy {
        Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
        Hierarchy::V2 { point } => point.join(name(test)),
        Hierarchy::V1 { mounts, .. } => {
            let mount = mounts.iter().find(|mount| mount.controllers.iter().any(|c| c == controller));
            mount.expect("it was written").point.join(name(test).replace('/', "-"))
        }
    }
}

/// What a version makes of a request.
enum Outcome<'a> {
    /// Files with what is in them afterwards; one of `a|b` exists.
    Files(&'a [(&'a str, &'a str)]),
    Refused(&'a str),
}
use Outcome::{Files, Refused};

/// Creates a group with `resources`, and updates one without limits with them.
fn check(test: &str, resources: &LinuxResources, v1: Outcome<'_>, v2: Outcome<'_>) {
    for hierarchy in hierarchies() {
        let (outcome, test) = match hierarchy {
            Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
            Hierarchy::V1 { .. } => (&v1, format!("{test}1")),
            Hierarchy::V2 { .. } => (&v2, format!("{test}2")),
        };
        let created = Cgroup::create(&hierarchy, &name(&test), resources).map(Group);
        check_outcome(&hierarchy, &test, created, outcome);
        let updated = Cgroup::create(&hierarchy, &name(&test), &LinuxResources::default()).map(Group);
        let updated = updated.and_then(|group| group.0.update(resources).map(|()| group));
        check_outcome(&hierarchy, &test, updated, outcome);
    }
}

fn check_outcome(hierarchy: &Hierarchy, test: &str, made: Result<Group, CgroupError>, outcome: &Outcome<'_>) {
    match (made, outcome) {
        (Ok(group), Files(files)) => {
            for (names, expected) in *files {
                let mut paths = names.split('|').map(|file| directory(hierarchy, test, file).join(file));
                let path = paths.find(|path| path.exists());
                let path = path.unwrap_or_else(|| panic!("{test}: there is no {names}"));
                let found = fs::read_to_string(&path).expect("it can be read");
                assert!(
                    found.lines().any(|line| line.trim() == *expected),
                    "{}: {found:?}, not {expected:?}",
                    path.display()
                );
            }
            drop(group);
        }
        (Err(error), Refused(expected)) => assert_eq!(error.to_string(), *expected, "{test}"),
        // This kernel's fault, if it is.
        (Err(CgroupError::MissingController { controller, .. }), Files(_)) => {
            assert!(
                !hierarchy.controllers().iter().any(|c| c == controller),
                "{test}: {controller} is there"
            );
        }
        (Err(CgroupError::MissingFile { file, what }), Files(files)) => {
            let [exact, ..] = files else { panic!("{test}: {what}") };
            assert!(OFTEN_MISSING.contains(&file.as_str()), "{test}: {what} needs {file} for {exact:?}");
        }
        (Err(error), Files(_)) => panic!("{test}: {error}: {:?}", std::error::Error::source(&error)),
        (Ok(_), Refused(expected)) => panic!("{test}: it was made, instead of: {expected}"),
    }
}

/// Files that depend on the configuration of the kernel.
const OFTEN_MISSING: &[&str] = &[
    "blkio.weight",
    "blkio.weight_device",
    "cpu.cfs_burst_us",
    "cpu.idle",
    "cpu.max.burst",
    "cpu.rt_period_us",
    "io.bfq.weight",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.swap.max",
];

fn cpu(cpu: LinuxCpu) -> LinuxResources {
    LinuxResources { cpu: Some(cpu), ..Default::default() }
}

fn memory(memory: LinuxMemory) -> LinuxResources {
    LinuxResources { memory: Some(memory), ..Default::default() }
}

fn block_io(io: LinuxBlockIo) -> LinuxResources {
    LinuxResources { block_io: Some(io), ..Default::default() }
}

#[test]
fn cpu_time() {
    check(
        "shares",
        &cpu(LinuxCpu { shares: Some(512), ..Default::default() }),
        Files(&[("cpu.shares", "512")]),
        Files(&[("cpu.weight", "59")]),
    );
    check(
        "quota",
        &cpu(LinuxCpu {
            quota: Some(20_000),
            period: Some(50_000),
            burst: Some(10_000),
            ..Default::default()
        }),
        Files(&[
            ("cpu.cfs_quota_us", "20000"),
            ("cpu.cfs_period_us", "50000"),
            ("cpu.cfs_burst_us", "10000"),
        ]),
        Files(&[("cpu.max", "20000 50000"), ("cpu.max.burst", "10000")]),
    );
    check(
        "idle",
        &cpu(LinuxCpu { idle: Some(1), ..Default::default() }),
        Files(&[("cpu.idle", "1")]),
        Files(&[("cpu.idle", "1")]),
    );
    check(
        "cpus",
        &cpu(LinuxCpu { cpus: Some("0".into()), mems: Some("0".into()), ..Default::default() }),
        Files(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]),
        Files(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]),
    );
    check(
        "rt",
        &cpu(LinuxCpu {
            realtime_period: Some(500_000),
            realtime_runtime: Some(1_000),
            ..Default::default()
        }),
        Files(&[("cpu.rt_period_us", "500000"), ("cpu.rt_runtime_us", "1000")]),
        Refused("a realtime limit is not possible with cgroup v2"),
    );
}

#[test]
fn memory_limits() {
    const MIB: i64 = 1 << 20;
    check(
        "memory",
        &memory(LinuxMemory {
            limit: Some(64 * MIB),
            swap: Some(96 * MIB),
            reservation: Some(32 * MIB),
            check_before_update: Some(true),
            disable_oom_killer: Some(false),
            use_hierarchy: Some(true),
            ..Default::default()
        }),
        Files(&[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.oom_control", "oom_kill_disable 0"),
        ]),
        Files(&[("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")]),
    );
    check(
        "unlimited",
        &memory(LinuxMemory { limit: Some(-1), swap: Some(-1), reservation: Some(-1), ..Default::default() }),
        Files(&[("memory.limit_in_bytes", "9223372036854771712")]),
        Files(&[("memory.max", "max"), ("memory.low", "max")]),
    );
    check(
        "swappiness",
        &memory(LinuxMemory { swappiness: Some(7), ..Default::default() }),
        Files(&[("memory.swappiness", "7")]),
        Refused("a swappiness is not possible with cgroup v2"),
    );
    check(
        "tcp",
        &memory(LinuxMemory { kernel_tcp: Some(MIB), ..Default::default() }),
        Files(&[("memory.kmem.tcp.limit_in_bytes", "1048576")]),
        Refused("a kernel memory limit is not possible with cgroup v2"),
    );
    check(
        "oomkiller",
        &memory(LinuxMemory { disable_oom_killer: Some(true), ..Default::default() }),
        Files(&[("memory.oom_control", "oom_kill_disable 1")]),
        Refused("a disabled OOM killer is not possible with cgroup v2"),
    );
    check(
        "kernel",
        &memory(LinuxMemory { kernel: Some(MIB), ..Default::default() }),
        Refused("a kernel memory limit is not possible with cgroup v1"),
        Refused("a kernel memory limit is not possible with cgroup v2"),
    );
}

#[test]
fn block_devices() {
    let Some(device) = fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with("loop"))?;
        fs::read_to_string(format!("/sys/block/{name}/dev")).ok()
    }) else {
        panic!("there is a disk");
    };
    let (major, minor) = device.trim().split_once(':').expect("major:minor");
    let (major, minor) = (major.parse().expect("a number"), minor.parse().expect("a number"));
    let line = |rest: &str| format!("{} {rest}", device.trim());
    let throttle = |rate| vec![LinuxThrottleDevice { major, minor, rate }];
    check(
        "throttle",
        &block_io(LinuxBlockIo {
            throttle_read_bps_device: throttle(1 << 20),
            throttle_write_bps_device: throttle(2 << 20),
            throttle_read_iops_device: throttle(300),
            throttle_write_iops_device: throttle(400),
            ..Default::default()
        }),
        Files(&[
            ("blkio.throttle.read_bps_device", &line("1048576")),
            ("blkio.throttle.write_bps_device", &line("2097152")),
            ("blkio.throttle.read_iops_device", &line("300")),
            ("blkio.throttle.write_iops_device", &line("400")),
        ]),
        Files(&[("io.max", &line("rbps=1048576 wbps=2097152 riops=300 wiops=400"))]),
    );
    check(
        "weight",
        &block_io(LinuxBlockIo { weight: Some(300), ..Default::default() }),
        Files(&[("blkio.weight|blkio.bfq.weight", "300")]),
        Files(&[("io.bfq.weight|io.weight", if bfq() { "300" } else { "default 2930" })]),
    );
    check(
        "leaf",
        &block_io(LinuxBlockIo { leaf_weight: Some(300), ..Default::default() }),
        Refused("a block I/O leaf weight is not possible with cgroup v1"),
        Refused("a block I/O leaf weight is not possible with cgroup v2"),
    );
}

/// Whether v2 groups have BFQ's file, by what a group with the controller shows.
fn bfq() -> bool {
    let Some(v2) = hierarchies().into_iter().find(|h| matches!(h, Hierarchy::V2 { .. })) else {
        return false;
    };
    let group = Group(Cgroup::create(&v2, &name("bfq"), &LinuxResources::default()).expect("it can be made"));
    let found = directory(&v2, "bfq", "io.bfq.weight").join("io.bfq.weight").exists();
    drop(group);
    found
}

#[test]
fn processes_and_pages() {
    check(
        "pids",
        &LinuxResources { pids: Some(LinuxPids { limit: 17 }), ..Default::default() },
        Files(&[("pids.max", "17")]),
        Files(&[("pids.max", "17")]),
    );
    check(
        "nopids",
        &LinuxResources { pids: Some(LinuxPids { limit: -1 }), ..Default::default() },
        Files(&[("pids.max", "max")]),
        Files(&[("pids.max", "max")]),
    );
    let pages = |page_size: &str| LinuxResources {
        hugepage_limits: vec![LinuxHugepageLimit { page_size: page_size.into(), limit: 6 << 20 }],
        ..Default::default()
    };
    check(
        "huge",
        &pages("2MB"),
        Files(&[("hugetlb.2MB.limit_in_bytes", "6291456"), ("hugetlb.2MB.rsvd.limit_in_bytes", "6291456")]),
        Files(&[("hugetlb.2MB.max", "6291456"), ("hugetlb.2MB.rsvd.max", "6291456")]),
    );
    for hierarchy in hierarchies() {
        let made = Cgroup::create(&hierarchy, &name("odd"), &pages("3MB")).map(Group);
        let error = made.map(drop).expect_err("there is no such size").to_string();
        assert!(error.starts_with("a limit of 3MB huge pages needs "), "{error}");
    }
}

#[test]
fn network_and_rdma() {
    let network = LinuxNetwork {
        class_id: Some(0x10_0001),
        priorities: vec![LinuxInterfacePriority { name: "lo".into(), priority: 5 }],
    };
    check(
        "network",
        &LinuxResources { network: Some(network), ..Default::default() },
        Files(&[("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "lo 5")]),
        Refused("a network class or priority is not possible with cgroup v2"),
    );
    // No test machine has such a device: the kernel says so, where it has the controller.
    for hierarchy in hierarchies() {
        let rdma = [("mlx5_1".to_owned(), LinuxRdma { hca_handles: Some(3), hca_objects: None })].into();
        let resources = LinuxResources { rdma, ..Default::default() };
        let made = Cgroup::create(&hierarchy, &name("rdma"), &resources).map(Group);
        match made.map(drop).expect_err("there is no such device") {
            CgroupError::Write { value, .. } => assert_eq!(value, "mlx5_1 hca_handle=3 hca_object=max"),
            error => assert_eq!(
                error.to_string(),
                "an RDMA limit needs the rdma controller, which is not available here"
            ),
        }
    }
}

#[test]
fn unified_settings() {
    let unified = |pairs: &[(&str, &str)]| LinuxResources {
        unified: pairs.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    };
    check(
        "unified",
        &unified(&[("memory.high", "41943040"), ("pids.max", "19"), ("cpu.weight", "77")]),
        Refused("the setting cpu.weight is not possible with cgroup v1"),
        Files(&[("memory.high", "41943040"), ("pids.max", "19"), ("cpu.weight", "77")]),
    );
    check(
        "core",
        &unified(&[("cgroup.max.depth", "3")]),
        Refused("the setting cgroup.max.depth is not possible with cgroup v1"),
        Files(&[("cgroup.max.depth", "3")]),
    );
    check(
        "unknown",
        &unified(&[("future.max", "3")]),
        Refused("the setting future.max is not possible with cgroup v1"),
        Refused(
            "the setting future.max needs `future.max`, which the control groups of this kernel do not have",
        ),
    );
}

#[test]
fn a_limit_below_what_is_used_is_refused_when_it_shall_be_checked() {
    let hierarchy = Hierarchy::detect().expect("control groups are mounted");
    let group =
        Group(Cgroup::create(&hierarchy, &name("used"), &LinuxResources::default()).expect("it can be made"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "read _; exec sleep 100"]).stdin(std::process::Stdio::piped());
    let mut child = shell.spawn().expect("a shell");
    group.0.add(child.id() as i32).expect("it can be moved");
    std::io::Write::write_all(&mut child.stdin.take().expect("it is piped"), b"\n").expect("the shell reads");
    let used = || group.0.stats().expect("it can be read").memory.usage;
    while used() <= 4096 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let tight =
        memory(LinuxMemory { limit: Some(4096), check_before_update: Some(true), ..Default::default() });
    let error = group.0.update(&tight).expect_err("more is used");
    assert!(matches!(&error, CgroupError::Write { value, .. } if value == "4096"), "{error}");
    assert_eq!(group.0.stats().expect("it can be read").memory.limit, None);
    group.0.kill_all().expect("it can be killed");
    child.wait().expect("it is dead");
}

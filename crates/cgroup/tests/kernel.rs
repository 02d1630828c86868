//! On the real kernel, as root: limits that bite, freezing, killing, device rules and clean removal.
//!
//! Where the host is hybrid, its v2 hierarchy has no resource controllers, but everything else of v2 is tried on it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cgroup::{Cgroup, CgroupError, Counter, DeviceCount, Hierarchy, Supervisor};
use oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources,
};

/// A group that goes with the test, whatever its outcome.
struct Group(Cgroup);

impl Group {
    fn new(hierarchy: &Hierarchy, test: &str, resources: &LinuxResources) -> Result<Self, CgroupError> {
        Cgroup::create(hierarchy, &name(test), resources).map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill_all();
        self.0.remove().expect("the group can be removed");
        assert!(!self.0.exists(), "{} is gone", self.0.name());
    }
}

fn name(test: &str) -> String {
    format!("hull-test{}/{test}", std::process::id())
}

fn hierarchy() -> Hierarchy {
    Hierarchy::detect().expect("control groups are mounted")
}

/// The v2 hierarchy: the host's, or the one beside v1.
fn v2() -> Option<Hierarchy> {
    match hierarchy() {
        Hierarchy::V1 { unified, .. } => unified.map(|point| Hierarchy::V2 { point }),
        v2 => Some(v2),
    }
}

/// A shell that waits for [`Shell::go`] before it runs its script, so that it can be moved into a group first.
struct Shell(Child);

impl Shell {
    fn new(group: &Cgroup, script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("read _; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        group.add(child.id() as i32).expect("it can be moved into the group");
        Self(child)
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().expect("it is piped").write_all(b"\n").expect("the shell reads");
    }

    fn run(mut self) -> (ExitStatus, String) {
        self.go();
        let output = self.0.wait_with_output().expect("it ends");
        (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("there is a name")..].split(' ').collect();
    fields[12].parse::<u64>().expect("utime") + fields[13].parse::<u64>().expect("stime")
}

fn memory(limit: i64) -> LinuxResources {
    let memory = LinuxMemory { limit: Some(limit), swap: Some(limit), ..Default::default() };
    LinuxResources { memory: Some(memory), ..Default::default() }
}

#[test]
fn too_much_memory_is_an_oom_kill() {
    let group = Group::new(&hierarchy(), "oom", &memory(16 << 20)).expect("it can be made");
    assert_eq!(group.0.oom_kills().expect("it can be read"), 0);
    let (status, _) = Shell::new(&group.0, "exec tail /dev/zero").run();
    assert_eq!(status.signal(), Some(9));
    assert!(group.0.oom_kills().expect("it can be read") >= 1);
    let stats = group.0.stats().expect("it can be read");
    assert_eq!(stats.memory.limit, Some(16 << 20));
    assert!(stats.memory.peak > 8 << 20);
}

#[test]
fn memory_limits_grow_and_shrink() {
    let group = Group::new(&hierarchy(), "resize", &memory(64 << 20)).expect("it can be made");
    for mib in [128, 32, 256] {
        group.0.update(&memory(mib << 20)).expect("both limits move");
        let limit = group.0.stats().expect("it can be read").memory.limit;
        assert_eq!(limit, Some(mib as u64 * (1 << 20)));
    }
    group.0.update(&memory(-1)).expect("the limit can be lifted");
    assert_eq!(group.0.stats().expect("it can be read").memory.limit, None);
}

#[test]
fn a_process_too_many_is_refused() {
    let resources = LinuxResources { pids: Some(LinuxPids { limit: 3 }), ..Default::default() };
    let group = Group::new(&hierarchy(), "pids", &resources).expect("it can be made");
    let (status, out) = Shell::new(&group.0, "for i in 1 2 3; do sleep 9 >/dev/null & done; echo all").run();
    assert!(!status.success());
    assert_eq!(out, "");
    assert_eq!(group.0.stats().expect("it can be read").pids.limit, Some(3));
    group.0.kill_all().expect("the sleeps can be killed");
}

#[test]
fn quota_and_set_of_cpus() {
    let cpu =
        LinuxCpu { quota: Some(10_000), period: Some(100_000), cpus: Some("0".into()), ..Default::default() };
    let resources = LinuxResources { cpu: Some(cpu), ..Default::default() };
    let group = Group::new(&hierarchy(), "cpu", &resources).expect("it can be made");
    let mut shell = Shell::new(&group.0, "while :; do :; done");
    shell.go();
    let stats = || group.0.stats().expect("it can be read").cpu;
    until("the quota is felt", || stats().throttling.throttled_periods > 1);
    let status = fs::read_to_string(format!("/proc/{}/status", shell.0.id())).expect("it lives");
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
    group.0.kill_all().expect("it can be killed");
    shell.0.wait().expect("it is dead");
    assert!(stats().total_ns > 0 && stats().throttling.throttled_ns > 0);
    // The other way round the old period would not hold the new quota.
    let cpu = LinuxCpu { quota: Some(2_000), period: Some(5_000), ..Default::default() };
    group.0.update(&LinuxResources { cpu: Some(cpu), ..Default::default() }).expect("both can change");
}

#[test]
fn a_running_group_takes_a_set_of_cpus_later() {
    let group = Group::new(&hierarchy(), "late", &LinuxResources::default()).expect("it can be made");
    let mut shell = Shell::new(&group.0, "while :; do :; done");
    shell.go();
    let cpu = LinuxCpu { cpus: Some("0".into()), ..Default::default() };
    group.0.update(&LinuxResources { cpu: Some(cpu), ..Default::default() }).expect("it can be joined late");
    let status = fs::read_to_string(format!("/proc/{}/status", shell.0.id())).expect("it lives");
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
    group.0.kill_all().expect("it can be killed");
    shell.0.wait().expect("it is dead");
}

fn check_freeze(hierarchy: &Hierarchy, test: &str) {
    let group = Group::new(hierarchy, test, &LinuxResources::default()).expect("it can be made");
    let mut shell = Shell::new(&group.0, "(while :; do :; done) & while :; do :; done");
    shell.go();
    until("both run", || group.0.pids().expect("they are listed").len() == 2);
    assert!(!group.0.is_frozen().expect("it can be read"));
    group.0.freeze().expect("it freezes");
    assert!(group.0.is_frozen().expect("it can be read"));
    let pids = group.0.pids().expect("they are listed");
    let ticks = || pids.iter().map(|pid| cpu_ticks(*pid as u32)).sum::<u64>();
    let before = ticks();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(ticks(), before, "nobody runs while frozen");
    group.0.thaw().expect("it thaws");
    until("they go on", || ticks() > before);
    group.0.freeze().expect("it freezes again");
    group.0.kill_all().expect("also frozen ones can be killed");
    assert_eq!(shell.0.wait().expect("it is dead").signal(), Some(9));
    group.0.thaw().expect("an empty group can be thawed");
}

#[test]
fn frozen_processes_stand_still() {
    check_freeze(&hierarchy(), "freeze");
}

#[test]
fn frozen_processes_stand_still_on_v2() {
    if let Some(v2) = v2() {
        check_freeze(&v2, "freeze2");
    }
}

fn only_null() -> LinuxResources {
    let deny = LinuxDeviceCgroup { allow: false, access: Some("rwm".into()), ..Default::default() };
    let null = LinuxDeviceCgroup {
        allow: true,
        r#type: Some("c".into()),
        major: Some(1),
        minor: Some(3),
        access: Some("rw".into()),
    };
    LinuxResources { devices: vec![deny, null], ..Default::default() }
}

fn check_devices(hierarchy: &Hierarchy, test: &str) {
    let group = match Group::new(hierarchy, test, &only_null()) {
        // Kernels without CONFIG_CGROUP_BPF exist, and say so.
        Err(CgroupError::Devices { .. }) if test == "devices2" => return,
        group => group.expect("it can be made"),
    };
    let script = "echo x > /dev/null && echo null; read -r -n1 _ < /dev/zero && echo zero; \
                  mknod /tmp/hull-cgroup-$$ c 1 3 2>&1 && echo mknod; rm -f /tmp/hull-cgroup-$$; \
                  head -c1 /dev/zero >/dev/null && echo zero; true";
    let (_, out) = Shell::new(&group.0, script).run();
    assert!(out.starts_with("null\n"), "{out}");
    assert!(!out.contains("zero") && !out.ends_with("mknod\n"), "{out}");
    let everything = LinuxDeviceCgroup { allow: true, ..Default::default() };
    let all = LinuxResources { devices: vec![everything], ..Default::default() };
    group.0.update(&all).expect("the rules can change");
    let (_, out) = Shell::new(&group.0, "head -c1 /dev/zero >/dev/null && echo zero").run();
    assert_eq!(out, "zero\n");
}

#[test]
fn devices_not_allowed_cannot_be_opened() {
    check_devices(&hierarchy(), "devices");
}

#[test]
fn devices_not_allowed_cannot_be_opened_on_v2() {
    if let Some(v2) = v2() {
        check_devices(&v2, "devices2");
    }
}

#[test]
fn statistics_of_a_busy_shell() {
    let group = Group::new(&hierarchy(), "stats", &LinuxResources::default()).expect("it can be made");
    let mut shell = Shell::new(&group.0, "echo ready; while :; do :; done");
    shell.go();
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().expect("it is piped")).read_line(&mut line).expect("it speaks");
    until("CPU time is counted", || group.0.stats().expect("it can be read").cpu.total_ns > 20_000_000);
    let stats = group.0.stats().expect("it can be read");
    assert_eq!(stats.pids.current, 1);
    assert_eq!(stats.pids.limit, None);
    assert!(stats.memory.usage > 0 && stats.memory.working_set() <= stats.memory.usage);
    assert_eq!(group.0.pids().expect("they are listed"), [shell.0.id() as i32]);
    group.0.kill_all().expect("it can be killed");
    shell.0.wait().expect("it is dead");
}

#[test]
fn a_report_has_everything_that_is_counted() {
    let hierarchy = hierarchy();
    let resources = LinuxResources { pids: Some(LinuxPids { limit: 50 }), ..memory(64 << 20) };
    let group = Group::new(&hierarchy, "report", &resources).expect("it can be made");
    if matches!(hierarchy, Hierarchy::V1 { .. }) {
        // Block devices are counted where somebody asks for a limit of them.
        let weight = LinuxBlockIo { weight: Some(200), ..Default::default() };
        let _ = group.0.update(&LinuxResources { block_io: Some(weight), ..Default::default() });
    }
    let file = PathBuf::from(format!("/var/tmp/hull-cgroup-{}", std::process::id()));
    let script = format!(
        "dd if=/dev/zero of={0} bs=1M count=4 conv=fsync 2>/dev/null; rm {0}; echo done; while :; do :; done",
        file.display()
    );
    let mut shell = Shell::new(&group.0, &script);
    shell.go();
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().expect("it is piped")).read_line(&mut line).expect("it speaks");
    until("CPU time is counted", || group.0.report().expect("it can be read").cpu.total_ns > 20_000_000);
    let report = group.0.report().expect("it can be read");
    assert_eq!((report.pids.current, report.pids.limit), (1, Some(50)));
    assert_eq!(report.memory.memory.limit, Some(64 << 20));
    assert!(report.memory.memory.usage > 0 && report.memory.memory.peak >= report.memory.memory.usage);
    assert!(report.memory.memory_and_swap.usage >= report.memory.memory.usage);
    assert!(report.memory.raw.len() > 10 && report.memory.oom_kills == 0);
    match hierarchy {
        Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
        Hierarchy::V1 { .. } => {
            assert!(report.per_cpu_ns.iter().sum::<u64>() > 20_000_000);
            assert_eq!((report.cpu_pressure, report.io_pressure, report.memory.pressure), (None, None, None));
        }
        Hierarchy::V2 { .. } => {
            // Debian's kernel measures only where `psi=1` asks for it.
            let measured = Path::new("/proc/pressure/cpu").exists();
            assert_eq!(report.cpu_pressure.is_some(), measured);
            assert_eq!(report.memory.pressure.is_some(), measured);
            let written = |counts: &[DeviceCount]| {
                counts.iter().filter(|count| count.operation == "Write").map(|count| count.value).sum::<u64>()
            };
            assert!(written(&report.io_bytes) >= 4 << 20, "{:?}", report.io_bytes);
            assert!(written(&report.io_operations) >= 1);
        }
    }
    group.0.kill_all().expect("it can be killed");
    shell.0.wait().expect("it is dead");
}

#[test]
fn a_report_counts_huge_pages() {
    let Some(v2) = v2().filter(|v2| v2.controllers().iter().any(|c| c == "hugetlb")) else { return };
    let limit = LinuxHugepageLimit { page_size: "2MB".into(), limit: 4 << 20 };
    let resources = LinuxResources { hugepage_limits: vec![limit], ..Default::default() };
    let group = Group::new(&v2, "pages", &resources).expect("it can be made");
    let pages = group.0.report().expect("it can be read").huge_pages;
    let expected = Counter { usage: 0, peak: 0, limit: Some(4 << 20), failures: 0 };
    assert_eq!(pages.get("2MB"), Some(&expected), "{pages:?}");
}

#[test]
fn a_fork_storm_is_killed_whole() {
    let group = Group::new(&hierarchy(), "storm", &LinuxResources::default()).expect("it can be made");
    let mut shell = Shell::new(&group.0, "while :; do (sleep 60 &) ; done");
    shell.go();
    until("it storms", || group.0.pids().expect("they are listed").len() > 20);
    group.0.kill_all().expect("all can be killed");
    shell.0.wait().expect("the shell is dead");
    until("all are gone", || group.0.pids().expect("they are listed").is_empty());
}

fn leftovers(hierarchy: &Hierarchy, test: &str) -> Vec<PathBuf> {
    let points: Vec<&Path> = match hierarchy {
        Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
        Hierarchy::V1 { mounts, .. } => mounts.iter().map(|m| m.point.as_path()).collect(),
        Hierarchy::V2 { point } => vec![point],
    };
    let name = name(test);
    let flat = name.replace('/', "-");
    points.iter().flat_map(|p| [p.join(&flat), p.join(&name)]).filter(|p| p.exists()).collect()
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let cpu = LinuxCpu { cpus: Some("4000".into()), ..Default::default() };
    let resources = LinuxResources { cpu: Some(cpu), ..Default::default() };
    let error = Group::new(&hierarchy(), "failed", &resources).err().expect("there is no such CPU");
    assert!(matches!(error, CgroupError::Write { .. }), "{error}");
    assert_eq!(leftovers(&hierarchy(), "failed"), Vec::<PathBuf>::new());
}

#[test]
fn names_cannot_leave_the_hierarchy() {
    for name in ["", "/", "a//b", "../a", "a/..", "a/"] {
        let error = Cgroup::open(&hierarchy(), name).expect_err(name);
        assert!(matches!(error, CgroupError::Invalid { .. }), "{error}");
    }
}

#[test]
fn an_empty_leftover_is_taken_over_and_listed() {
    let parent = format!("hull-test{}left", std::process::id());
    let name = format!("{parent}/a");
    let first = Cgroup::create(&hierarchy(), &name, &memory(64 << 20)).expect("it can be made");
    let listed = Cgroup::list(&hierarchy(), &parent).expect("it can be listed");
    assert_eq!(listed.iter().map(Cgroup::name).collect::<Vec<_>>(), [name.as_str()]);
    let second = Cgroup::create(&hierarchy(), &name, &LinuxResources::default()).expect("it is taken over");
    assert_eq!(second.stats().expect("it can be read").memory.limit, None, "without the old limit");
    first.remove().expect("it can be removed");
    second.remove().expect("removing twice is fine");
    assert!(Cgroup::list(&hierarchy(), &parent).expect("it can be listed").is_empty());
}

#[test]
fn creators_and_removers_of_one_parent_do_not_disturb_each_other() {
    let Some(v2) = v2() else { return };
    let parent = format!("hull-test{}race", std::process::id());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (v2, parent) = (&v2, &parent);
            scope.spawn(move || {
                for round in 0..50 {
                    let name = format!("{parent}/{worker}-{round}");
                    let group =
                        Cgroup::create(v2, &name, &LinuxResources::default()).expect("it can be made");
                    assert!(group.join_fd().expect("it can be opened").is_some());
                    group.remove().expect("it can be removed");
                }
            });
        }
    });
    assert!(
        !Cgroup::open(&v2, &parent).expect("the name is plain").exists(),
        "the parent went with the last child"
    );
}

#[test]
fn groups_made_inside_are_removed_too() {
    let Some(v2) = v2() else { return };
    let group = Group::new(&v2, "nested", &LinuxResources::default()).expect("it can be made");
    let Hierarchy::V2 { point } = &v2 else { unreachable!("it is v2") };
    let inner = point.join(name("nested")).join("init.scope/deeper");
    fs::create_dir_all(&inner).expect("groups nest");
    let child = Command::new("sleep").arg("60").spawn().expect("sleep can be started");
    fs::write(inner.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
    assert_eq!(group.0.pids().expect("they are listed"), [child.id() as i32]);
    group.0.kill_all().expect("it reaches into groups below");
    let status = { child }.wait().expect("it is dead");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn groups_made_inside_are_removed_too_on_v1() {
    let Hierarchy::V1 { mounts, .. } = hierarchy() else { return };
    let group = Group::new(&hierarchy(), "nested1", &LinuxResources::default()).expect("it can be made");
    let child = Command::new("sleep").arg("60").spawn().expect("sleep can be started");
    group.0.add(child.id() as i32).expect("it can be moved");
    let flat = name("nested1").replace('/', "-");
    let outer = mounts.iter().map(|mount| mount.point.join(&flat)).filter(|outer| outer.exists());
    for inner in outer.map(|outer| outer.join("a/b")) {
        fs::create_dir_all(&inner).expect("groups nest");
        fs::write(inner.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
    }
    assert_eq!(group.0.pids().expect("they are listed"), [child.id() as i32]);
    group.0.freeze().expect("it reaches into groups below");
    group.0.kill_all().expect("it reaches into groups below");
    let status = { child }.wait().expect("it is dead");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn controllers_are_handed_down_on_v2() {
    let Some(v2) = v2() else { return };
    // Of all controllers hugetlb is the one that hybrid hosts tend to leave to v2.
    if !v2.controllers().iter().any(|c| c == "hugetlb") {
        return;
    }
    let limit = LinuxHugepageLimit { page_size: "2MB".into(), limit: 4 << 20 };
    let resources = LinuxResources { hugepage_limits: vec![limit], ..Default::default() };
    let group = Group::new(&v2, "hugetlb", &resources).expect("it can be made");
    let Hierarchy::V2 { point } = &v2 else { unreachable!("it is v2") };
    let file = point.join(group.0.name()).join("hugetlb.2MB.max");
    assert_eq!(fs::read_to_string(file).expect("the controller is there"), "4194304\n");
}

#[test]
fn monitors_leave_the_session_they_were_started_from() {
    let parent = format!("hull-test{}super", std::process::id());
    for hierarchy in [Some(hierarchy()), v2()].into_iter().flatten() {
        let (point, places) = match &hierarchy {
            Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
            Hierarchy::V1 { unified: Some(point), .. } => (point.clone(), [format!("{parent}-monitors")]),
            Hierarchy::V1 { .. } => continue,
            Hierarchy::V2 { point } => (point.clone(), [format!("{parent}/monitors")]),
        };
        let session = point.join(format!("{parent}-session"));
        fs::create_dir(&session).expect("groups can be made");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep can be started");
        fs::write(session.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
        let membership = || {
            let text = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("it lives");
            let line = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("it is in v2");
            line.to_string()
        };
        let supervisor = Supervisor::enter(&hierarchy, &parent, child.id() as i32).expect("it can be moved");
        assert_eq!(membership(), places[0]);
        fs::remove_dir(&session).expect("the session is empty");
        assert!(Cgroup::list(&hierarchy, &parent).expect("it can be listed").is_empty());
        supervisor.leave();
        assert_eq!(membership(), "");
        assert!(!point.join(&places[0]).exists() && !point.join(&parent).exists());
        // One that is killed leaves the group to whoever finds it.
        fs::create_dir(&session).expect("groups can be made");
        fs::write(session.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
        drop(Supervisor::enter(&hierarchy, &parent, child.id() as i32).expect("it can be moved again"));
        fs::remove_dir(&session).expect("the session is empty");
        Supervisor::sweep(&hierarchy, &parent);
        assert_eq!(membership(), places[0], "a monitor lives there");
        child.kill().and_then(|()| child.wait()).expect("it can be killed");
        Supervisor::sweep(&hierarchy, &parent);
        assert!(!point.join(&places[0]).exists() && !point.join(&parent).exists());
    }
}

//! A part of v2 that has been given away, on the real kernel: also on hybrid hosts, whose v2 has everything but limits.
//!
//! This is one test in a program of its own, because it moves its own process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use cgroup::{Cgroup, CgroupError, Delegation, Hierarchy, Supervisor};
use oci::runtime::{LinuxCpu, LinuxPids, LinuxResources};

/// The part, and the group this process came from.
struct Part {
    root: PathBuf,
    home: PathBuf,
}

impl Part {
    fn new(point: &Path) -> Self {
        let part =
            Self { root: point.join(format!("hull-test{}given", std::process::id())), home: own(point) };
        fs::create_dir(&part.root).expect("groups can be made");
        part
    }

    fn procs(&self, group: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.root.join(group).join("cgroup.procs")).expect("it exists");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }

    fn groups(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).expect("it exists").flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        fs::write(self.home.join("cgroup.procs"), own).expect("it can go back");
        let _ = fs::remove_dir(self.root.join("others"));
        fs::remove_dir(&self.root).expect("nothing else is left");
    }
}

fn own(point: &Path) -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").expect("every process has one");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("it is in v2");
    point.join(path)
}

fn sleep_in(group: &Path) -> Child {
    let child = Command::new("sleep").arg("60").spawn().expect("sleep can be started");
    fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
    child
}

#[test]
fn a_part_of_v2_is_used_from_its_first_group_on() {
    let point = match Hierarchy::detect().expect("control groups are mounted") {
        Hierarchy::V2 { point } | Hierarchy::V1 { unified: Some(point), .. } => point,
        _ => return,
    };
    let part = Part::new(&point);
    let given = Delegation::at(&part.root);
    let hierarchy = Hierarchy::Delegated(given.clone());

    // What is in the first group makes place, or it could not hand down controllers.
    let mut session = sleep_in(&part.root);
    fs::write(part.root.join("cgroup.procs"), std::process::id().to_string()).expect("it can be moved");
    given.enter().expect("it is root's");
    assert!(part.procs("").is_empty());
    assert_eq!(part.procs("others").len(), 2, "this process and the session's");
    given.enter().expect("it is there already");
    fs::write(part.home.join("cgroup.procs"), std::process::id().to_string()).expect("it can be moved");
    given.enter().expect("from outside");
    assert_eq!(own(&point), part.root.join("others"));

    let group = Cgroup::create(&hierarchy, "hull-t/c", &LinuxResources::default()).expect("it can be made");
    assert_eq!(group.path(), Path::new("/hull-t/c"));
    let mut member = sleep_in(&part.root.join("hull-t/c"));
    group.freeze().expect("every group can be frozen");
    assert!(group.is_frozen().expect("it says so"));
    group.thaw().expect("every group can be thawed");
    assert_eq!(group.pids().expect("they are listed"), [member.id().cast_signed()]);

    // Nobody has handed down the controller of processors to this part; that of processes is only a limit away, or is not.
    let cpus = LinuxCpu { cpus: Some("0".into()), ..Default::default() };
    let refused = group.update(&LinuxResources { cpu: Some(cpus), ..Default::default() });
    let refused = refused.expect_err("it was not delegated");
    assert!(matches!(refused, CgroupError::NotDelegated { controller: "cpuset", .. }), "{refused}");
    let limited = group.update(&LinuxResources { pids: Some(LinuxPids { limit: 7 }), ..Default::default() });
    let available = hierarchy.controllers().iter().any(|controller| controller == "pids");
    assert_eq!(limited.is_ok(), available, "{limited:?}");
    if available {
        assert_eq!(group.stats().expect("it is measured").pids.limit, Some(7));
    }

    let mut monitor = sleep_in(&part.root.join("others"));
    let supervisor =
        Supervisor::enter(&hierarchy, "hull-t", monitor.id().cast_signed()).expect("it can move");
    assert_eq!(part.procs("hull-t/monitors"), [monitor.id()]);
    group.kill_all().expect("every group can be killed");
    member.wait().expect("it was killed");
    group.remove().expect("it is empty");
    supervisor.leave();
    assert!(part.procs("").is_empty(), "the first group stays empty");
    assert_eq!(part.groups(), ["others"]);
    for child in [&mut session, &mut monitor] {
        child.kill().and_then(|()| child.wait()).expect("it can be killed");
    }
}

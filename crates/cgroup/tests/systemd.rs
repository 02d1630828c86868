//! Scopes of a systemd that runs here only for this: in namespaces of its own, with a group of its own delegated to it and no
//! units but one empty target; on hybrid hosts once with v1, and once with v2, whose groups have no limits there.
//!
//! Making a scope wants a single-threaded caller, so this is a program of its own. It starts systemd, and then itself again
//! beside it: `inside`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cgroup::{Cgroup, CgroupError, Hierarchy, Made, Manager, Place, Version};
use oci::runtime::{LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// The world systemd boots into: the host's files read-only, everything it writes on a tmpfs.
const BOOT: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -o bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /run
mount -o remount,bind,ro /sys
umount --lazy /sys/fs/cgroup
if [ "$HIERARCHIES" = v2 ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    for controllers in $HIERARCHIES; do
        mkdir "/sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
    done
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
mount -o remount,bind,ro /
mkdir -p /run/units
echo '[Unit]
DefaultDependencies=no' >/run/units/hull-test.target
cd /
exec env -i PATH=/usr/sbin:/usr/bin container=hull SYSTEMD_LOG_LEVEL=err \
    SYSTEMD_UNIT_PATH=/run/systemd/system.control:/run/systemd/transient:/run/units \
    /usr/lib/systemd/systemd --system --unit=hull-test.target --log-target=null
"#;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("inside") {
        inside();
        return ExitCode::SUCCESS;
    }
    if sys::user::effective_uid() != 0 || !Path::new(SYSTEMD).exists() {
        println!("skipped: this needs root and the program of systemd");
        return ExitCode::SUCCESS;
    }
    let found = Hierarchy::detect().expect("control groups");
    let beside = match &found {
        Hierarchy::V1 { unified: Some(point), .. } => Some(Hierarchy::V2 { point: point.clone() }),
        _ => None,
    };
    for hierarchy in [Some(found), beside].into_iter().flatten() {
        println!("{}", hierarchy.version().expect("tests run as root"));
        if !Systemd::boot(&hierarchy).run_tests(&hierarchy) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// systemd and all it has started; ends when dropped.
struct Systemd {
    group: Cgroup,
    unshare: Child,
}

impl Systemd {
    fn boot(hierarchy: &Hierarchy) -> Self {
        let path = format!("/hull-systemd-{}", std::process::id());
        let place = Place::parse(Manager::Cgroupfs, Some(Path::new(&path)), "").expect("it is plain");
        let made = place.create(hierarchy, &LinuxResources::default(), &BTreeMap::new()).expect("a group");
        let hierarchies = match hierarchy {
            Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
            Hierarchy::V2 { .. } => "v2".to_owned(),
            Hierarchy::V1 { mounts, .. } => {
                let is_named = |name: &String| name.starts_with("name=");
                let named = mounts.iter().find(|mount| mount.controllers.iter().any(is_named));
                let named = named.expect("there is one for systemd").point.join(&path[1..]);
                // Where systemd tracks processes.
                fs::create_dir(&named).expect("a group");
                let others = mounts.iter().filter(|mount| !mount.controllers.iter().any(is_named));
                others.map(|mount| mount.controllers.join(",")).collect::<Vec<_>>().join(" ")
            }
        };
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "read _; exec unshare --pid --mount --cgroup --uts --ipc --fork sh -c \"$0\"",
            BOOT,
        ]);
        command.env("HIERARCHIES", hierarchies).stdin(Stdio::piped()).process_group(0);
        let mut unshare = command.spawn().expect("a shell");
        made.group.add(unshare.id() as i32).expect("it can be moved");
        if let Hierarchy::V1 { unified: Some(point), .. } = hierarchy {
            // systemd makes groups there, too; they go with the others.
            let beside = point.join(&path[1..]);
            fs::create_dir(&beside).expect("a group");
            fs::write(beside.join("cgroup.procs"), unshare.id().to_string()).expect("it can be moved");
        }
        unshare.stdin.take().expect("it is piped").write_all(b"\n").expect("the shell reads");
        Self { group: made.group, unshare }
    }

    /// Runs this program in systemd's namespaces; whether all went well there.
    fn run_tests(self, hierarchy: &Hierarchy) -> bool {
        let first = self.first_process();
        let mut tests = Command::new("sh");
        tests.args([
            "-c",
            "read _; exec nsenter --target \"$0\" --pid --mount --cgroup --wd=/ -- \"$1\" inside",
        ]);
        tests.arg(first.to_string()).arg(std::env::current_exe().expect("it has a path"));
        let mut tests = tests.stdin(Stdio::piped()).spawn().expect("a shell");
        if let Hierarchy::V2 { point } = hierarchy {
            // A group that is not systemd's, but in sight of it: others may not be left for a scope (`nsdelegate`). And only
            // groups without processes of their own hand down memory, so `unshare` goes there, too.
            let beside = point.join(self.group.name().trim_start_matches('/')).join("tests");
            fs::create_dir(&beside).expect("groups nest");
            for pid in [tests.id(), self.unshare.id()] {
                fs::write(beside.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
            }
        }
        tests.stdin.take().expect("it is piped").write_all(b"\n").expect("the shell reads");
        tests.wait().expect("it ends").success()
    }

    fn first_process(&self) -> u32 {
        let pid = self.unshare.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let mut child = None;
        until("the namespaces exist", || {
            child =
                fs::read_to_string(&path).ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
            child.is_some()
        });
        let child = child.expect("it was waited for");
        until("systemd runs", || {
            fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|exe| exe == Path::new(SYSTEMD))
        });
        child
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.group.kill_all().expect("systemd can be killed");
        self.unshare.wait().expect("it ends");
        self.group.remove().expect("its groups can be removed");
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

type Test = (&'static str, fn(&Hierarchy));

/// The tests, in systemd's namespaces.
fn inside() {
    until("systemd listens", || {
        std::os::unix::net::UnixStream::connect("/run/systemd/private").is_ok()
            && show("hull-test.target", "ActiveState") == "active"
    });
    let tests: [Test; 5] = [
        (
            "a_scope_has_its_limits_and_ends_with_its_container",
            a_scope_has_its_limits_and_ends_with_its_container,
        ),
        ("a_scope_that_exists_is_refused", a_scope_that_exists_is_refused),
        ("annotations_set_properties_or_are_refused", annotations_set_properties_or_are_refused),
        ("device_rules_stay", device_rules_stay),
        ("groups_below_a_scope_go_with_it", groups_below_a_scope_go_with_it),
    ];
    let hierarchy = Hierarchy::detect().expect("control groups");
    for (name, test) in tests {
        test(&hierarchy);
        println!("test {name} ... ok");
    }
}

fn show(unit: &str, property: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "--property", property, unit]).output();
    String::from_utf8_lossy(&output.expect("systemctl is part of systemd").stdout).trim().to_owned()
}

fn place(path: &str) -> Place {
    Place::parse(Manager::Systemd, Some(Path::new(path)), "id").expect("it is plain")
}

fn create(hierarchy: &Hierarchy, place: &Place, resources: &LinuxResources) -> Result<Made, CgroupError> {
    place.create(hierarchy, resources, &BTreeMap::new())
}

/// Lets a process live in the group, instead of the placeholder.
fn move_in(made: &mut Made) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
    made.group.add(child.id() as i32).expect("it can be moved");
    made.until_joined = None;
    child
}

fn end(hierarchy: &Hierarchy, place: &Place, made: Made, mut child: Child) {
    // As a later command finds it.
    let group = Cgroup::at(hierarchy, &made.path).expect("the path is plain");
    group.kill_all().expect("it can be killed");
    child.wait().expect("it is dead");
    place.remove(&group).expect("it can be removed");
    assert!(!group.exists());
    place.remove(&group).expect("twice is fine");
}

/// The group's directory in the hierarchy that has `file`.
fn directory(hierarchy: &Hierarchy, made: &Made, file: &str) -> PathBuf {
    let controller = file.split('.').next().expect("split has a first part");
    let point = match hierarchy {
        Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
        Hierarchy::V2 { point } => point,
        Hierarchy::V1 { mounts, .. } => {
            &mounts.iter().find(|mount| mount.controllers.iter().any(|c| c == controller)).expect(file).point
        }
    };
    point.join(made.path.strip_prefix("/").expect("it is absolute"))
}

fn a_scope_has_its_limits_and_ends_with_its_container(hierarchy: &Hierarchy) {
    let limited = hierarchy.controllers().iter().any(|controller| controller == "memory");
    let resources = |memory| match limited {
        true => LinuxResources {
            memory: Some(LinuxMemory { limit: Some(memory), swap: Some(memory), ..Default::default() }),
            cpu: Some(LinuxCpu {
                quota: Some(20_000),
                period: Some(100_000),
                shares: Some(2048),
                ..Default::default()
            }),
            pids: Some(LinuxPids { limit: 20 }),
            ..Default::default()
        },
        false => LinuxResources::default(),
    };
    let place = place("hull-a.slice:hull:limits");
    let mut made = create(hierarchy, &place, &resources(64 << 20)).expect("a scope");
    assert_eq!(made.path, Path::new("/hull.slice/hull-a.slice/hull-limits.scope"));
    let placeholder = made.until_joined.as_ref().expect("a scope needs one").pid;
    assert_eq!(made.group.pids().expect("they are listed"), [placeholder]);
    let child = move_in(&mut made);
    assert_eq!(made.group.pids().expect("they are listed"), [child.id() as i32]);
    let unit = "hull-limits.scope";
    assert_eq!((show(unit, "ActiveState"), show(unit, "Delegate")), ("active".into(), "yes".into()));
    let check = |memory: &str| {
        if !limited {
            return;
        }
        let (files, properties): (&[_], _) = match hierarchy.version().expect("tests run as root") {
            Version::V2 => (
                &[
                    ("memory.max", memory),
                    ("memory.swap.max", "0"),
                    ("pids.max", "20"),
                    ("cpu.max", "20000 100000"),
                    ("cpu.weight", "174"),
                ],
                [("MemoryMax", memory), ("TasksMax", "20"), ("CPUWeight", "174")],
            ),
            Version::V1 => (
                &[
                    ("memory.limit_in_bytes", memory),
                    ("pids.max", "20"),
                    ("cpu.cfs_quota_us", "20000"),
                    ("cpu.shares", "2048"),
                ],
                [("MemoryLimit", memory), ("TasksMax", "20"), ("CPUShares", "2048")],
            ),
        };
        for (name, value) in files {
            // Kernels without swap accounting have no file for it.
            if let Ok(text) = fs::read_to_string(directory(hierarchy, &made, name).join(name)) {
                assert_eq!(text.trim(), *value, "{name}");
            } else {
                assert!(name.contains("swap"), "there is no {name}");
            }
        }
        for (property, value) in properties {
            assert_eq!(show(unit, property), value, "{property}");
        }
    };
    check("67108864");
    place.update(hierarchy, &made.group, &resources(32 << 20)).expect("limits can change");
    check("33554432");
    // What systemd knows survives it.
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    check("33554432");
    end(hierarchy, &place, made, child);
    until("the unit is gone", || show(unit, "LoadState") == "not-found");
}

fn a_scope_that_exists_is_refused(hierarchy: &Hierarchy) {
    let place = place("hull.slice::twice");
    let mut made = create(hierarchy, &place, &LinuxResources::default()).expect("a scope");
    let child = move_in(&mut made);
    let error = create(hierarchy, &place, &LinuxResources::default()).expect_err("there is one");
    assert!(
        error.to_string().starts_with("systemd refuses StartTransientUnit for twice.scope: Unit twice.scope"),
        "{error}"
    );
    assert_eq!(show("twice.scope", "ActiveState"), "active");
    end(hierarchy, &place, made, child);
}

fn annotations_set_properties_or_are_refused(hierarchy: &Hierarchy) {
    let place = place("hull.slice:hull:properties");
    let annotations = |name: &str, value: &str| {
        [(format!("org.systemd.property.{name}"), value.to_owned())].into_iter().collect::<BTreeMap<_, _>>()
    };
    let create = |annotations| place.create(hierarchy, &LinuxResources::default(), &annotations);
    let error = create(annotations("NoSuchThing", "true")).expect_err("systemd does not know it");
    assert!(error.to_string().contains("NoSuchThing"), "{error}");
    assert_eq!(show("hull-properties.scope", "LoadState"), "not-found");
    let mut made = create(annotations("TimeoutStopSec", "uint64 123")).expect("a scope");
    let child = move_in(&mut made);
    assert_eq!(show("hull-properties.scope", "TimeoutStopUSec"), "2min 3s");
    end(hierarchy, &place, made, child);
}

fn device_rules_stay(hierarchy: &Hierarchy) {
    let rule = |allow, kind: Option<&str>, major, minor, access: &str| LinuxDeviceCgroup {
        allow,
        r#type: kind.map(str::to_owned),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    let devices = vec![
        rule(false, None, None, None, "rwm"),
        rule(true, Some("c"), None, None, "m"),
        rule(true, Some("c"), Some(1), Some(3), "rwm"),
        rule(true, Some("c"), Some(136), None, "rw"),
    ];
    let place = place("hull.slice:hull:devices");
    let resources = LinuxResources { devices, ..Default::default() };
    let mut made = match create(hierarchy, &place, &resources) {
        // Kernels without CONFIG_CGROUP_BPF exist, and say so.
        Err(CgroupError::Devices { .. }) => return,
        made => made.expect("a scope"),
    };
    let child = move_in(&mut made);
    let check = |when: &str| {
        let script = "echo $$ >\"$0/cgroup.procs\"; echo x >/dev/null && echo null; head -c1 /dev/zero >/dev/null && echo zero; true";
        let group = directory(hierarchy, &made, "devices.list");
        let output = Command::new("sh").args(["-c", script]).arg(group).stderr(Stdio::null()).output();
        assert_eq!(String::from_utf8_lossy(&output.expect("a shell").stdout), "null\n", "{when}");
    };
    check("at first");
    let pids = LinuxResources { pids: Some(LinuxPids { limit: 50 }), ..Default::default() };
    if hierarchy.controllers().iter().any(|controller| controller == "pids") {
        place.update(hierarchy, &made.group, &pids).expect("limits can change");
        check("after an update");
    }
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    check("after a reload");
    end(hierarchy, &place, made, child);
}

fn groups_below_a_scope_go_with_it(hierarchy: &Hierarchy) {
    let place = place(":hull:nested");
    let mut made = create(hierarchy, &place, &LinuxResources::default()).expect("a scope");
    assert_eq!(made.path, Path::new("/system.slice/hull-nested.scope"));
    let child = move_in(&mut made);
    let inner = directory(hierarchy, &made, "pids.max").join("a/b");
    fs::create_dir_all(&inner).expect("it is delegated");
    fs::write(inner.join("cgroup.procs"), child.id().to_string()).expect("it can be moved");
    assert_eq!(made.group.pids().expect("they are listed"), [child.id() as i32]);
    end(hierarchy, &place, made, child);
}

//! Control groups of an ordinary user: a part of v2 that root has handed over, or a scope of the user's systemd.
//!
//! Only pure v2 can be handed over; on other hosts these tests do nothing, and `limits_are_refused_by_name` says what happens.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use testkit::eventually;

use crate::user::User;

const MOUNT: &str = "/sys/fs/cgroup";

/// A group that belongs to a user, with the controllers of processors, memory and processes.
struct Part(PathBuf);

impl Part {
    fn new(uid: u32) -> Option<Self> {
        let mount = Path::new(MOUNT);
        // On hybrid hosts this is no group.
        if !mount.join("cgroup.controllers").exists() {
            return None;
        }
        // Above it others may have enabled more controllers; what is between hands down these alone.
        let above = mount.join(format!("hull-part-{uid}"));
        fs::create_dir(&above).expect("tests run as root");
        for group in [mount, &above] {
            fs::write(group.join("cgroup.subtree_control"), "+cpu +memory +pids").expect("tests run as root");
        }
        let part = Self(above.join("user"));
        fs::create_dir(&part.0).expect("tests run as root");
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(part.0.join(file), Some(uid), Some(uid)).expect("tests run as root");
        }
        Some(part)
    }

    /// What moves a shell there; the second cannot go where the first one was.
    fn entry(&self) -> String {
        let part = self.0.display();
        format!("echo $$ >{part}/others/cgroup.procs || echo $$ >{part}/cgroup.procs || exit 99; ")
    }

    /// The groups below it that have no others in them.
    fn leaves(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![self.0.clone()];
        while let Some(group) = waiting.pop() {
            let inner: Vec<PathBuf> = fs::read_dir(&group)
                .map(|entries| {
                    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
                })
                .unwrap_or_default();
            if inner.is_empty() {
                let name = group.strip_prefix(&self.0).expect("it is below");
                found.push(name.display().to_string());
            }
            waiting.extend(inner);
        }
        found
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut result = Ok(());
        while self.0.exists() && result.is_ok() {
            result = self.leaves().iter().try_for_each(|leaf| fs::remove_dir(self.0.join(leaf)));
        }
        let result = result.and_then(|()| self.0.parent().map_or(Ok(()), fs::remove_dir));
        if !std::thread::panicking() {
            result.expect("nobody is in it any more");
        }
    }
}

#[test]
fn a_group_that_was_handed_over_has_limits() {
    let mut user = User::new();
    let Some(part) = Part::new(user.uid) else { return };
    user.system = part.entry();
    let user = user.import_busybox();
    let look = "cd /sys/fs/cgroup && cat memory.max pids.max cpu.max; cat /proc/self/cgroup";
    let limits = ["--memory", "64m", "--pids-limit", "20", "--cpus", "0.5"];
    let run = user.hull([&["run", "--rm"], &limits[..], &["busybox", "sh", "-c", look]].concat()).success();
    assert_eq!(run.text(), "67108864\n20\n50000 100000\n0::/");
    user.hull(["run", "--name", "big", "--memory", "16m", "busybox", "tail", "/dev/zero"]).status(137);
    assert_eq!(user.inspect("big", "{{.State.OOMKilled}}"), "true");
    user.hull(["run", "--rm", "--cpuset-cpus", "0", "busybox", "true"])
        .status(125)
        .says("needs the cpuset controller, which is not delegated to this user");

    user.hull(["run", "-d", "--name", "one", "--pids-limit", "5", "busybox", "sleep", "1000"]).success();
    user.hull(["pause", "one"]).success();
    assert_eq!(user.inspect("one", "{{.State.Status}}"), "paused");
    user.hull(["unpause", "one"]).success();
    let stats = user.hull(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "one"]).success();
    assert_eq!(stats.text(), "one 1");
    let group = user.hull(["exec", "one", "cat", "/proc/self/cgroup"]).success();
    assert_eq!(group.text(), "0::/", "it is in the container's group");
    user.hull(["update", "--pids-limit", "7", "one"]).success();
    assert_eq!(user.hull(["exec", "one", "cat", "/sys/fs/cgroup/pids.max"]).success().text(), "7");

    user.file("context/Dockerfile", "FROM busybox\nRUN cat /proc/self/cgroup >/group\n");
    user.hull(["build", "-t", "built", "context"]).success();
    assert_eq!(user.hull(["run", "--rm", "built", "cat", "/group"]).success().text(), "0::/");
    user.hull(["kill", "one"]).success();
    user.hull(["rm", "-f", "big", "one"]).success();
    assert_eq!(part.leaves(), ["others"], "hull's groups went with the containers");
}

#[test]
fn who_is_outside_of_the_group_is_told() {
    let mut user = User::new();
    let Some(part) = Part::new(user.uid) else { return };
    user.system = part.entry();
    let mut user = user.import_busybox();
    user.hull(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]).success();
    user.system = String::new();
    user.hull(["pause", "one"]).success();
    user.hull(["unpause", "one"]).success();
    user.hull(["run", "--rm", "busybox", "true"]).status(125).says("may not go there");
    user.hull(["rm", "-f", "one"]).success();
}

/// The user's own systemd, with no units but those that are asked for.
struct Manager(Child);

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn systemd_gives_a_scope() {
    let mut user = User::new();
    let Some(part) = Part::new(user.uid) else { return };
    // A login session's group is not the user's; here it is, because no other systemd would move processes out of it.
    fs::write(part.0.join("cgroup.subtree_control"), "+cpu +memory +pids").expect("tests run as root");
    let session = part.0.join("session");
    fs::create_dir(&session).expect("tests run as root");
    user.system = format!("echo $$ >{}/cgroup.procs || exit 99; ", session.display());
    // It runs only where systemd says that it has booted the system.
    let manager = format!(
        "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system; \
         mkdir {part}/manager; chown -R {uid}:{uid} {part}/manager; echo $$ >{part}/manager/cgroup.procs; \
         mkdir {run}/units; echo '[Unit]' >{run}/units/hull.target; \
         exec setpriv --reuid {uid} --regid {uid} --clear-groups -- \
           env -i PATH=/usr/bin HOME=/ XDG_RUNTIME_DIR={run} SYSTEMD_LOG_LEVEL=err \
           SYSTEMD_UNIT_PATH={run}/systemd/transient:{run}/units \
           /usr/lib/systemd/systemd --user --unit=hull.target",
        part = part.0.display(),
        uid = user.uid,
        run = user.run_dir().display()
    );
    let manager =
        Manager(Command::new("unshare").args(["--mount", "sh", "-c", &manager]).spawn().expect("a shell"));
    eventually("systemd listens", 30, || user.run_dir().join("systemd/private").exists().then_some(()));
    let user = user.import_busybox();
    user.hull(["run", "-d", "--name", "one", "--memory", "64m", "busybox", "sleep", "1000"]).success();
    let pid = user.inspect("one", "{{.State.Pid}}");
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(group.contains("/app.slice/hull-") && group.contains(".scope/hull-"), "{group}");
    user.hull(["pause", "one"]).success();
    user.hull(["unpause", "one"]).success();
    user.hull(["rm", "-f", "one"]).success();
    eventually("the home has ended, and its scope", 30, || {
        let scope = part.leaves().iter().any(|leaf| leaf.contains("hull-"));
        (user.pids("keeper").is_empty() && !scope).then_some(())
    });
    drop(manager);
}

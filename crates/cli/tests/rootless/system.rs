//! What holds an ordinary user's containers, what becomes of them when it is killed, and what a system may lack.

use std::path::Path;
use std::process::Command;

use testkit::eventually;

use crate::networks::get;
use crate::user::User;

#[track_caller]
pub fn kill(pids: &[i32]) {
    assert!(!pids.is_empty(), "there is such a process");
    for pid in pids {
        let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
        let was_killed = status.expect("kill is part of Debian").success();
        // Some end with those killed before them.
        assert!(was_killed || !Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_killed_keeper_takes_no_container_with_it() {
    let user = User::with_busybox();
    user.hull(["run", "-d", "--name", "web", "-p", "0:80", "busybox", "httpd", "-f", "-h", "/etc"]).success();
    let port = user.hull(["port", "web", "80"]).success().text().rsplit(':').next().map(str::to_owned);
    let port = port.and_then(|port| port.parse().ok()).expect("a number");
    eventually("the page", 10, || get(port));
    let pid = user.inspect("web", "{{.State.Pid}}");
    kill(&user.pids("keeper"));
    eventually("it is gone", 10, || user.pids("keeper").is_empty().then_some(()));
    assert!(get(port).is_some(), "the container is still served");
    // The next command finds back.
    assert_eq!(user.inspect("web", "{{.State.Pid}}"), pid);
    user.prints(
        ["run", "--rm", "-p", "0:80", "busybox", "wget", "-qO-", &format!("http://{}/group", address(&user))],
        "root:x:0:",
    );
    assert_eq!(user.pids("keeper").len(), 2, "one keeper and one anchor");
    // It has a helper of its own while it starts.
    eventually("one way out", 10, || (user.pids("slirp4netns").len() == 1).then_some(()));
}

fn address(user: &User) -> String {
    user.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}")
}

#[test]
fn containers_are_restarted_as_their_policy_says() {
    let user = User::with_busybox();
    user.hull(["run", "-d", "--name", "again", "--restart", "always", "busybox", "sleep", "1000"]).success();
    let first = user.inspect("again", "{{.State.Pid}}");
    kill(&[first.parse().expect("a number")]);
    eventually("it runs again", 10, || {
        (user.inspect("again", "{{.RestartCount}} {{.State.Status}}") == "1 running").then_some(())
    });
    // A killed monitor ends its container, and the next command says so.
    kill(&user.pids("hull monitor"));
    eventually("the end is seen", 10, || {
        (user.inspect("again", "{{.State.Running}}") == "false").then_some(())
    });
}

#[test]
fn what_is_missing_is_said() {
    let mut user = User::new();
    let empty = user.home().parent().expect("it has one").join("empty");
    let hide = |program: &str| {
        format!("[ ! -e /usr/bin/{program} ] || mount --bind {} /usr/bin/{program}; ", empty.display())
    };
    let uid = user.uid;
    let mut check = |system: String, says: &str, hint: &str| {
        user.system = system;
        let refused = user.hull(["ps"]).status(1);
        assert!(refused.stderr.contains(says) && refused.stderr.contains(hint), "{refused}");
    };
    check(hide("newuidmap"), "needs the program `newuidmap`, which is not installed", "apt install uidmap");
    check(
        hide("pasta") + &hide("slirp4netns"),
        "needs the program `slirp4netns`, which is not installed",
        "apt install slirp4netns",
    );
    check(
        format!("mount --bind {} /etc/subuid; ", empty.display()),
        "user tester has no subordinate user ids in /etc/subuid",
        "usermod --add-subuids",
    );
    check(
        ["passwd", "subuid"].map(|file| format!("mount --bind {} /etc/{file}; ", empty.display())).concat(),
        &format!("user {uid} has no subordinate user ids in /etc/subuid"),
        &format!("`{uid}:100000:65536`"),
    );
    user.system = String::new();
    user.hull(["version"]).success();
    user.hull(["run", "--help"]).success();
    assert_eq!(user.processes(), []);
    user.hull(["ps"]).success();
    assert!(user.run_dir().join("hull-home").exists());
}

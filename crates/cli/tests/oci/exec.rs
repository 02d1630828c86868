//! `exec`.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

fn sleeping() -> Bundle {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.start("box");
    bundle
}

#[test]
fn a_process_runs_beside_the_first() {
    let bundle = sleeping();
    let output = bundle.oci(["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 3"]).status(3);
    assert_eq!((output.text(), output.stderr.trim()), ("out", "err"));
    bundle.oci(["exec", "box", "no-such"]).status(255).says("executable file not found in $PATH");
    bundle.oci(["exec", "box"]).status(255).says("no command specified");
    bundle.oci(["exec", "nobody", "true"]).status(255).says("container does not exist");
    // It is in the container's control group.
    let own = bundle.oci(["exec", "box", "cat", "/proc/self/cgroup"]).success().stdout;
    let first = bundle.oci(["exec", "box", "cat", "/proc/1/cgroup"]).success().stdout;
    assert_eq!(own, first);
}

#[test]
fn flags_change_the_process() {
    let bundle = sleeping();
    let run = |flags: &[&str], script: &str| {
        let words = ["exec"].iter().chain(flags).copied().chain(["box", "sh", "-c", script]);
        bundle.oci(words).success().text().to_owned()
    };
    assert_eq!(run(&["--user", "33:44"], "id -u; id -g"), "33\n44");
    assert_eq!(run(&["--user", "33", "-g", "7", "-g", "8"], "id -G"), "0 7 8");
    assert_eq!(run(&["--cwd", "/etc"], "pwd"), "/etc");
    assert_eq!(run(&["--env", "A=1", "-e", "B=2"], "echo $A $B"), "1 2");
    assert_eq!(run(&[], "grep NoNewPrivs /proc/self/status").split_whitespace().last(), Some("1"));
    let bounding = |flags: &[&str]| {
        let text = run(flags, "grep CapBnd /proc/self/status");
        u64::from_str_radix(text.split_whitespace().last().unwrap(), 16).unwrap()
    };
    const NET_ADMIN: u64 = 1 << 12;
    assert_eq!(bounding(&[]) & NET_ADMIN, 0);
    assert_eq!(bounding(&["--cap", "CAP_NET_ADMIN"]) & NET_ADMIN, NET_ADMIN);
    let bad = bundle.oci(["exec", "--user", "www-data", "box", "true"]).status(255);
    bad.says("invalid value \"www-data\" for flag --user");
}

#[test]
fn a_file_describes_the_process() {
    let bundle = sleeping();
    let process = json!({ "args": ["sh", "-c", "echo $X; id -u; pwd"], "cwd": "/tmp", "env": ["X=y", "PATH=/bin"],
        "user": { "uid": 5, "gid": 6 } });
    fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    assert_eq!(bundle.oci(["exec", "--process", "process.json", "box"]).success().text(), "y\n5\n/tmp");
    fs::write(bundle.path("process.json"), "{").unwrap();
    bundle.oci(["exec", "-p", "process.json", "box"]).status(255).says("process.json");
}

#[test]
fn a_detached_process_stays() {
    let bundle = sleeping();
    bundle
        .oci(["exec", "--detach", "--pid-file", "pid", "box", "sh", "-c", "echo > /ran; exec sleep 1000"])
        .success();
    bundle.wait_for(bundle.inside("ran"));
    let pid: i64 = fs::read_to_string(bundle.path("pid")).unwrap().parse().unwrap();
    let pids: Value =
        serde_json::from_str(&bundle.oci(["ps", "--format", "json", "box"]).success().stdout).unwrap();
    let pids: Vec<i64> = pids.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    assert!(pids.contains(&pid) && pids.len() == 2, "{pid} {pids:?}");
    let table = bundle.oci(["ps", "box"]).success().stdout;
    assert!(table.lines().count() == 3 && table.contains("sleep 1000"), "{table}");
    let narrow = bundle.oci(["ps", "box", "-o", "pid,args"]).success().stdout;
    assert!(narrow.starts_with("PID") && narrow.contains(&pid.to_string()), "{narrow}");
}

#[test]
fn the_filter_of_the_container_holds_for_all() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }] });
    bundle.start("box");
    bundle.oci(["exec", "box", "touch", "/file"]).success();
    bundle.oci(["exec", "box", "mkdir", "/directory"]).status(1).says("Permission denied");
}

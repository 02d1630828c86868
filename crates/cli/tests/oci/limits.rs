//! Control groups: where they are, limits, pausing, figures.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// The directories in all hierarchies that have the group `path`.
fn groups(path: &str) -> Vec<PathBuf> {
    let path = path.trim_start_matches('/');
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten().map(|entry| entry.path());
    hierarchies
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .map(|root| root.join(path))
        .filter(|path| path.exists())
        .collect()
}

fn group(path: &str, controller: &str) -> PathBuf {
    let v1 = PathBuf::from("/sys/fs/cgroup").join(controller);
    let root = if v1.join("cgroup.procs").exists() { v1 } else { PathBuf::from("/sys/fs/cgroup") };
    root.join(path.trim_start_matches('/'))
}

#[test]
fn the_group_is_where_the_configuration_says() {
    let parent = format!("hull-oci-test-{}", std::process::id());
    let path = format!("/{parent}/box");
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    bundle.start("box");
    let pid = bundle.state("box")["pid"].to_string();
    assert!(group(&path, "memory").exists());
    for directory in groups(&path) {
        let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), pid, "{}", directory.display());
    }
    // Another container must not end up in the same one.
    bundle.oci(["create", "other"]).status(1).says("is not empty");
    bundle.oci(["delete", "--force", "box"]).success();
    assert_eq!(groups(&path), Vec::<PathBuf>::new());
    // What is above is the caller's.
    assert!(!groups(&parent).is_empty());
    for directory in groups(&parent) {
        fs::remove_dir(directory).unwrap();
    }
}

#[test]
fn a_relative_path_is_found_again_from_elsewhere() {
    let name = format!("hull-oci-test-rel-{}", std::process::id());
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(name);
    bundle.start("box");
    let pid = bundle.state("box")["pid"].to_string();
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = membership.lines().find(|line| line.ends_with(&name)).expect("it is a member");
    let path = line.rsplit(':').next().expect("a path");
    // Where the caller is now is not where it was.
    bundle.oci(["exec", "box", "true"]).success();
    bundle.oci(["delete", "--force", "box"]).success();
    assert_eq!(groups(path), Vec::<PathBuf>::new());
}

#[test]
fn systemd_style_is_read_as_such() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["cgroupsPath"] = json!("/not/of/systemd");
    bundle.oci(["--systemd-cgroup", "create", "box"]).status(1).says("linux.cgroupsPath");
    if !fs::exists("/run/systemd/system").unwrap() {
        bundle.config["linux"]["cgroupsPath"] = json!("system.slice:hull:box");
        bundle.oci(["--systemd-cgroup", "create", "box"]).status(1).says("systemd");
    }
    assert!(bundle.left().is_empty());
}

#[test]
fn limits_are_set_and_changed() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let path = format!("/hull-oci-limits-{}", std::process::id());
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    bundle.config["linux"]["resources"]["pids"] = json!({ "limit": 20 });
    bundle.start("box");
    let read = |controller: &str, v1: &str, v2: &str| {
        let group = group(&path, controller);
        let text = fs::read_to_string(group.join(v1)).or_else(|_| fs::read_to_string(group.join(v2)));
        text.unwrap().trim().to_owned()
    };
    let memory = || read("memory", "memory.limit_in_bytes", "memory.max");
    let pids = || read("pids", "pids.max", "pids.max");
    assert_eq!((memory(), pids()), ((64 << 20).to_string(), "20".to_owned()));
    bundle.oci(["update", "--memory", "32m", "--pids-limit", "30", "box"]).success();
    assert_eq!((memory(), pids()), ((32 << 20).to_string(), "30".to_owned()));
    fs::write(bundle.path("r.json"), r#"{"memory":{"limit":50331648},"pids":{"limit":40}}"#).unwrap();
    bundle.oci(["update", "--resources", "r.json", "box"]).success();
    assert_eq!((memory(), pids()), ((48 << 20).to_string(), "40".to_owned()));
    bundle.oci(["update", "--memory", "much", "box"]).status(1).says("invalid value \"much\"");

    let event: Value =
        serde_json::from_str(&bundle.oci(["events", "--stats", "box"]).success().stdout).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("box")));
    assert_eq!(event["data"]["pids"], json!({ "current": 1, "limit": 40 }));
    assert_eq!(event["data"]["memory"]["usage"]["limit"], 48 << 20);
    assert!(event["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    assert!(event["data"]["memory"]["raw"].as_object().unwrap().len() > 10);
    assert!(event["data"]["memory"]["swap"]["usage"].is_u64());
    assert!(event["data"]["blkio"]["ioServiceBytesRecursive"].is_array());
    assert!(event["data"]["hugetlb"].is_object());
}

#[test]
fn devices_of_every_container_are_allowed() {
    let bundle = Bundle::shell(
        "echo > /dev/null && head -c 1 /dev/zero | wc -c && mknod /dev/x c 1 11 && ! cat /dev/x 2>/dev/null",
    );
    assert_eq!(bundle.oci(["run", "box"]).success().text(), "1");
}

#[test]
fn a_paused_container_does_nothing_until_it_is_resumed() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.start("box");
    bundle.oci(["resume", "box"]).status(1).says("container not paused");
    bundle.oci(["pause", "box"]).success();
    assert_eq!(bundle.status("box"), "paused");
    bundle.oci(["exec", "box", "true"]).status(255).says("paused container");
    bundle.oci(["delete", "box"]).status(1).says("that is not stopped: paused");
    bundle.oci(["resume", "box"]).success();
    assert_eq!(bundle.status("box"), "running");
    bundle.oci(["exec", "box", "true"]).success();
    // SIGKILL ends a frozen one, too.
    bundle.oci(["pause", "box"]).success();
    bundle.oci(["kill", "box", "KILL"]).success();
    bundle.wait_until("box", "stopped");
    bundle.oci(["pause", "box"]).status(1).says("container not running");
}

#[test]
fn a_container_that_shares_process_ids_is_killed_with_its_children() {
    let mut bundle = Bundle::shell("sleep 1000 & echo > /ready; wait");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    bundle.start("box");
    bundle.wait_for(bundle.inside("ready"));
    let pids: Value =
        serde_json::from_str(&bundle.oci(["ps", "-f", "json", "box"]).success().stdout).unwrap();
    assert_eq!(pids.as_array().unwrap().len(), 2);
    bundle.oci(["kill", "box", "KILL"]).success();
    bundle.wait_until("box", "stopped");
    for pid in pids.as_array().unwrap() {
        testkit::eventually("their end", 20, || {
            (!fs::exists(format!("/proc/{pid}/root/bin")).unwrap_or(false)).then_some(())
        });
    }
}

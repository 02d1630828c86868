//! What goes wrong is said, in the log too, and leaves nothing.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// The last line of the log, which callers read.
fn logged(bundle: &Bundle) -> Value {
    let text = fs::read_to_string(bundle.path("log.json")).expect("there is a log");
    serde_json::from_str(text.lines().last().expect("a line")).expect("it is JSON")
}

#[track_caller]
fn check(change: impl FnOnce(&mut Bundle), expected: &str) {
    let mut bundle = Bundle::new(&["true"]);
    change(&mut bundle);
    let log = ["--log", "log.json", "--log-format", "json"];
    let output = bundle.oci(log.into_iter().chain(["create", "box"])).status(1);
    let line = logged(&bundle);
    assert_eq!(line["level"], "error");
    assert!(line["time"].as_str().is_some_and(|time| time.contains('T')), "{line}");
    let message = line["msg"].as_str().expect("a text");
    assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    assert!(output.stderr.contains("error: "), "{output}");
    assert!(bundle.left().is_empty(), "left: {:?}", bundle.left());
    bundle.oci(["state", "box"]).status(1).says("container does not exist");
}

#[test]
fn a_program_that_is_not_there_fails_the_create() {
    check(
        |b| b.config["process"]["args"] = json!(["no-such"]),
        "exec: \"no-such\": executable file not found in $PATH",
    );
    check(|b| b.config["process"]["args"] = json!(["/no/such"]), "no such file or directory");
    check(|b| b.config["process"]["args"] = json!(["/etc/passwd"]), "permission denied");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused() {
    check(|b| b.config["process"] = Value::Null, "has no process");
    check(|b| b.config["root"] = Value::Null, "has no root");
    check(|b| b.config["root"]["path"] = json!("nowhere"), "invalid rootfs");
    check(|b| b.config["root"]["path"] = json!("config.json"), "invalid rootfs");
    check(|b| b.config = json!([1]), "no configuration of a container");
    check(|b| b.config["process"]["terminal"] = json!(true), "cannot allocate tty if hull-oci will detach");
    check(|b| b.config["linux"]["cgroupsPath"] = json!("/a/../b"), "invalid linux.cgroupsPath");
    check(
        |b| b.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] }),
        "createRuntime hook /bin/false",
    );
}

#[test]
fn a_bundle_that_is_not_there_is_named() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config = Value::Null;
    bundle.oci(["create", "--bundle", "nowhere", "box"]).status(1).says("config.json not found");
}

#[test]
fn an_id_belongs_to_one_container() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.start("box");
    bundle.oci(["create", "box"]).status(1).says("container with given ID already exists");
    assert_eq!(bundle.status("box"), "running");
    assert_eq!(bundle.left(), ["box"]);
    for id in ["../box", "a/b", ".", "", "a b"] {
        bundle.oci(["create", id]).status(1).says("invalid container ID format");
        bundle.oci(["delete", "--force", id]).status(1).says("invalid container ID format");
    }
}

#[test]
fn a_program_that_vanishes_fails_the_start() {
    let bundle = Bundle::new(&["/bin/mine"]);
    fs::copy(bundle.inside("bin/busybox"), bundle.inside("bin/mine")).unwrap();
    bundle.oci(["create", "box"]).success();
    fs::remove_file(bundle.inside("bin/mine")).unwrap();
    bundle.oci(["start", "box"]).status(1).says("no such file or directory");
    bundle.wait_until("box", "stopped");
    bundle.oci(["delete", "box"]).success();
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let bundle = Bundle::new(&["true"]);
    bundle.oci(["checkpoint", "box"]).status(1).says("checkpoint is not supported");
    bundle.oci(["restore", "box"]).status(1).says("restore is not supported");
    bundle.oci(["create", "--no-new-keyring", "box"]).status(1).says("--no-new-keyring is not supported");
    bundle.oci(["exec", "--cgroup", "x", "box", "true"]).status(255).says("--cgroup is not supported");
    bundle
        .oci(["create", "--no-such-flag", "box"])
        .status(1)
        .says("flag provided but not defined: --no-such-flag");
    bundle.oci(["frobnicate"]).status(1).says("frobnicate");
    bundle.oci(["create"]).status(1).says("create [OPTIONS] ID");
    bundle.oci(["--log-format", "xml", "state", "box"]).status(1).says("log-format");
}

#[test]
fn a_damaged_record_is_said_to_be_one() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.start("box");
    let path = bundle.path("state/box/state.json");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, "{").unwrap();
    bundle.oci(["state", "box"]).status(1).says("state.json is damaged");
    fs::write(&path, r#"{"version":99}"#).unwrap();
    bundle.oci(["state", "box"]).status(1).says("it has version 99");
    fs::write(&path, before).unwrap();
}

#[test]
fn help_and_version() {
    let bundle = Bundle::new(&["true"]);
    let help = bundle.oci(["--help"]).success().stdout;
    for word in ["create", "start", "state", "kill", "delete", "exec", "--systemd-cgroup", "--log-format"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(bundle.oci(["exec", "--help"]).success().stdout.contains("--console-socket"));
    let version = bundle.oci(["--version"]).success().stdout;
    assert!(version.starts_with("hull-oci version ") && version.contains("\nspec: 1.3.0\n"), "{version}");
    let features: Value = serde_json::from_str(&bundle.oci(["features"]).success().stdout).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

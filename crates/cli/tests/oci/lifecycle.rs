//! From `create` to `delete`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Output, eventually};

use crate::bundle::Bundle;

#[test]
fn a_container_lives_its_life() {
    let mut bundle = Bundle::shell("echo ran > /ran; exec sleep 1000");
    bundle.config["annotations"] = json!({ "a.b": "c" });
    bundle.oci(["create", "--pid-file", "pid", "box"]).success();
    let state = bundle.state("box");
    assert_eq!(state["status"], "created");
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["annotations"]["a.b"], "c");
    assert_eq!(state["bundle"], bundle.directory.display().to_string());
    assert_eq!(state["rootfs"], bundle.path("rootfs").display().to_string());
    assert_eq!(state["pid"].to_string(), fs::read_to_string(bundle.path("pid")).unwrap());
    assert!(state["created"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(!bundle.inside("ran").exists(), "it waits to be started");

    bundle.oci(["start", "box"]).success();
    bundle.wait_for(bundle.inside("ran"));
    assert_eq!(bundle.status("box"), "running");
    bundle.oci(["start", "box"]).status(1).says("cannot start an already running container");
    bundle.oci(["delete", "box"]).status(1).says("cannot delete container box that is not stopped: running");

    bundle.oci(["kill", "box", "0"]).success();
    bundle.oci(["kill", "box", "KILL"]).success();
    bundle.wait_until("box", "stopped");
    assert_eq!(bundle.state("box")["pid"], 0);
    bundle.oci(["kill", "box", "9"]).status(1).says("container not running");
    bundle.oci(["start", "box"]).status(1).says("cannot start a container that has stopped");
    bundle.oci(["exec", "box", "true"]).status(255).says("stopped container");
    bundle.oci(["delete", "box"]).success();
    for command in ["state", "start", "kill", "delete", "pause", "resume", "ps", "events", "update"] {
        bundle.oci([command, "box"]).status(1).says("container does not exist");
    }
    bundle.oci(["delete", "--force", "box"]).success();
}

#[test]
fn signals_have_names_and_numbers() {
    let trap = "trap 'echo term > /got' TERM; trap 'echo usr1 > /got' USR1; echo > /ready; while :; do sleep 0.01; done";
    let bundle = Bundle::shell(trap);
    bundle.start("box");
    eventually("the traps", 20, || bundle.inside("ready").exists().then_some(()));
    for (signal, expected) in
        [(None, "term"), (Some("SIGUSR1"), "usr1"), (Some("15"), "term"), (Some("usr1"), "usr1")]
    {
        let _ = fs::remove_file(bundle.inside("got"));
        bundle.oci(["kill", "box"].into_iter().chain(signal)).success();
        assert_eq!(bundle.wait_for(bundle.inside("got")).trim(), expected, "{signal:?}");
    }
    bundle.oci(["kill", "box", "SIGNOTHING"]).status(1).says("invalid signal");
}

#[test]
fn kill_all_reaches_every_process() {
    let bundle = Bundle::shell(
        "(trap 'echo child > /got' USR1; while :; do sleep 0.01; done) & trap : USR1; echo > /ready; wait; wait",
    );
    bundle.start("box");
    eventually("the shell", 20, || bundle.inside("ready").exists().then_some(()));
    bundle.oci(["kill", "--all", "box", "USR1"]).success();
    assert_eq!(bundle.wait_for(bundle.inside("got")).trim(), "child");
}

#[test]
fn run_ends_as_the_program_ends() {
    for (script, status) in [("echo hello", 0), ("echo hello; exit 7", 7), ("echo hello; kill -9 $$", 137)] {
        let mut bundle = Bundle::shell(script);
        // Without a pid namespace of its own a signal from itself is a signal.
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        let output = bundle.oci(["run", "box"]).status(status);
        assert_eq!(output.text(), "hello");
        assert!(bundle.left().is_empty());
    }
    let bundle = Bundle::new(&["true"]);
    bundle.oci(["run", "--keep", "box"]).success();
    assert_eq!(bundle.status("box"), "stopped");
}

#[test]
fn run_passes_its_input_and_its_signals_on() {
    use std::io::Write;
    use std::process::Stdio;
    let bundle = Bundle::shell(
        "cat > /input; trap 'echo got it; exit 3' TERM; echo > /ready; while :; do sleep 0.01; done",
    );
    let mut command = bundle.command(["run", "box"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"some input").unwrap();
    eventually("the trap", 20, || bundle.inside("ready").exists().then_some(()));
    assert_eq!(fs::read_to_string(bundle.inside("input")).unwrap(), "some input");
    sys::process::kill(child.id() as i32, 15).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"got it\n"[..]));
}

#[test]
fn a_detached_run_stays() {
    let bundle = Bundle::shell("echo out; echo err >&2; exec sleep 1000");
    let output = bundle.oci(["run", "--detach", "--pid-file", "pid", "box"]).success();
    assert_eq!(bundle.status("box"), "running");
    assert_eq!(bundle.state("box")["pid"].to_string(), fs::read_to_string(bundle.path("pid")).unwrap());
    // Its streams are those of the caller, who may have seen only the beginning.
    eventually("its output", 20, || {
        let all: String = fs::read_dir(&bundle.directory)
            .unwrap()
            .flatten()
            .filter_map(|e| fs::read_to_string(e.path()).ok())
            .collect();
        (all.contains("out\n") && all.contains("err\n")).then_some(())
    });
    drop(output);
}

#[test]
fn what_was_never_started_is_deleted_without_force() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.oci(["create", "box"]).success();
    let pid = bundle.state("box")["pid"].to_string();
    bundle.oci(["delete", "box"]).success();
    assert!(!std::path::Path::new("/proc").join(pid).join("root/bin").exists());
}

#[test]
fn a_number_given_to_another_process_is_not_the_container() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.start("box");
    let path = bundle.path("state/box/state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let before = record.clone();
    // As if the container had ended, and its number had come round to this very process.
    record["process"] = json!({ "pid": std::process::id(), "started": 1 });
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(bundle.status("box"), "stopped");
    bundle.oci(["kill", "box", "KILL"]).status(1).says("container not running");
    fs::write(&path, before.to_string()).unwrap();
    assert_eq!(bundle.status("box"), "running");
}

#[test]
fn containers_are_listed() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    assert_eq!(bundle.oci(["list", "--format", "json"]).success().text(), "null");
    bundle.oci(["create", "one"]).success();
    bundle.start("two");
    assert_eq!(bundle.oci(["list", "-q"]).success().text(), "one\ntwo");
    let list: Value = serde_json::from_str(&bundle.oci(["list", "-f", "json"]).success().stdout).unwrap();
    let seen: Vec<_> =
        list.as_array().unwrap().iter().map(|c| (c["id"].as_str(), c["status"].as_str())).collect();
    assert_eq!(seen, [(Some("one"), Some("created")), (Some("two"), Some("running"))]);
    let table = bundle.oci(["list"]).success().stdout;
    assert!(table.starts_with("ID ") && table.lines().count() == 3, "{table}");
}

#[test]
fn descriptors_are_inherited_when_asked_for() {
    let bundle = Bundle::shell("ls -l /proc/self/fd | grep -c kept; cat <&3");
    fs::write(bundle.path("kept"), "content").unwrap();
    bundle.write_config();
    let run = |flags: &str| {
        let line = format!("exec 3<kept 4<kept 5<&-; exec ./hull-oci --root state run {flags} box");
        testkit::Output::of(
            std::process::Command::new("bash").args(["-c", &line]).current_dir(&bundle.directory),
        )
    };
    let output = run("--preserve-fds 1").success();
    assert_eq!(output.text(), "1\ncontent");
    assert_eq!(run("--preserve-fds 2").success().text(), "2\ncontent");
    let output = run("");
    assert!(output.text().starts_with('0') && output.status != Some(0), "{output}");
    run("--preserve-fds 3").status(1).says("descriptor 5, which the container is to inherit, is not open");
}

/// systemd makes all of a host's mounts shared.
#[test]
fn the_mounts_of_a_container_do_not_appear_on_a_host_that_shares_its_own() {
    for users in [false, true] {
        let mut bundle = Bundle::shell("grep ' /proc ' /proc/self/mountinfo");
        if users {
            bundle.with_users();
        }
        let run = bundle.command(["run", "box"]);
        let script = "\"$@\" || exit; ! grep \" $PWD/rootfs\" /proc/self/mountinfo";
        let mut host = Command::new("unshare");
        host.args(["--mount", "--propagation", "shared", "sh", "-c", script, "sh"]);
        host.arg(run.get_program()).args(run.get_args()).current_dir(&bundle.directory);
        let output = Output::of(&mut host).success();
        assert!(output.stdout.contains(" - proc "), "{output}");
    }
}

//! Looking at containers: statistics, processes, changes, and what a prune takes.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};
use testkit::Api;

use crate::served;

fn with_sleeper() -> Api {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    api
}

#[test]
fn statistics_are_streamed_until_the_container_goes() {
    let api = with_sleeper();
    let mut lines =
        BufReader::new(api.begin("GET", "/containers/box/stats", "Connection: close\r\n", b"")).lines();
    let mut next = || loop {
        let line = lines.next()?.unwrap();
        if line.starts_with('{') {
            return Some(serde_json::from_str::<Value>(&line).unwrap());
        }
    };
    let (first, second) = (next().unwrap(), next().unwrap());
    assert_eq!(first["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(first["name"], "/box");
    assert_eq!(second["preread"], first["read"]);
    assert_eq!(second["precpu_stats"], first["cpu_stats"]);
    assert!(
        second["cpu_stats"]["system_cpu_usage"].as_u64() > first["cpu_stats"]["system_cpu_usage"].as_u64()
    );
    api.docker(["rm", "-f", "box"]).success();
    while next().is_some() {}
}

#[test]
fn statistics_are_read_once() {
    let api = with_sleeper();
    let one = |query: &str| api.get(&format!("/containers/box/stats?{query}")).expect(200).json();
    let zero = "0001-01-01T00:00:00Z";
    assert_ne!(one("stream=false")["preread"], zero);
    let alone = one("stream=0&one-shot=1");
    assert_eq!(alone["preread"], zero);
    assert!(alone["memory_stats"]["usage"].as_u64() > Some(0), "{alone}");
    let both = api.get("/containers/box/stats?one-shot=1").expect(400).json();
    assert_eq!(both["message"], "cannot have stream=true and one-shot=true");
    api.get("/containers/nobody/stats").expect(404);
    let shown = api.docker(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"]);
    assert_eq!(shown.success().text(), "box 1");

    api.docker(["kill", "box"]).success();
    assert_eq!(one("stream=false")["pids_stats"]["current"], 0);
}

#[test]
fn processes_and_changes_are_listed() {
    let api = with_sleeper();
    let top = api.docker(["top", "box", "-o", "pid,args"]).success();
    assert!(top.stdout.starts_with("PID") && top.stdout.contains("sleep 1000"), "{top}");
    let plain = api.get("/containers/box/top").expect(200).json();
    assert_eq!(plain["Titles"], json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]));
    assert_eq!(api.get("/containers/box/changes").expect(200).json(), Value::Null);
    api.world.hull(["exec", "box", "sh", "-c", "touch /new /etc/group; rm /etc/passwd"]).success();
    assert_eq!(api.docker(["diff", "box"]).success().text(), "C /etc\nC /etc/group\nD /etc/passwd\nA /new");
    api.docker(["kill", "box"]).success();
    api.docker(["wait", "box"]).success();
    let stopped = api.get("/containers/box/top").expect(409).json();
    assert!(stopped["message"].as_str().unwrap().ends_with(" is not running"), "{stopped}");
}

#[test]
fn a_prune_takes_what_its_filters_match() {
    let api = with_sleeper();
    for name in ["keep", "go"] {
        api.world
            .hull(["create", "--name", name, "--label", &format!("which={name}"), "busybox", "true"])
            .success();
    }
    let filters = "filters=%7B%22label%22%3A%5B%22which%3Dgo%22%5D%7D";
    let id = api.get("/containers/go/json").json()["Id"].clone();
    let pruned = api.post(&format!("/containers/prune?{filters}"), &Value::Null).expect(200).json();
    assert_eq!(pruned["ContainersDeleted"], json!([id]));
    let wrong = "filters=%7B%22colour%22%3A%5B%22red%22%5D%7D";
    api.post(&format!("/containers/prune?{wrong}"), &Value::Null).expect(400);
    api.docker(["container", "prune", "-f"]).success();
    assert_eq!(api.docker(["ps", "-a", "--format", "{{.Names}}"]).success().text(), "box");
    let nothing = api.post("/containers/prune", &Value::Null).expect(200).json();
    assert_eq!(nothing, json!({"ContainersDeleted": null, "SpaceReclaimed": 0}));
}

#[test]
fn checkpoints_are_an_experiment_that_is_off() {
    let api = served();
    for (method, path) in [("GET", ""), ("POST", ""), ("DELETE", "/one")] {
        let answer = api.request(method, &format!("/containers/box/checkpoints{path}"), "", b"").expect(501);
        assert!(answer.text().contains("experimental feature is disabled"), "{}", answer.text());
    }
}

//! Hooks at all their points, with the state they are told.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that appends its point and the state it gets to `log`.
fn hook(point: &str, log: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("{{ echo {point}; cat; echo; }} >> {log}")] })
}

#[test]
fn every_point_in_its_order() {
    let mut bundle = Bundle::new(&["true"]);
    let outside = bundle.path("log").display().to_string();
    for point in POINTS {
        // In the container's mount namespace and root respectively.
        let log = if point == "startContainer" { "/log" } else { &outside };
        bundle.config["hooks"][point] = json!([hook(point, log)]);
    }
    bundle.oci(["create", "box"]).success();
    let pid = bundle.state("box")["pid"].clone();
    bundle.oci(["start", "box"]).success();
    bundle.wait_until("box", "stopped");
    bundle.oci(["delete", "box"]).success();
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let pairs = lines.chunks(2).map(|pair| (pair[0].clone(), serde_json::from_str(&pair[1]).unwrap()));
        pairs.collect::<Vec<(String, Value)>>()
    };
    let told = read(bundle.path("log"));
    let points: Vec<_> = told.iter().map(|(point, _)| point.as_str()).collect();
    assert_eq!(points, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    let statuses: Vec<_> = told.iter().map(|(_, state)| state["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["creating", "creating", "creating", "running", "stopped"]);
    for (point, state) in &told {
        assert_eq!(state["id"], "box");
        let expected = if point == "poststop" { Value::Null } else { pid.clone() };
        assert_eq!(state["pid"], expected, "{point}");
    }
    let inside = read(bundle.inside("log"));
    assert_eq!((inside[0].0.as_str(), &inside[0].1["status"]), ("startContainer", &json!("created")));
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] });
    bundle.oci(["create", "box"]).success();
    bundle.oci(["start", "box"]).status(1).says("poststart hook /bin/false");
    assert_eq!(bundle.status("box"), "stopped");
}

#[test]
fn a_failing_poststop_hook_is_told_and_keeps_nothing() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["hooks"] = json!({ "poststop": [{ "path": "/bin/false" }] });
    bundle.oci(["create", "box"]).success();
    bundle.oci(["delete", "box"]).status(1).says("poststop hook /bin/false");
    assert!(bundle.left().is_empty());
}

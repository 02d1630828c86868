//! Images as dockerd shows the same ones, field by field; what is meant to differ is listed.

use serde_json::{Value, json};
use testkit::{Dockerd, request};

use crate::served;

/// Fields whose values are dockerd's own: where it keeps things, how it counts bytes (it adds the lengths of links), when something was
/// tagged here, and what it counts only when asked.
const OWN: &[&str] = &[
    "/GraphDriver/Data",
    "/Size",
    "/VirtualSize",
    "/Metadata/LastTagTime",
    "/SharedSize",
    "/Containers",
    "/LayersSize",
];

/// The paths whose values differ, except those of [`OWN`] beneath whatever list they are in. `null` and an empty list are the same.
fn differences(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    if OWN.iter().any(|own| path.ends_with(own)) {
        return;
    }
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let of =
                    |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(json!("missing"));
                differences(&of(ours), &of(theirs), &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                differences(ours, theirs, &format!("{path}/{index}"), found);
            }
        }
        (Value::Array(list), Value::Null) | (Value::Null, Value::Array(list)) if list.is_empty() => {}
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours} and not {theirs}")),
    }
}

#[test]
fn images_are_shown_as_dockerd_shows_them() {
    let api = served();
    let file = "FROM busybox\nENV A=b\nEXPOSE 80\nRUN echo hi > /x\nVOLUME /v\nHEALTHCHECK CMD true\nLABEL q=r\nUSER 5\n\
                WORKDIR /v\nSTOPSIGNAL 3\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\n";
    api.world.file("context/Dockerfile", file);
    api.world.hull(["build", "-q", "-t", "built", "context"]).success();
    let archive = api.world.scratch().join("images.tar").display().to_string();
    api.docker(["save", "-o", &archive, "busybox", "built"]).success();
    let dockerd = Dockerd::start();
    let loaded = dockerd.run(&["load", "-q", "-i", &archive]).success();
    assert_eq!(api.docker(["load", "-q", "-i", &archive]).success().stdout, loaded.stdout);
    for target in [
        "images/built/json",
        "images/busybox/json",
        "images/built/history",
        "images/json",
        "system/df?type=image",
    ] {
        let target = format!("/v1.41/{target}");
        let ours = api.get(&target).expect(200).json();
        let theirs =
            request(&dockerd.socket(), "GET", &target, "Connection: close\r\n", b"").expect(200).json();
        let (mut ours, mut theirs) = (ours, theirs);
        for answer in [&mut ours, &mut theirs] {
            if let Some(usage) = answer.as_object_mut() {
                // It does not know `type` yet.
                usage.retain(|key, _| {
                    !["Volumes", "Containers", "BuildCache", "BuilderSize"].contains(&&**key)
                });
            }
            // Images of the same second are in no order.
            if let Some(images) = answer.pointer_mut("/Images").and_then(Value::as_array_mut) {
                images.sort_by_key(|image| image["Id"].to_string());
            }
            if let Some(images) = answer.as_array_mut().filter(|_| target.ends_with("images/json")) {
                images.sort_by_key(|image| image["Id"].to_string());
            }
        }
        let mut found = Vec::new();
        differences(&ours, &theirs, "", &mut found);
        assert!(found.is_empty(), "{target}: {found:#?}");
    }
    // And back: what dockerd saves is the same image here.
    let id = api.docker(["images", "-q", "--no-trunc", "built"]).success().text().to_owned();
    dockerd.run(&["save", "-o", &archive, "built"]).success();
    api.docker(["rmi", "built"]).success();
    api.docker(["load", "-i", &archive]).success();
    assert_eq!(api.docker(["images", "-q", "--no-trunc", "built"]).success().text(), id);
    for words in [
        &["history", "--format", "{{.CreatedBy}} {{.Comment}}", "built"][..],
        &["image", "inspect", "-f", "{{json .Config}}", "built"],
    ] {
        assert_eq!(api.docker(words).success().stdout, dockerd.run(words).success().stdout, "{words:?}");
    }
}

//! Images, loaded from the same archive.

use testkit::{Dockerd, request};

use super::{Comparison, sort};
use crate::served;

/// Where each keeps things, how it counts bytes (dockerd adds the lengths of links), when something was tagged here, and what is only
/// counted when asked for.
const OWN: &[&str] = &["GraphDriver/Data", "Size", "VirtualSize", "Metadata/LastTagTime", "LayersSize"];

const MEANT: &[(&str, &str)] = &[
    ("SharedSize", "it is counted without being asked for"),
    ("Containers", "they are counted without being asked for"),
];

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
    let mut comparison = Comparison::new(OWN, MEANT);
    for target in [
        "images/built/json",
        "images/busybox/json",
        "images/built/history",
        "images/json",
        "system/df?type=image",
    ] {
        let target = format!("/v1.41/{target}");
        let mut ours = api.get(&target).expect(200).json();
        let theirs = request(&dockerd.socket(), "GET", &target, "Connection: close\r\n", b"");
        let mut theirs = theirs.expect(200).json();
        for answer in [&mut ours, &mut theirs] {
            if let Some(usage) = answer.as_object_mut() {
                // It does not know `type` yet.
                usage.retain(|key, _| {
                    !["Volumes", "Containers", "BuildCache", "BuilderSize"].contains(&&**key)
                });
            }
            // Images of the same second are in no order.
            if !target.ends_with("history") {
                sort(answer);
            }
        }
        comparison.compare(&target, Some(&ours), Some(&theirs));
    }
    comparison.finish();
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

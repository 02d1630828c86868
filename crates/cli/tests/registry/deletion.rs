//! Deleting, which is `rmi` of what goes.

use oci::Digest;
use serde_json::json;
use testkit::World;

use crate::server::{Image, OCI_INDEX, OCI_MANIFEST, Server, host_architecture, index};

#[test]
fn a_tag_goes_and_the_image_with_its_last_one() {
    let server = Server::start(&[]);
    let image = Image::of_host("gone");
    server.push("app", "v1", &image).status(201);
    server.put_manifest("/v2/app/manifests/v2", OCI_MANIFEST, &image.manifest).status(201);
    server.delete("/v2/app/manifests/v1").status(202);
    server.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
    server.delete("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
    assert_eq!(server.images().text(), format!("app:v2 {}", image.id()));
    assert_eq!(server.content(), [3, 1, 0]);
    server.delete("/v2/app/manifests/v2").status(202);
    assert_eq!(server.images().text(), "");
    assert_eq!(server.content(), [0, 0, 0]);
    server.get("/v2/app/tags/list").error(404, "NAME_UNKNOWN");
}

#[test]
fn a_manifest_goes_with_all_its_tags() {
    let server = Server::start(&[]);
    let (image, other) = (Image::of_host("gone"), Image::of_host("stays"));
    server.push("app", "v1", &image).status(201);
    server.put_manifest("/v2/app/manifests/v2", OCI_MANIFEST, &image.manifest).status(201);
    server.push("app", "v3", &other).status(201);
    let target = format!("/v2/app/manifests/{}", image.digest());
    server.delete(&target).status(202);
    for gone in [&*target, "/v2/app/manifests/v1", "/v2/app/manifests/v2"] {
        server.get(gone).error(404, "MANIFEST_UNKNOWN");
    }
    server.delete(&target).error(404, "MANIFEST_UNKNOWN");
    server.delete(&format!("/v2/none/manifests/{}", image.digest())).error(404, "MANIFEST_UNKNOWN");
    assert_eq!(server.images().text(), format!("app:v3 {}", other.id()));
    assert_eq!(server.content(), [3, 1, 0]);
    // Pushed by its digest, it has no other name to go with.
    server.push("app", &image.digest().to_string(), &image).status(201);
    server.delete(&target).status(202);
    assert_eq!(server.images().text(), format!("app:v3 {}", other.id()));
    assert_eq!(server.content(), [3, 1, 0]);
}

#[test]
fn what_an_index_needs_stays_until_the_index_goes() {
    let server = Server::start(&[]);
    let (mine, other) = (Image::of_host("mine"), Image::new("other", "s390x"));
    for image in [&mine, &other] {
        server.push("app", &image.digest().to_string(), image).status(201);
    }
    let bytes = index(&[mine.descriptor(host_architecture()), other.descriptor("s390x")]);
    server.put_manifest("/v2/app/manifests/v1", OCI_INDEX, &bytes).status(201);
    let child = format!("/v2/app/manifests/{}", other.digest());
    server.delete(&child).error(409, "DENIED");
    server.get(&child).status(200);
    server.delete(&format!("/v2/app/manifests/{}", Digest::of(&bytes))).status(202);
    server.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
    server.delete(&child).status(202);
    assert_eq!(server.images().text(), "");
    assert_eq!(server.content(), [0, 0, 0]);
}

#[test]
fn an_image_that_is_used_here_stays() {
    let server = Server::of(World::with_busybox(env!("CARGO_BIN_EXE_hull")), &[]);
    server.world.hull(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).success();
    let refused = server.delete("/v2/busybox/manifests/latest").error(409, "DENIED");
    let text = refused.json()["errors"][0]["message"].to_string();
    assert!(text.contains("is using its referenced image"), "{text}");
    server.get("/v2/busybox/manifests/latest").status(200);
    server.world.hull(["rm", "--force", "web"]).success();
    server.delete("/v2/busybox/manifests/latest").status(202);
    assert_eq!(server.images().text(), "");
}

#[test]
fn a_blob_goes_unless_a_manifest_needs_it() {
    let server = Server::start(&[]);
    server.push_blob("app", b"alone");
    let target = format!("/v2/app/blobs/{}", Digest::of(b"alone"));
    server.delete(&target.replace("/app/", "/other/")).error(404, "BLOB_UNKNOWN");
    server.get(&target).status(200);
    server.delete(&target).status(202);
    server.get(&target).error(404, "BLOB_UNKNOWN");
    server.delete(&target).error(404, "BLOB_UNKNOWN");
    assert_eq!(server.content(), [0, 0, 0]);
    let image = Image::of_host("needed");
    server.push("app", "v1", &image).status(201);
    let needed = format!("/v2/app/blobs/{}", Digest::of(&image.layer));
    server.delete(&needed).error(405, "UNSUPPORTED");
    server.get(&needed).status(200);
}

#[test]
fn what_was_pushed_is_kept_while_it_waits_for_its_manifest() {
    let server = Server::start(&[]);
    let image = Image::of_host("late");
    server.push_blob("app", &image.config);
    server.push_blob("app", &image.layer);
    // Everything nobody uses goes, but not what somebody is about to.
    server.world.hull(["system", "prune", "--all", "--force"]).success();
    server.put_manifest("/v2/app/manifests/v1", OCI_MANIFEST, &image.manifest).status(201);
    server.world.hull(["system", "prune", "--force"]).success();
    assert_eq!(server.get("/v2/app/tags/list").json()["tags"], json!(["v1"]));
    // And then it is held no longer.
    server.world.hull(["rmi", "app:v1"]).success();
    assert_eq!(server.content(), [0, 0, 0]);
}

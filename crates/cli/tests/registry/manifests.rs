//! Manifests on their way in: images, indexes, artifacts.

use oci::Digest;
use serde_json::json;

use crate::server::{Image, OCI_INDEX, OCI_MANIFEST, Server, descriptor, host_architecture, index, manifest};

#[test]
fn an_image_for_this_host_becomes_one_at_once() {
    let server = Server::start(&[]);
    let image = Image::of_host("pushed");
    let digest = image.digest().to_string();
    let put = server.push("team/app", "v1", &image).status(201).has("docker-content-digest", &digest);
    assert_eq!(put.header("location"), Some(&*format!("/v2/team/app/manifests/{digest}")));
    assert_eq!(server.images().text(), format!("team/app:v1 {}", image.id()));
    assert_eq!(server.world.inspect("team/app:v1", "{{.Config.Labels.name}}"), "pushed");
    // Its layer is a file of that name.
    server.world.hull(["create", "--name", "made", "team/app:v1", "x"]).success();
    let files = server.world.hull(["export", "made"]).success();
    assert!(files.stdout.contains("pushed"));
    server.world.hull(["rm", "made"]).success();
    // A tag moves.
    let other = Image::of_host("other");
    server.push("team/app", "v1", &other).status(201);
    let images = server.images();
    assert!(images.text().contains(&format!("team/app:v1 {}", other.id())), "{images}");
    assert!(images.text().contains(&format!("team/app:<none> {}", image.id())), "{images}");
}

#[test]
fn a_push_by_digest_gives_any_number_of_tags() {
    let server = Server::start(&[]);
    let image = Image::of_host("tagged");
    let digest = image.digest();
    server.push("app", &digest.to_string(), &image).status(201);
    assert_eq!(server.images().text(), format!("app:<none> {}", image.id()));
    server.get(&format!("/v2/app/manifests/{digest}")).status(200);
    let target = format!("/v2/app/manifests/{digest}?tag=1&tag=1.2&tag=latest");
    let put = server.put_manifest(&target, OCI_MANIFEST, &image.manifest).status(201);
    assert_eq!(put.header("oci-tag"), Some("1, 1.2, latest"));
    assert_eq!(server.get("/v2/app/tags/list").json()["tags"], json!(["1", "1.2", "latest"]));
    let wrong = format!("/v2/app/manifests/{}", Digest::of(b"x"));
    server.put_manifest(&wrong, OCI_MANIFEST, &image.manifest).error(400, "DIGEST_INVALID");
    let malformed = format!("/v2/app/manifests/{digest}?tag=..");
    server.put_manifest(&malformed, OCI_MANIFEST, &image.manifest).error(400, "MANIFEST_INVALID");
    let both = "/v2/app/manifests/v1?tag=v2";
    server.put_manifest(both, OCI_MANIFEST, &image.manifest).error(400, "MANIFEST_INVALID");
}

#[test]
fn the_same_image_under_another_manifest_keeps_both() {
    let server = Server::start(&[]);
    let image = Image::of_host("twice");
    server.push("app", "v1", &image).status(201);
    let mut annotated = manifest(&image.config, &[&image.layer]);
    annotated["annotations"] = json!({"built": "again"});
    let annotated = annotated.to_string().into_bytes();
    server.put_manifest("/v2/app/manifests/v2", OCI_MANIFEST, &annotated).status(201);
    assert_eq!(server.get("/v2/app/manifests/v1").status(200).body, image.manifest);
    assert_eq!(server.get("/v2/app/manifests/v2").status(200).body, annotated);
    assert_eq!(server.images().text().matches(&image.id().to_string()).count(), 2);
}

#[test]
fn an_index_names_the_image_of_this_host() {
    let server = Server::start(&[]);
    let (mine, other) = (Image::of_host("mine"), Image::new("other", "s390x"));
    for image in [&mine, &other] {
        server.push("app", &image.digest().to_string(), image).status(201);
    }
    // Of another platform: kept, and no image.
    assert_eq!(server.images().text(), format!("app:<none> {}", mine.id()));
    let bytes = index(&[other.descriptor("s390x"), mine.descriptor(host_architecture())]);
    server.put_manifest("/v2/app/manifests/v1", OCI_INDEX, &bytes).status(201);
    assert_eq!(server.images().text(), format!("app:v1 {}", mine.id()));
    let given = server.get("/v2/app/manifests/v1").status(200).has("content-type", OCI_INDEX);
    assert_eq!(given.body, bytes);
    for image in [&mine, &other] {
        server.get(&format!("/v2/app/manifests/{}", image.digest())).status(200);
        server.get(&format!("/v2/app/blobs/{}", Digest::of(&image.layer))).status(200);
    }
    // One within another.
    let inner = json!({"mediaType": OCI_INDEX, "digest": Digest::of(&bytes), "size": bytes.len()});
    let outer = index(&[inner]);
    server.put_manifest("/v2/app/manifests/v2", OCI_INDEX, &outer).status(201);
    assert!(server.images().text().contains(&format!("app:v2 {}", mine.id())));
    // A name of an image that becomes one of nothing for this host is no image's any more.
    let alone = index(&[other.descriptor("s390x")]);
    server.put_manifest("/v2/app/manifests/v2", OCI_INDEX, &alone).status(201);
    assert_eq!(server.images().text(), format!("app:v1 {}", mine.id()));
    assert_eq!(server.get("/v2/app/manifests/v2").status(200).body, alone);
}

#[test]
fn artifacts_are_kept_and_found_by_their_subject() {
    let server = Server::start(&[]);
    let image = Image::of_host("subject");
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len()});
    let (config, data) = (b"{}".as_slice(), b"signature".as_slice());
    server.push_blob("app", config);
    server.push_blob("app", data);
    let push = |artifact_type: Option<&str>, annotation: &str| {
        let mut document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.test.config", config),
            "layers": [descriptor("application/vnd.test.data", data)], "subject": subject,
            "annotations": {"name": annotation},
        });
        if let Some(artifact_type) = artifact_type {
            document["artifactType"] = json!(artifact_type);
        }
        let bytes = document.to_string().into_bytes();
        let target = format!("/v2/app/manifests/{}", Digest::of(&bytes));
        let put = server.put_manifest(&target, OCI_MANIFEST, &bytes).status(201);
        put.has("oci-subject", &image.digest().to_string());
        bytes
    };
    // Before what it is about.
    let signature = push(Some("application/vnd.test.signature"), "one");
    let plain = push(None, "two");
    server.push("app", "v1", &image).status(201);

    let target = format!("/v2/app/referrers/{}", image.digest());
    let all = server.get(&target).status(200).has("content-type", OCI_INDEX).json();
    let mut found: Vec<_> =
        all["manifests"].as_array().unwrap().iter().map(|m| m["digest"].clone()).collect();
    found.sort_by_key(|digest| digest.to_string());
    let mut expected = [json!(Digest::of(&signature)), json!(Digest::of(&plain))];
    expected.sort_by_key(|digest| digest.to_string());
    assert_eq!(found, expected, "{all}");
    let filtered = server.get(&format!("{target}?artifactType=application/vnd.test.signature")).status(200);
    let filtered = filtered.has("oci-filters-applied", "artifactType").json();
    assert_eq!(
        filtered["manifests"],
        json!([{
            "mediaType": OCI_MANIFEST, "digest": Digest::of(&signature), "size": signature.len(),
            "annotations": {"name": "one"}, "artifactType": "application/vnd.test.signature",
        }])
    );
    let by_config = server.get(&format!("{target}?artifactType=application/vnd.test.config")).json();
    assert_eq!(by_config["manifests"][0]["digest"], json!(Digest::of(&plain)));
    for nothing in [format!("/v2/app/referrers/{}", Digest::of(b"x")), target.replace("/app/", "/none/")] {
        assert_eq!(server.get(&nothing).status(200).json()["manifests"], json!([]));
    }
    server.get("/v2/app/referrers/sha256:1").error(400, "DIGEST_INVALID");
    assert_eq!(server.images().text(), format!("app:v1 {}", image.id()));

    // A tag may name one; `hull images` has nothing to show for it.
    server.put_manifest("/v2/app/manifests/sig", OCI_MANIFEST, &signature).status(201);
    assert_eq!(server.get("/v2/app/manifests/sig").status(200).body, signature);
    assert_eq!(server.images().text(), format!("app:v1 {}", image.id()));
    // An index may be about something, too, and then has no type but its own.
    let about = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject});
    let about = about.to_string().into_bytes();
    server.put_manifest("/v2/app/manifests/about", OCI_INDEX, &about).status(201);
    let all = server.get(&target).json();
    let listed = all["manifests"].as_array().unwrap().iter().find(|m| m["mediaType"] == OCI_INDEX);
    assert_eq!(listed.unwrap().get("artifactType"), None);
}

#[test]
fn what_cannot_be_unpacked_here_is_kept_only_when_it_is_no_image() {
    let server = Server::start(&[]);
    // An image's config that lists no layers describes no image: conformance tests push such ones.
    let (config, layer) = (
        json!({"architecture": host_architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}),
        b"nothing that could be unpacked".to_vec(),
    );
    let config = config.to_string().into_bytes();
    server.push_blob("app", &config);
    server.push_blob("app", &layer);
    let bytes = manifest(&config, &[&layer]).to_string().into_bytes();
    server.put_manifest("/v2/app/manifests/bare", OCI_MANIFEST, &bytes).status(201);
    assert_eq!(server.get("/v2/app/manifests/bare").status(200).body, bytes);
    assert_eq!(server.images().text(), "");

    let before = server.content();
    let refused = |diff_ids: &[Digest]| {
        let config = json!({
            "architecture": host_architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        server.push_blob("app", &config);
        let bytes = manifest(&config, &[&layer]).to_string().into_bytes();
        let put = server.put_manifest("/v2/app/manifests/bad", OCI_MANIFEST, &bytes);
        server.delete(&format!("/v2/app/blobs/{}", Digest::of(&config))).status(202);
        put.error(400, "MANIFEST_INVALID")
    };
    refused(&[Digest::of(&layer)]);
    refused(&[Digest::of(&layer), Digest::of(&layer)]);
    let tar = crate::server::tar("file", b"x");
    server.push_blob("app", &tar);
    let config = json!({
        "architecture": host_architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"another layer")]},
    });
    let config = config.to_string().into_bytes();
    server.push_blob("app", &config);
    let bytes = manifest(&config, &[&tar]).to_string().into_bytes();
    let put =
        server.put_manifest("/v2/app/manifests/bad", OCI_MANIFEST, &bytes).error(400, "MANIFEST_INVALID");
    let message = put.json()["errors"][0]["message"].to_string();
    assert!(message.contains(&Digest::of(&tar).to_string()), "{message}");
    for blob in [&tar, &config] {
        server.delete(&format!("/v2/app/blobs/{}", Digest::of(blob))).status(202);
    }
    server.get("/v2/app/manifests/bad").error(404, "MANIFEST_UNKNOWN");
    assert_eq!(server.content(), before);
    assert_eq!(server.images().text(), "");
}

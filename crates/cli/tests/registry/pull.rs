//! What is given: manifests and blobs, whole and in parts.

use oci::Digest;
use testkit::World;

use crate::server::{Image, OCI_MANIFEST, Server};

#[test]
fn the_registry_says_what_it_is() {
    let server = Server::start(&[]);
    for target in ["/v2/", "/v2"] {
        let response = server.get(target).status(200).has("docker-distribution-api-version", "registry/2.0");
        assert_eq!(response.body, b"{}");
        server.head(target).status(200);
    }
    server.request("POST", "/v2/").send().error(405, "UNSUPPORTED").has("allow", "GET, HEAD");
    server.get("/").error(404, "UNSUPPORTED").has("docker-distribution-api-version", "registry/2.0");
}

#[test]
fn manifests_are_given_byte_for_byte() {
    let server = Server::start(&[]);
    let image = Image::of_host("file");
    server.push("app", "v1", &image).status(201);
    let digest = image.digest().to_string();
    for name in ["v1", &digest] {
        for path in [format!("/v2/app/manifests/{name}"), format!("/v2/library/app/manifests/{name}")] {
            let response = server.get(&path).status(200).has("content-type", OCI_MANIFEST);
            let response = response.has("docker-content-digest", &digest);
            assert_eq!(response.body, image.manifest);
            let length = image.manifest.len().to_string();
            server
                .head(&path)
                .status(200)
                .has("content-length", &length)
                .has("docker-content-digest", &digest);
            for tag in
                [format!("\"{digest}\""), format!("W/\"x\", \"{digest}\""), digest.clone(), "*".to_owned()]
            {
                let cached = server.request("GET", &path).header("If-None-Match", &tag).send();
                cached.status(304).has("docker-content-digest", &digest);
            }
            server.request("GET", &path).header("If-None-Match", "\"sha256:other\"").send().status(200);
        }
    }
    server.get("/v2/app/manifests/v2").error(404, "MANIFEST_UNKNOWN");
    server.head("/v2/app/manifests/v2").status(404);
    server.get(&format!("/v2/app/manifests/{}", Digest::of(b"x"))).error(404, "MANIFEST_UNKNOWN");
    server.get(&format!("/v2/other/manifests/{digest}")).error(404, "MANIFEST_UNKNOWN");
    server.get("/v2/app/manifests/-v").error(400, "MANIFEST_INVALID");
    server.get("/v2/app/manifests/sha256:1").error(400, "DIGEST_INVALID");
}

#[test]
fn blobs_are_given_whole_and_in_parts() {
    let server = Server::start(&[]);
    // More than one piece on its way from the disk.
    let blob: Vec<u8> = (0..700_000u32).flat_map(|n| n.to_le_bytes()).collect();
    server.push_blob("app", &blob);
    let digest = Digest::of(&blob).to_string();
    let path = format!("/v2/app/blobs/{digest}");
    let whole = server.get(&path).status(200).has("docker-content-digest", &digest);
    let whole = whole.has("accept-ranges", "bytes").has("content-type", "application/octet-stream");
    assert!(whole.body == blob);
    let length = blob.len().to_string();
    server.head(&path).status(200).has("content-length", &length).has("docker-content-digest", &digest);

    let part = |range: &str| server.request("GET", &path).header("Range", range).send();
    let first = part("bytes=0-9").status(206).has("content-range", &format!("bytes 0-9/{length}"));
    assert_eq!(first.body, blob[..10]);
    assert!(part("bytes=300001-1000000").status(206).body == blob[300_001..=1_000_000]);
    assert!(part("bytes=2700000-").status(206).body == blob[2_700_000..]);
    assert_eq!(part("bytes=-5").status(206).body, blob[blob.len() - 5..]);
    let beyond = part(&format!("bytes={length}-")).error(416, "SIZE_INVALID");
    assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{length}")));
    for ignored in ["bytes=0-1,5-6", "bytes=9-1", "chunks=1-2"] {
        assert_eq!(part(ignored).status(200).body.len(), blob.len(), "{ignored}");
    }
    let tagged = |tag: &str| {
        server.request("GET", &path).header("Range", "bytes=1-1").header("If-Range", tag).send().status
    };
    assert_eq!((tagged(&format!("\"{digest}\"")), tagged("\"other\"")), (206, 200));
    server.request("GET", &path).header("If-None-Match", &format!("\"{digest}\"")).send().status(304);

    server.get(&format!("/v2/app/blobs/{}", Digest::of(b"x"))).error(404, "BLOB_UNKNOWN");
    server.head(&format!("/v2/app/blobs/{}", Digest::of(b"x"))).status(404);
    server.get(&format!("/v2/other/blobs/{digest}")).error(404, "BLOB_UNKNOWN");
    server.get("/v2/app/blobs/sha256:1").error(400, "DIGEST_INVALID");
    server.get(&format!("/v2/app/blobs/sha512:{}", "0".repeat(128))).error(400, "DIGEST_INVALID");
}

#[test]
fn images_made_here_are_served_and_nothing_else() {
    let server = Server::of(World::with_busybox(env!("CARGO_BIN_EXE_hull")), &[]);
    let manifest = server.get("/v2/busybox/manifests/latest").status(200).json();
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(server.world.inspect("busybox", "{{.Id}}"), config);
    let config_path = format!("/v2/busybox/blobs/{config}");
    server.get(&config_path).status(200);
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let size = manifest["layers"][0]["size"].to_string();
    server.head(&format!("/v2/busybox/blobs/{layer}")).status(200).has("content-length", &size);
    // A repository has what its names lead to, not all that the store has.
    server.get(&format!("/v2/other/blobs/{config}")).error(404, "BLOB_UNKNOWN");
    server.world.hull(["tag", "busybox", "ghcr.io/x/y:1"]).success();
    server.get(&format!("/v2/ghcr.io/x/y/blobs/{config}")).status(200);
    server.world.hull(["rmi", "busybox"]).success();
    server.get("/v2/busybox/manifests/latest").error(404, "MANIFEST_UNKNOWN");
    server.get(&config_path).error(404, "BLOB_UNKNOWN");
}

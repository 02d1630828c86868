//! What no honest client sends: the specification's answer, and nothing left behind.

use std::io::Write as _;
use std::time::Duration;

use oci::Digest;
use serde_json::{Value, json};

use crate::http::Response;
use crate::server::{
    Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Server, descriptor, index, manifest,
};

#[test]
fn names_are_no_paths() {
    let server = Server::start(&[]);
    let digest = Digest::of(b"x");
    let long = "a/".repeat(30_000) + "b";
    for name in
        ["..", "../../etc", "%2e%2e/x", "a/../b", "A", "a//b", "a%00b", "%c3%a4", "a%2f..%2f..%2fb", &long]
    {
        for target in [
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/manifests/latest"),
            format!("/v2/{name}/blobs/{digest}"),
            format!("/v2/{name}/referrers/{digest}"),
        ] {
            server.get(&target).error(400, "NAME_INVALID");
        }
        let upload = server.request("POST", &format!("/v2/{name}/blobs/uploads/")).body(b"").send();
        upload.error(400, "NAME_INVALID");
        let target = format!("/v2/{name}/manifests/v1");
        server.put_manifest(&target, OCI_MANIFEST, b"{}").error(400, "NAME_INVALID");
    }
    // Longer than any URL may be, and a name that would be an image's id.
    server.get(&format!("/v2/{}/tags/list", "a".repeat(70_000))).status(414);
    server.get(&format!("/v2/{}/tags/list", "a".repeat(64))).error(400, "NAME_INVALID");
    for tag in ["..", "%2e%2e", ".hidden", "a%2fb", &"t".repeat(129)] {
        let put = server.put_manifest(&format!("/v2/app/manifests/{tag}"), OCI_MANIFEST, b"{}");
        assert!(matches!(put.status, 400 | 404), "{tag}: {put:?}");
    }
    assert_eq!(server.content(), [0, 0, 0]);
}

#[test]
fn a_manifest_names_only_what_is_there() {
    let server = Server::start(&[]);
    let image = Image::of_host("partial");
    let put = || server.put_manifest("/v2/app/manifests/v1", OCI_MANIFEST, &image.manifest);
    let missing = put().error(400, "MANIFEST_BLOB_UNKNOWN").json();
    assert_eq!(missing["errors"].as_array().unwrap().len(), 2, "{missing}");
    server.push_blob("app", &image.config);
    let missing = put().error(400, "MANIFEST_BLOB_UNKNOWN").json();
    assert_eq!(missing["errors"][0]["detail"]["digest"], json!(Digest::of(&image.layer)));
    // Another repository's blob is not this one's.
    server.push_blob("other", &image.layer);
    put().error(400, "MANIFEST_BLOB_UNKNOWN");
    let bytes = index(&[image.descriptor("amd64")]);
    server.put_manifest("/v2/app/manifests/i", OCI_INDEX, &bytes).error(400, "MANIFEST_BLOB_UNKNOWN");
    server.get("/v2/app/tags/list").error(404, "NAME_UNKNOWN");
    server.push_blob("app", &image.layer);
    put().status(201);
}

#[test]
fn manifests_that_can_be_read_two_ways_are_refused() {
    let server = Server::start(&[]);
    let image = Image::of_host("plain");
    server.push("app", "v1", &image).status(201);
    let before = server.content();
    let refused = |media_type: &str, document: &Value| {
        let bytes = document.to_string().into_bytes();
        server.put_manifest("/v2/app/manifests/bad", media_type, &bytes).error(400, "MANIFEST_INVALID");
    };
    let plain = manifest(&image.config, &[&image.layer]);
    let changed = |key: &str, value: Value| {
        let mut document = plain.clone();
        document[key] = value;
        document
    };
    refused(OCI_MANIFEST, &changed("manifests", json!([])));
    refused(OCI_MANIFEST, &changed("mediaType", json!(OCI_INDEX)));
    refused(OCI_INDEX, &plain);
    refused("application/json", &plain);
    refused("application/vnd.docker.distribution.manifest.v1+prettyjws", &json!({"schemaVersion": 1}));
    refused(OCI_MANIFEST, &changed("schemaVersion", json!(1)));
    refused(OCI_MANIFEST, &changed("subject", json!({"digest": "sha256:1"})));
    let mut small = descriptor(OCI_CONFIG, &image.config);
    small["size"] = json!(1);
    refused(OCI_MANIFEST, &changed("config", small));
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    refused(OCI_MANIFEST, &changed("layers", json!([descriptor(foreign, &image.layer)])));
    refused(
        OCI_MANIFEST,
        &changed("layers", json!([descriptor(OCI_LAYER, &image.layer), descriptor(OCI_LAYER, &image.layer)])),
    );
    // A child that is called what it is not.
    let mut child = image.descriptor("amd64");
    child["mediaType"] = json!(OCI_INDEX);
    refused(OCI_INDEX, &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}));
    for bytes in [b"".as_slice(), b"{", b"[]", b"null", b"\xff", b"{\"schemaVersion\":2}"] {
        server.put_manifest("/v2/app/manifests/bad", OCI_MANIFEST, bytes).error(400, "MANIFEST_INVALID");
    }
    let deep = "[".repeat(100_000);
    server
        .put_manifest("/v2/app/manifests/bad", OCI_MANIFEST, deep.as_bytes())
        .error(400, "MANIFEST_INVALID");
    server.request("PUT", "/v2/app/manifests/bad").body(b"{}").send().error(400, "MANIFEST_INVALID");
    assert_eq!(server.content(), before);
    // The media type of the document serves where there is no header, and parameters are passed over.
    server.request("PUT", "/v2/app/manifests/v2").body(&image.manifest).send().status(201);
    let with_charset = format!("{OCI_MANIFEST}; charset=utf-8");
    server.put_manifest("/v2/app/manifests/v3", &with_charset, &image.manifest).status(201);
    server.get("/v2/app/manifests/v3").has("content-type", OCI_MANIFEST);
}

#[test]
fn manifests_have_a_limit() {
    let server = Server::start(&[]);
    server.get("/v2/_catalog").status(200);
    let image = Image::of_host("padded");
    server.push_blob("app", &image.config);
    server.push_blob("app", &image.layer);
    let padded = |length: usize| {
        let mut document = manifest(&image.config, &[&image.layer]);
        document["annotations"] = json!({"padding": ""});
        let padding = length - document.to_string().len();
        document["annotations"]["padding"] = json!("x".repeat(padding));
        document.to_string().into_bytes()
    };
    let put = |target: &str, bytes: &[u8]| server.put_manifest(target, OCI_MANIFEST, bytes);
    put("/v2/app/manifests/v1", &padded(4 << 20)).status(201);
    put("/v2/app/manifests/v2", &padded((4 << 20) + 1)).error(413, "SIZE_INVALID");
    let endless = server.request("PUT", "/v2/app/manifests/v2").header("Content-Type", OCI_MANIFEST);
    endless.chunked(&vec![b' '; 6 << 20]).send().error(413, "SIZE_INVALID");
    assert_eq!(server.get("/v2/app/tags/list").json()["tags"], json!(["v1"]));
}

#[test]
fn indexes_nest_only_so_deep() {
    let server = Server::start(&[]);
    let mut bytes = index(&[]);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let put =
            server.put_manifest(&format!("/v2/app/manifests/{}", Digest::of(&bytes)), OCI_INDEX, &bytes);
        statuses.push(put.status);
        // The same one many times is many ways to it, and one walk.
        let inner = json!({"mediaType": OCI_INDEX, "digest": Digest::of(&bytes), "size": bytes.len()});
        bytes = index(&vec![inner; 1000]);
    }
    assert_eq!(statuses, [201, 201, 201, 201, 201, 400, 400, 400]);
}

#[test]
fn endless_uploads_end() {
    let server = Server::start(&["--max-blob-size", "1m"]);
    server.get("/v2/_catalog").status(200);
    let before = server.content();
    let big = vec![0; 3 << 20];
    let target = format!("/v2/app/blobs/uploads/?digest={}", Digest::of(&big));
    server.request("POST", &target).body(&big).send().error(413, "SIZE_INVALID");
    server.request("POST", &target).chunked(&big).send().error(413, "SIZE_INVALID");
    let location = server.begin_upload("app");
    server.request("PATCH", &location).chunked(&big).send().error(413, "SIZE_INVALID");
    server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    // More than it said.
    let location = server.begin_upload("app");
    let lying = server.request("PATCH", &location).header("Content-Range", "0-99").chunked(&[0; 5000]).send();
    lying.error(413, "SIZE_INVALID");
    server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    let short = server.begin_upload("app");
    let lying = server.request("PATCH", &short).header("Content-Range", "0-9999").chunked(&[0; 5000]).send();
    lying.error(400, "SIZE_INVALID");
    server.get(&short).error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(server.content(), before);
}

#[test]
fn uploads_that_are_begun_and_left_have_a_limit() {
    let server = Server::start(&[]);
    let begun: Vec<String> = (0..256).map(|_| server.begin_upload("app")).collect();
    let refused = server.request("POST", "/v2/app/blobs/uploads/").body(b"").send();
    assert!(refused.error(429, "TOOMANYREQUESTS").header("retry-after").is_some());
    server.delete(&begun[0]).status(204);
    server.begin_upload("app");
}

#[test]
fn clients_that_stall_do_not_hold_up_others() {
    let server = Server::start(&[]);
    let image = Image::of_host("quick");
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let location = server.begin_upload("app");
        let mut stream = server.request("PATCH", &location).header("Content-Length", "1000").begin();
        stream.write_all(b"no more").unwrap();
        stalled.push(stream);
        // And a head that does not end.
        let mut head = std::net::TcpStream::connect(&server.address).unwrap();
        head.write_all(b"GET /v2/ HTTP/1.1\r\n").unwrap();
        stalled.push(head);
    }
    server.push("app", "v1", &image).status(201);
    assert_eq!(server.get("/v2/app/manifests/v1").status(200).body, image.manifest);
    drop(stalled);
}

#[test]
fn nonsense_is_answered_or_hung_up_on() {
    let server = Server::start(&[]);
    for bytes in [
        b"\r\n\r\n".as_slice(),
        b"GET\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"PUT /v2/a/manifests/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        &[0xff; 4096],
    ] {
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        let shown = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || shown.starts_with("HTTP/1.1 4"), "{shown}");
    }
    server.get("/v2/").status(200);
    let mut late = server.request("PUT", "/v2/app/manifests/v1").header("Content-Length", "10").begin();
    late.write_all(b"{}").unwrap();
    late.shutdown(std::net::Shutdown::Write).unwrap();
    Response::read(&mut late, false).status(400);
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let world = testkit::World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::mount(&world);
    let mut server = Server::of(world, &[]);
    let image = Image::of_host("fits");
    server.push("app", "v1", &image).status(201);
    let before = server.content();
    let big = vec![1; 40 << 20];
    for _ in 0..2 {
        let target = format!("/v2/app/blobs/uploads/?digest={}", Digest::of(&big));
        server.request("POST", &target).body(&big).send().error(507, "UNKNOWN");
        let location = server.begin_upload("app");
        server.request("PATCH", &location).body(&big).send().error(507, "UNKNOWN");
        server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // A layer that arrives, and does not fit once more unpacked.
    let layer = crate::server::tar("large", &vec![1; 16 << 20]);
    let config = json!({
        "architecture": crate::server::host_architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let config = config.to_string().into_bytes();
    server.push_blob("app", &config);
    server.push_blob("app", &layer);
    let bytes = manifest(&config, &[&layer]).to_string().into_bytes();
    server.put_manifest("/v2/app/manifests/v2", OCI_MANIFEST, &bytes).error(507, "UNKNOWN");
    assert!(server.log().contains("No space left on device"), "{}", server.log());
    for blob in [&layer, &config] {
        server.delete(&format!("/v2/app/blobs/{}", Digest::of(blob))).status(202);
    }
    assert_eq!(server.content(), before);
    server.get("/v2/app/manifests/v1").status(200);
    server.delete("/v2/app/manifests/v1").status(202);
    assert_eq!(server.end(15), Some(0));
    drop(disk);
}

#[test]
fn a_push_to_a_full_disk_is_one_clear_error() {
    let world = testkit::World::new(env!("CARGO_BIN_EXE_hull"));
    let disk = SmallDisk::mount(&world);
    let mut server = Server::of(world, &[]);
    let neighbour = testkit::World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    neighbour.file("Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=4\n");
    let name = format!("{}/app:v1", server.address);
    neighbour.hull(["build", "-q", "-t", &name, "."]).success();
    let filler = server.world.data_root().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let push = || neighbour.hull(["push", "--compression", "none", &name]);
    for free in [0, 2 << 20] {
        file.set_len(file.metadata().unwrap().len() - free).unwrap();
        let failed = push().status(1).says("507");
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "{failed}");
    }
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    assert_eq!(server.images().text(), "");
    push().success();
    server.world.hull(["run", "--rm", "app:v1", "test", "-s", "/big"]).success();
    server.world.hull(["image", "check"]).success();
    assert_eq!(server.end(15), Some(0));
    drop(disk);
}

/// A small tmpfs as the data root of a world.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(world: &testkit::World) -> Self {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=30m", "tmpfs"]).arg(world.data_root());
        assert!(mount.status().expect("mount is part of Debian").success());
        Self(world.data_root())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

//! Blobs on their way in.

use std::io::Write as _;

use oci::Digest;
use testkit::eventually;

use crate::http::Response;
use crate::server::{Image, OCI_MANIFEST, Server};

fn with_digest(location: &str, bytes: &[u8]) -> String {
    format!("{location}?digest={}", Digest::of(bytes))
}

#[test]
fn blobs_are_pushed_in_one_request_or_two() {
    let server = Server::start(&[]);
    let blob = vec![7; 1_000_000];
    let place = format!("/v2/a/b/blobs/{}", Digest::of(&blob));
    let whole = server.request("POST", &with_digest("/v2/a/b/blobs/uploads/", &blob)).body(&blob).send();
    whole.status(201).has("location", &place).has("docker-content-digest", &Digest::of(&blob).to_string());
    assert!(server.get(&place).status(200).body == blob);

    for name in ["a/c", "a/d"] {
        let location = server.begin_upload(name);
        assert!(location.starts_with(&format!("/v2/{name}/blobs/uploads/")), "{location}");
        let put = server.request("PUT", &with_digest(&location, &blob));
        let put = if name == "a/c" { put.body(&blob) } else { put.chunked(&blob) };
        put.header("Content-Type", "application/octet-stream").send().status(201);
        assert!(server.get(&format!("/v2/{name}/blobs/{}", Digest::of(&blob))).status(200).body == blob);
        server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // The empty blob is one, too.
    server.push_blob("a/e", b"");
    assert_eq!(server.get(&format!("/v2/a/e/blobs/{}", Digest::of(b""))).status(200).body, b"");
}

#[test]
fn chunks_have_to_follow_each_other() {
    let server = Server::start(&[]);
    let blob: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let location = server.begin_upload("app");
    let patch = |range: &str, bytes: &[u8]| {
        server.request("PATCH", &location).header("Content-Range", range).body(bytes).send()
    };
    server.get(&location).status(204).has("range", "0-0").has("location", &location);
    patch("0-299", &blob[..300]).status(202).has("range", "0-299").has("location", &location);
    patch("400-499", &blob[400..500]).error(416, "BLOB_UPLOAD_INVALID").has("range", "0-299");
    patch("0-299", &blob[..300]).error(416, "BLOB_UPLOAD_INVALID");
    for malformed in ["300-", "300", "bytes 300-399/1000", "399-300", "a-b"] {
        patch(malformed, &blob[300..400]).error(400, "BLOB_UPLOAD_INVALID");
    }
    patch("300-399", &blob[300..350]).error(400, "SIZE_INVALID");
    server.get(&location).status(204).has("range", "0-299");
    // Without a range a body goes to the end.
    server.request("PATCH", &location).chunked(&blob[300..700]).send().status(202).has("range", "0-699");
    let late = server.request("PUT", &with_digest(&location, &blob)).header("Content-Range", "800-999");
    late.body(&blob[800..]).send().error(416, "BLOB_UPLOAD_INVALID");
    let last = server.request("PUT", &with_digest(&location, &blob)).header("Content-Range", "700-999");
    last.body(&blob[700..]).send().status(201);
    assert_eq!(server.get(&format!("/v2/app/blobs/{}", Digest::of(&blob))).status(200).body, blob);

    let location = server.begin_upload("app");
    server.request("PATCH", &location).body(b"all of it").send().status(202);
    server.request("PUT", &with_digest(&location, b"all of it")).body(b"").send().status(201);
}

#[test]
fn what_is_not_what_it_should_be_leaves_nothing() {
    let server = Server::start(&[]);
    server.get("/v2/_catalog").status(200);
    let before = server.content();
    let wrong = Digest::of(b"other");
    let target = format!("/v2/app/blobs/uploads/?digest={wrong}");
    server.request("POST", &target).body(b"this").send().error(400, "DIGEST_INVALID");
    let location = server.begin_upload("app");
    server
        .request("PUT", &format!("{location}?digest={wrong}"))
        .body(b"this")
        .send()
        .error(400, "DIGEST_INVALID");
    server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    server.get(&format!("/v2/app/blobs/{wrong}")).error(404, "BLOB_UNKNOWN");
    server.get(&format!("/v2/app/blobs/{}", Digest::of(b"this"))).error(404, "BLOB_UNKNOWN");

    for malformed in ["sha256:1", "sha512:1234", "nonsense"] {
        for target in ["digest", "mount"].map(|key| format!("/v2/app/blobs/uploads/?{key}={malformed}")) {
            server.request("POST", &target).body(b"").send().error(400, "DIGEST_INVALID");
        }
    }
    let sha512 = server.request("POST", "/v2/app/blobs/uploads/?digest-algorithm=sha512").body(b"").send();
    sha512.error(400, "DIGEST_INVALID");
    let location = server.begin_upload("app");
    server.request("PUT", &location).body(b"").send().error(400, "DIGEST_INVALID");
    // Of another repository, or of none.
    let other = location.replacen("/app/", "/other/", 1);
    server.request("PATCH", &other).body(b"x").send().error(404, "BLOB_UPLOAD_UNKNOWN");
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        let target = "/v2/app/blobs/uploads/0c5b6f8e-9d7b-4f0e-8d7e-2a1b3c4d5e6f?digest=sha256:1";
        server.request(method, target).body(b"").send().error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    server.delete(&location).status(204);
    server.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(server.content(), before);
}

#[test]
fn an_upload_goes_on_where_a_connection_broke() {
    let server = Server::start(&[]);
    let blob: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let location = server.begin_upload("app");
    let mut stream = server.request("PATCH", &location).header("Content-Length", "3000000").begin();
    stream.write_all(&blob[..1_234_567]).unwrap();
    drop(stream);
    // Bytes that were still on their way may be lost, and the client asks.
    let held = eventually("the server keeps what came", 20, || {
        let range = server.get(&location).status(204).header("range").unwrap().to_owned();
        let held: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
        (held > 0).then_some(held + 1)
    });
    assert!(held <= 1_234_567, "{held}");
    let rest = server.request("PATCH", &location).header("Content-Range", &format!("{held}-2999999"));
    rest.body(&blob[held..]).send().status(202).has("range", "0-2999999");
    server.request("PUT", &with_digest(&location, &blob)).body(b"").send().status(201);
}

#[test]
fn one_upload_is_written_by_one_request() {
    let server = Server::start(&[]);
    let location = server.begin_upload("app");
    let mut slow = server.request("PATCH", &location).header("Content-Length", "10").begin();
    slow.write_all(b"01234").unwrap();
    // So that it is the first; then the second waits for its end.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let second = server.request("PATCH", &location).header("Content-Range", "10-11").body(b"ab").begin();
    std::thread::sleep(std::time::Duration::from_millis(300));
    slow.write_all(b"56789").unwrap();
    Response::read(&mut slow, false).status(202).has("range", "0-9");
    let mut second = second;
    Response::read(&mut second, false).status(202).has("range", "0-11");
}

#[test]
fn blobs_are_mounted_from_other_repositories() {
    let server = Server::start(&[]);
    let image = Image::of_host("mounted");
    server.push("one", "v1", &image).status(201);
    let mount = |digest: &Digest, from: &str| {
        let target = format!("/v2/two/blobs/uploads/?mount={digest}{from}");
        server.request("POST", &target).body(b"").send()
    };
    for blob in [&image.config, &image.layer] {
        let digest = Digest::of(blob);
        let place = format!("/v2/two/blobs/{digest}");
        server.head(&place).status(404);
        mount(&digest, "&from=one").status(201).has("location", &place);
        server.head(&place).status(200);
    }
    server.put_manifest("/v2/two/manifests/v2", OCI_MANIFEST, &image.manifest).status(201);
    let images = server.images();
    assert_eq!(images.text().matches(&image.id().to_string()).count(), 2, "{images}");
    // What is not there, or not asked for from anywhere, becomes an upload.
    for (digest, from) in [(Digest::of(b"x"), "&from=one"), (image.id(), "&from=three"), (image.id(), "")] {
        let begun = mount(&digest, from).status(202);
        assert!(begun.header("location").unwrap().starts_with("/v2/two/blobs/uploads/"));
    }
    mount(&image.id(), "&from=../one").error(400, "NAME_INVALID");
}

//! How a server ends: asked to, or killed in the middle of something.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use oci::Digest;
use testkit::eventually;

use crate::http::Response;
use crate::server::{Image, OCI_MANIFEST, Server};

#[test]
fn a_kill_in_the_middle_of_an_upload_leaves_nothing() {
    let mut server = Server::start(&[]);
    let image = Image::of_host("half");
    server.push_blob("app", &image.config);
    let blob = vec![1; 4 << 20];
    let location = server.begin_upload("app");
    let mut stream = server.request("PATCH", &location).header("Content-Length", "9000000").begin();
    stream.write_all(&blob).unwrap();
    // It is being written to a file without a name.
    let links = format!("/proc/{}/fd", server.pid());
    eventually("the upload has a file", 10, || {
        let files = std::fs::read_dir(&links).ok()?.flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).find(|target| {
            target.to_string_lossy().contains("blobs/sha256")
                && target.to_string_lossy().ends_with("(deleted)")
        })
    });
    assert_eq!(server.end(9), None);
    server.world.hull(["images"]).success();
    let [blobs, snapshots, temporary] = server.content();
    assert_eq!((blobs, snapshots, temporary), (1, 0, 0), "one whole blob waits for its manifest");
    // Whose it was is forgotten; the client begins again.
    server.start_again(&[]);
    server.head(&format!("/v2/app/blobs/{}", image.id())).status(404);
    server.push("app", "v1", &image).status(201);
    server.world.hull(["rmi", "app:v1"]).success();
    assert_eq!(server.content(), [0, 0, 0]);
}

#[test]
fn a_kill_in_the_middle_of_unpacking_leaves_no_image() {
    for after_ms in [0, 5, 20, 60, 150] {
        let mut server = Server::start(&[]);
        let layer = crate::server::tar("large", &vec![3; 64 << 20]);
        let config = serde_json::json!({
            "architecture": crate::server::host_architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        });
        let config = config.to_string().into_bytes();
        server.push_blob("app", &config);
        server.push_blob("app", &layer);
        let manifest = crate::server::manifest(&config, &[&layer]).to_string().into_bytes();
        let put = server.request("PUT", "/v2/app/manifests/v1").header("Content-Type", OCI_MANIFEST);
        let stream = put.body(&manifest).begin();
        std::thread::sleep(Duration::from_millis(after_ms));
        server.end(9);
        drop(stream);
        let images = server.images();
        let [blobs, snapshots, temporary] = server.content();
        assert_eq!(temporary, 0);
        // All of it or nothing of it; the blobs wait for another try, and so may a layer that was whole already.
        match images.text() {
            "" => assert!(blobs == 2 && snapshots <= 1, "{after_ms}: {blobs} {snapshots}"),
            _ => assert_eq!((blobs, snapshots), (3, 1), "{after_ms}"),
        }
        server.start_again(&[]);
        let image = Image { config, layer, manifest };
        server.push("app", "v1", &image).status(201);
    }
}

#[test]
fn a_kill_in_the_middle_of_a_deletion_is_made_good_by_another() {
    let mut server = Server::start(&[]);
    for after_us in (0..20).map(|round| round * 500) {
        let image = Image::of_host("deleted");
        server.push("app", "v1", &image).status(201);
        let target = format!("/v2/app/manifests/{}", image.digest());
        let stream = server.request("DELETE", &target).begin();
        std::thread::sleep(Duration::from_micros(after_us));
        server.end(9);
        drop(stream);
        server.world.hull(["image", "check"]).success();
        server.start_again(&[]);
        let status = server.delete(&target).status;
        assert!(matches!(status, 202 | 404), "{after_us}: {status}");
        server.world.hull(["images"]).success();
        assert_eq!(server.content(), [0, 0, 0], "{after_us}");
    }
}

#[test]
fn a_server_that_is_asked_to_end_finishes_its_answers() {
    for signal in [15, 2] {
        let mut server = Server::start(&[]);
        // Nobody waits for a connection without a request.
        let mut idle = std::net::TcpStream::connect(&server.address).unwrap();
        server.get("/v2/").status(200);
        let location = server.begin_upload("app");
        let mut stream = server.request("PATCH", &location).header("Content-Length", "10").begin();
        stream.write_all(b"01234").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        sys::process::kill(server.pid(), signal).unwrap();
        eventually("it listens no more", 10, || {
            std::net::TcpStream::connect(&server.address).is_err().then_some(())
        });
        stream.write_all(b"56789").unwrap();
        Response::read(&mut stream, false).status(202).has("range", "0-9");
        let began = Instant::now();
        idle.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(server.end(0), Some(0));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(server.content(), [0, 0, 0]);
    }
}

#[test]
fn who_asks_twice_does_not_want_to_wait() {
    let mut server = Server::start(&[]);
    let location = server.begin_upload("app");
    let stream = server.request("PATCH", &location).header("Content-Length", "10").begin();
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    sys::process::kill(server.pid(), 2).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.end(2), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(stream);
}

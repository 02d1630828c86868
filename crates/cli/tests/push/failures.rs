//! Pushes that do not work: one clear error, and nothing left.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::Registry;

use crate::world;

#[test]
fn names_that_name_nothing() {
    let (world, registry) = world();
    let missing = world.hull(["push", &registry.reference("nothing")]).status(1);
    let said =
        format!("error: An image does not exist locally with the tag: {}", registry.reference("nothing"));
    assert!(missing.stderr.starts_with(&said), "{missing}");
    world.hull(["tag", "app", &registry.reference("app:1")]).success();
    let missing = world.hull(["push", &registry.reference("app:2")]).status(1);
    let said = format!("error: tag does not exist: {}", registry.reference("app:2"));
    assert!(missing.stderr.starts_with(&said), "{missing}");
    let by_digest = format!("{}@sha256:{}", registry.reference("app"), "0".repeat(64));
    let digest = world.hull(["push", &by_digest]).status(1);
    assert!(digest.stderr.starts_with("error: cannot push a digest reference"), "{digest}");
    // Nothing is signed here, and nobody shall believe so.
    let signed = world.hull(["push", "--disable-content-trust=false", &registry.reference("app:1")]);
    assert!(signed.status != Some(0) && signed.stderr.contains("--disable-content-trust=false"), "{signed}");
    assert!(registry.requests().is_empty());
}

/// A registry behind a proxy that breaks every connection once it has passed on `limit` bytes.
fn breaking_proxy(registry: &str, limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&registry).unwrap();
            let broken = Arc::new(AtomicBool::new(false));
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut from_server, mut to_client) = (server, client);
            std::thread::spawn(move || {
                let mut passed = 0;
                let mut buffer = [0; 16 << 10];
                while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                    passed += length;
                    if passed > limit || to_server.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                broken.store(true, Ordering::Relaxed);
                let _ = from_client.shutdown(std::net::Shutdown::Both);
                let _ = to_server.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
        }
    });
    address
}

#[test]
fn a_registry_that_dies_in_the_middle() {
    let (world, registry) = world();
    world.file("big/Dockerfile", "FROM busybox\nRUN head -c 3000000 /dev/urandom > /big\n");
    let proxy = breaking_proxy(registry.address(), 1 << 20);
    let name = format!("{proxy}/app:latest");
    world.hull(["build", "-q", "-t", &name, "big"]).success();
    let failed = world.hull(["push", &name]).status(1);
    let said = format!("error: registry {proxy} stopped answering ");
    assert!(failed.stderr.starts_with(&said), "{failed}");
    assert_eq!(failed.stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{failed}");
    // Nothing is claimed of it, and the next push works.
    assert_eq!(world.inspect(&name, "{{len .RepoDigests}}"), "0");
    world.hull(["tag", &name, &registry.reference("app")]).success();
    world.hull(["push", &registry.reference("app")]).success();
}

#[test]
fn nobody_listens() {
    let (world, mut registry) = world();
    let name = registry.reference("app:latest");
    world.hull(["tag", "app", &name]).success();
    registry.kill();
    let failed = world.hull(["push", &name]).status(1);
    assert!(
        failed.stderr.starts_with(&format!("error: cannot reach registry {}", registry.address())),
        "{failed}"
    );
}

/// What a registry says comes through.
#[test]
fn a_registry_that_refuses() {
    let (world, _) = world();
    let registry = Registry::configured(&[("REGISTRY_STORAGE_MAINTENANCE_READONLY", r#"{"enabled": true}"#)]);
    let name = registry.reference("app:latest");
    world.hull(["tag", "app", &name]).success();
    let failed = world.hull(["push", &name]).status(1);
    let said = format!("error: registry {} answered 405 to ", registry.address());
    assert!(failed.stderr.starts_with(&said), "{failed}");
    assert!(failed.stderr.contains("/v2/app/blobs/uploads/: method not allowed"), "{failed}");
    assert_eq!(failed.stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{failed}");
}

/// A layer whose blob was lost: nothing is uploaded in its place.
#[test]
fn a_blob_that_is_not_here() {
    let (world, registry) = world();
    let name = registry.reference("app:latest");
    world.hull(["tag", "app", &name]).success();
    let layer = world.inspect("app", "{{index .RootFS.Layers 1}}");
    let path = world.data_root().join("blobs/sha256").join(layer.trim_start_matches("sha256:"));
    std::fs::rename(&path, world.scratch().join("blob")).unwrap();
    let failed = world.hull(["push", &name]).status(1);
    assert!(failed.stderr.contains(&layer), "{failed}");
    assert!(registry.requests().iter().all(|request| !request.starts_with("PUT /v2/app/manifests")));
    std::fs::rename(world.scratch().join("blob"), &path).unwrap();
    world.hull(["push", &name]).success();
}

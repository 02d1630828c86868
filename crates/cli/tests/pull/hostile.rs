//! Registries that lie: one clear error each, and nothing of it stays.

use std::path::Path;
use std::process::{Command, Stdio};

use oci::{Digest, media};
use serde_json::{Value, json};
use store::{Roots, Store, db};
use testkit::World;

use crate::HULL;
use crate::liar::{Liar, Offered, blob};

/// A layer with one file of `size` bytes that do not compress, and its diffID.
pub fn layer(world: &World, name: &str, size: usize) -> (Vec<u8>, Digest) {
    let mut state = size as u64 + 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u8
    })
    .take(size)
    .collect();
    let path = world.scratch().join(name);
    std::fs::write(&path, noise).unwrap();
    let tar = Command::new("tar").arg("-C").arg(world.scratch()).args(["-c", name]).output().unwrap().stdout;
    let mut gzip =
        Command::new("gzip").arg("-n").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let diff_id = Digest::of(&tar);
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &tar).unwrap());
    let compressed = gzip.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    (compressed, diff_id)
}

/// Everything of a store that a pull could leave: files, and rows.
fn content(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for directory in ["blobs/sha256", "snapshots", "tmp", "partial"] {
        let entries = std::fs::read_dir(world.data_root().join(directory));
        let entries = entries.into_iter().flatten().flatten();
        names.extend(entries.map(|entry| format!("{directory}/{}", Path::new(&entry.file_name()).display())));
    }
    let store = Store::open(&Roots::new(world.data_root(), world.run_root())).unwrap();
    let rows = store.database().read(|r| {
        let layers = db::layers::list(r)?.into_iter().map(|layer| format!("layer {}", layer.diff_id));
        let images = db::images::list(r)?.into_iter().map(|image| format!("image {}", image.id));
        let manifests = db::manifests::list(r)?.into_iter().map(|row| format!("manifest {}", row.digest));
        let held = db::manifests::held_blobs(r, 0)?.into_iter().map(|blob| format!("hold {blob}"));
        Ok::<_, store::DatabaseError>(layers.chain(images).chain(manifests).chain(held).collect::<Vec<_>>())
    });
    names.extend(rows.unwrap());
    names.sort();
    names
}

/// Offers an image with a large and a small layer, lets `lie` change it, and expects `error`.
#[track_caller]
fn refused(error: &str, lie: impl FnOnce(&Liar, &mut Offered)) {
    let (world, liar) = (World::with_busybox(HULL), Liar::start());
    let mut image = Offered::new(&[layer(&world, "large", 300_000), layer(&world, "small", 1000)]);
    liar.offer(&image);
    lie(&liar, &mut image);
    let before = content(&world);
    let output = world.hull(["pull", &liar.reference("app:1")]).status(1).says(error);
    assert_eq!(output.stderr.matches("error: ").count(), 1, "{output}");
    assert_eq!(content(&world), before);
}

/// As [`refused`], with another manifest.
#[track_caller]
fn manifest_refused(error: &str, change: impl FnOnce(&mut Value)) {
    refused(error, |liar, image| {
        change(&mut image.manifest);
        liar.answer("manifests/1", media::OCI_MANIFEST, image.manifest.to_string().as_bytes());
    });
}

#[test]
fn an_honest_one_is_believed() {
    let (world, liar) = (World::new(HULL), Liar::start());
    liar.offer(&Offered::new(&[layer(&world, "large", 300_000), layer(&world, "small", 1000)]));
    world.hull(["pull", &liar.reference("app:1")]).success();
}

#[test]
fn other_bytes_than_announced() {
    refused(" as layer sha256:", |liar, image| {
        let path = blob(&image.layers[0]);
        liar.change(&path, |answer| answer.body[150_000] ^= 1);
    });
    refused(" as layer sha256:", |liar, image| {
        let path = blob(&image.layers[1]);
        liar.change(&path, |answer| answer.body.fill(b'x'));
    });
    refused(" as config sha256:", |liar, image| {
        liar.change(&blob(&image.config), |answer| answer.body[20] ^= 1);
    });
}

#[test]
fn other_layers_than_the_config_lists() {
    refused("layer is not what was announced: expected diffID sha256:", |liar, image| {
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().swap(0, 1);
        image.config = config.to_string().into_bytes();
        image.describe();
        liar.offer(image);
    });
    refused(" lists 2 layers, but manifest ", |liar, image| {
        image.layers.pop();
        image.describe();
        liar.offer(image);
    });
}

#[test]
fn manifests_that_are_none() {
    manifest_refused("ambiguous manifest: it has both \"manifests\" and \"layers\"", |m| {
        m["manifests"] = json!([])
    });
    manifest_refused("manifest says it is ", |m| m["mediaType"] = media::DOCKER_MANIFEST.into());
    manifest_refused("is in Docker's image format of before 2016", |m| m["schemaVersion"] = 1.into());
    manifest_refused("its config is of type \"application/vnd.cncf.helm.config.v1+json\"", |m| {
        m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    });
    manifest_refused(&format!("layer of media type {:?}", media::DOCKER_LAYER_FOREIGN), |m| {
        m["layers"][1]["mediaType"] = media::DOCKER_LAYER_FOREIGN.into();
    });
    manifest_refused("has 1099511627776 bytes, more than the 8388608 one may have", |m| {
        m["config"]["size"] = (1u64 << 40).into();
    });
    manifest_refused(" bytes of a blob that has 3", |m| m["config"]["size"] = 3.into());
    manifest_refused("malformed manifest", |m| m["layers"] = json!("none"));
    manifest_refused("malformed manifest", |m| {
        m["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into()
    });
    refused("more than 8388608 bytes", |liar, _| {
        liar.change("manifests/1", |answer| answer.body = vec![b' '; 9 << 20]);
    });
}

#[test]
fn an_archive_that_is_none_and_a_layer_that_is_too_short() {
    refused("cannot take layer sha256:", |liar, image| {
        image.layers[0] = b"this is no archive, but exactly what was announced".to_vec();
        image.describe();
        liar.offer(image);
    });
    manifest_refused(" bytes of a blob that has ", |m| {
        m["layers"][1]["size"] = (m["layers"][1]["size"].as_u64().unwrap() + 10).into();
    });
}

//! Images of others with an index of their files: eStargz, as nerdctl, BuildKit and `ctr-remote` write it.
//!
//! Spec: stargz-snapshotter, `docs/estargz.md`.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use image::archive::{Entry, Kind, Writer};
use oci::Digest;
use oci::image::Platform;
use serde_json::{Value, json};
use testkit::{Registry, World, busybox_rootfs, eventually};

use crate::{Link, RESERVE, fuse_mounts};

/// A layer on its way into gzip streams.
struct Layer<'a> {
    world: &'a World,
    /// What is not compressed yet.
    tar: Writer<Vec<u8>>,
    plain: Vec<u8>,
    blob: Vec<u8>,
    entries: Vec<Value>,
}

impl Layer<'_> {
    /// Ends the stream that was begun; returns where the next one begins.
    fn cut(&mut self) -> u64 {
        let piece = std::mem::take(self.tar.output());
        let file = self.world.scratch().join("piece");
        fs::write(&file, &piece).unwrap();
        let gzip = Command::new("gzip").arg("-nc").arg(&file).output().unwrap();
        assert!(gzip.status.success() && !gzip.stdout.is_empty());
        self.plain.extend(piece);
        self.blob.extend(gzip.stdout);
        self.blob.len() as u64
    }

    fn directory(&mut self, path: &str) {
        self.tar.header(&Entry::directory(path)).unwrap();
        self.entries.push(json!({"type": "dir", "name": path, "mode": 0o755}));
    }

    fn symlink(&mut self, path: &str, target: &str) {
        let entry = Entry { kind: Kind::Symlink, link: target.as_bytes().to_vec(), ..Entry::file(path, 0) };
        self.tar.header(&entry).unwrap();
        self.entries.push(json!({"type": "symlink", "name": path, "linkName": target, "mode": 0o777}));
    }

    /// A file of pieces of at most 4 MiB, each at the beginning of a stream; or in the stream that the file before it began.
    fn file(&mut self, path: &str, mode: u32, data: &[u8], shared: Option<u64>) -> u64 {
        let header = Entry { mode, ..Entry::file(path, data.len() as u64) };
        self.tar.header(&header).unwrap();
        let mut offset = shared.unwrap_or_default();
        for (number, piece) in data.chunks(4 << 20).enumerate() {
            let mut entry = json!({
                "type": if number == 0 { "reg" } else { "chunk" }, "name": path, "chunkOffset": number << 22,
                "chunkSize": piece.len(), "chunkDigest": Digest::of(piece),
            });
            match shared {
                Some(_) => entry["innerOffset"] = self.tar.output().len().into(),
                None => offset = self.cut(),
            }
            entry["offset"] = offset.into();
            if number == 0 {
                entry["size"] = data.len().into();
                entry["mode"] = mode.into();
                entry["digest"] = json!(Digest::of(data));
            }
            self.entries.push(entry);
            self.tar.output().extend_from_slice(piece);
        }
        self.tar.pad(data.len() as u64).unwrap();
        offset
    }

    /// Ends the layer with its index and the footer; the last is the digest of the index.
    fn finish(mut self) -> (Vec<u8>, Digest, Digest) {
        let at = self.cut();
        let index = json!({"version": 1, "entries": self.entries}).to_string();
        self.tar.append_bytes("stargz.index.json", index.as_bytes()).unwrap();
        self.tar.output().extend_from_slice(&[0; 1024]);
        self.cut();
        self.blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
        self.blob.extend(format!("{at:016x}STARGZ").bytes());
        self.blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        (self.blob, Digest::of(&self.plain), Digest::of(index.as_bytes()))
    }
}

/// Pushes an image of one such layer from a layout.
fn pushed(world: &World, registry: &Registry, reserve: &[u8]) -> String {
    let rootfs = world.scratch().join("rootfs");
    busybox_rootfs(&rootfs);
    let busybox = fs::read(rootfs.join("bin/busybox")).unwrap();
    let tar = Writer::new(Vec::new());
    let mut layer = Layer { world, tar, plain: Vec::new(), blob: Vec::new(), entries: Vec::new() };
    layer.directory("bin");
    layer.file("bin/busybox", 0o755, &busybox, None);
    for name in ["sh", "cat", "sleep", "sha256sum"] {
        layer.symlink(&format!("bin/{name}"), "busybox");
    }
    let shared = layer.file("greeting", 0o644, b"hello\n", None);
    layer.file("second", 0o644, b"from the same stream\n", Some(shared));
    layer.file("reserve", 0o644, reserve, None);
    let (blob, diff_id, index) = layer.finish();

    let layout = world.scratch().join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let host = Platform::host();
    let config = json!({
        "architecture": host.architecture, "os": host.os, "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let mut layer = put("application/vnd.oci.image.layer.v1.tar+gzip", &blob);
    layer["annotations"] = json!({"containerd.io/snapshot/stargz/toc.digest": index});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}).to_string();
    let list = json!({"schemaVersion": 2, "manifests": [put(media_type, manifest.as_bytes())]});
    fs::write(layout.join("index.json"), list.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let name = registry.reference("estargz");
    let [from, to] = [format!("oci:{}", layout.display()), format!("docker://{name}")];
    world.hull(["image", "copy", "-q", &from, &to]).success();
    name
}

#[test]
fn an_image_of_others_begins_before_it_is_here() {
    let registry = Registry::start();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let mut reserve = vec![0; RESERVE];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut reserve)).unwrap();
    let name = pushed(&world, &registry, &reserve);
    let link = Link::new(&registry, 1 << 20);
    let name = link.reference(&name);
    let script = "cat /greeting /second; sleep 1000";
    world.hull(["run", "-d", "--name", "app", "--pull", "lazy", &name, "sh", "-c", script]).success();
    eventually("the first output", 30, || {
        let said = world.hull(["logs", "app"]).success().stdout;
        (said == "hello\nfrom the same stream\n").then_some(())
    });
    let snapshots = || fs::read_dir(world.data_root().join("snapshots")).unwrap().count();
    assert_eq!((fuse_mounts(&world), snapshots()), (1, 0), "6 MiB cannot have come by now");
    link.hurry();
    let sum = |output: testkit::Output| output.success().text()[..64].to_owned();
    let expected = Digest::of(&reserve).hex();
    assert_eq!(sum(world.hull(["exec", "app", "sha256sum", "/reserve"])), expected);
    eventually("the whole image", 60, || (snapshots() == 1).then_some(()));
    assert_eq!(sum(world.hull(["run", "--rm", &name, "sha256sum", "/reserve"])), expected);
    world.hull(["rm", "-f", "app"]).success();
}

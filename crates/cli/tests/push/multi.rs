//! An image for two platforms.

use std::fs;
use std::path::{Path, PathBuf};

use oci::Digest;
use testkit::{Registry, World};

use crate::skopeo;

/// Puts the two-platform index `multi:1` into a registry; returns its digest.
pub fn multi(registry: &Registry, world: &World) -> String {
    let (layout, index) = layout(world);
    let to = format!("docker://{}", registry.reference("multi:1"));
    let from = format!("oci:{}:1", layout.display());
    skopeo(&["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to]).success();
    index
}

/// A layout with an index of two platforms, made by hand, which is called `1` there; and the index's digest.
pub fn layout(world: &World) -> (PathBuf, String) {
    let layout = world.scratch().join("multi");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        (digest, bytes.len())
    };
    let mut entries = Vec::new();
    for architecture in ["amd64", "s390x"] {
        let tar = tar(architecture, &world.scratch());
        let (layer, layer_size) = put(&tar);
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let (config, config_size) = put(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{layer_size}}}]}}"#
        );
        let (manifest, size) = put(manifest.as_bytes());
        entries.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":{size},"platform":{{"architecture":"{architecture}","os":"linux"}}}}"#
        ));
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    );
    let (index, size) = put(index.as_bytes());
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let root = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{index}","size":{size},"annotations":{{"org.opencontainers.image.ref.name":"1"}}}}]}}"#
    );
    fs::write(layout.join("index.json"), root).unwrap();
    (layout, index.to_string())
}

fn tar(name: &str, scratch: &Path) -> Vec<u8> {
    fs::write(scratch.join(name), name).unwrap();
    let tar =
        std::process::Command::new("tar").arg("-C").arg(scratch).args(["-cf", "-", name]).output().unwrap();
    tar.stdout
}

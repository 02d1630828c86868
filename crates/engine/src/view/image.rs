//! The bodies of an image's inspection, list entry and history.

use crate::model::{ImageInspect, ImageSummary};
use crate::time::parse_rfc3339;
use image::{HistoryEntry, PlatformImage};
use oci::image::Platform;
use serde_json::{Value, json};

/// Docker's `ImageInspect`.
pub fn image(inspect: &ImageInspect) -> Value {
    let (summary, config) = (&inspect.summary, &inspect.config);
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    let mut paths = inspect.layers.iter().map(|path| path.display().to_string());
    let mut data = json!({});
    if let Some(upper) = paths.next() {
        data["UpperDir"] = upper.into();
        let lower: Vec<String> = paths.collect();
        if !lower.is_empty() {
            data["LowerDir"] = lower.join(":").into();
        }
    }
    let mut out = json!({
        "Architecture": config.architecture,
        "Author": config.author,
        "Comment": config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        "Config": config.config,
        "Created": config.created,
        "Descriptor": inspect.manifest,
        "DockerVersion": config.extra.get("docker_version").and_then(Value::as_str).unwrap_or_default(),
        "GraphDriver": {"Name": "overlay2", "Data": data},
        "Id": summary.id,
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Os": config.os,
        "Parent": "",
        "RepoDigests": summary.digests,
        "RepoTags": summary.tags,
        "RootFS": {"Type": "layers", "Layers": layers},
        "Size": summary.size_bytes,
    });
    if !config.variant.is_empty() {
        out["Variant"] = config.variant.clone().into();
    }
    if let Some(version) = config.extra.get("os.version") {
        out["OsVersion"] = version.clone();
    }
    out
}

/// Docker's `ImageSummary`.
pub fn image_summary(summary: &ImageSummary) -> Value {
    json!({
        "Containers": summary.containers.len(),
        "Created": summary.created_ns.div_euclid(1_000_000_000),
        "Id": summary.id,
        "Labels": if summary.labels.is_empty() { Value::Null } else { json!(summary.labels) },
        "ParentId": "",
        "RepoDigests": summary.digests,
        "RepoTags": summary.tags,
        "SharedSize": -1,
        "Size": summary.size_bytes,
    })
}

/// Docker's `HistoryResponseItem`.
pub fn image_step(step: &HistoryEntry) -> Value {
    let created = step.created.as_deref().and_then(parse_rfc3339).unwrap_or(0);
    json!({
        "Comment": step.comment,
        "Created": created.div_euclid(1_000_000_000),
        "CreatedBy": step.created_by,
        "Id": step.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        "Size": step.size,
        "Tags": if step.tags.is_empty() { Value::Null } else { json!(step.tags) },
    })
}

/// Docker's list of `ImageManifestSummary`.
pub fn image_manifests(platforms: &[PlatformImage]) -> Value {
    let summary = |image: &PlatformImage| {
        let Platform { architecture, os, variant, .. } = &image.platform;
        let (content, unpacked) = (image.content_bytes, image.unpacked_bytes);
        json!({
            "ID": image.manifest.digest,
            "Descriptor": image.manifest,
            "Available": image.is_here,
            "Kind": "image",
            "Size": {"Content": content, "Total": content + unpacked},
            "ImageData": {
                "Platform": {"architecture": architecture, "os": os, "variant": variant},
                "Containers": image.containers,
                "Size": {"Unpacked": unpacked},
            },
        })
    };
    platforms.iter().map(summary).collect()
}

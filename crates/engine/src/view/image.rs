//! The bodies of an image's inspection and list entry.

use crate::model::{ImageInspect, ImageSummary};
use serde_json::{Value, json};

/// Docker's `ImageInspect`.
pub fn image(inspect: &ImageInspect) -> Value {
    let (summary, config) = (&inspect.summary, &inspect.config);
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    let mut paths = inspect.layers.iter().map(|path| path.display().to_string());
    let upper = paths.next().unwrap_or_default();
    let lower: Vec<String> = paths.collect();
    json!({
        "Architecture": config.architecture,
        "Author": config.author,
        "Comment": config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        "Config": config.config,
        "Created": config.created,
        "Descriptor": {"mediaType": oci::media::OCI_MANIFEST, "digest": inspect.manifest},
        "DockerVersion": "",
        "GraphDriver": {"Name": "overlay2", "Data": {"LowerDir": lower.join(":"), "UpperDir": upper}},
        "Id": summary.id,
        "Metadata": {"LastTagTime": null},
        "Os": config.os,
        "Parent": "",
        "RepoDigests": summary.digests,
        "RepoTags": summary.tags,
        "RootFS": {"Type": "layers", "Layers": layers},
        "Size": summary.size_bytes,
        "Variant": config.variant,
    })
}

/// Docker's `ImageSummary`.
pub fn image_summary(summary: &ImageSummary) -> Value {
    json!({
        "Containers": summary.containers,
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

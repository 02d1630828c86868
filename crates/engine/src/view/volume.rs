//! The body of a volume's inspection.

use crate::model::VolumeInfo;
use crate::time::rfc3339;
use serde_json::{Value, json};

/// Docker's `Volume`.
pub fn volume(info: &VolumeInfo) -> Value {
    let mut out = json!({
        "CreatedAt": rfc3339(info.created_ns),
        "Driver": info.driver,
        "Labels": if info.labels.is_empty() { Value::Null } else { json!(info.labels) },
        "Mountpoint": info.mountpoint,
        "Name": info.name,
        "Options": if info.options.is_empty() { Value::Null } else { json!(info.options) },
        "Scope": "local",
    });
    if let (Some(size), Value::Object(map)) = (info.size_bytes, &mut out) {
        map.insert("UsageData".into(), json!({"Size": size, "RefCount": info.used_by.len()}));
    }
    out
}

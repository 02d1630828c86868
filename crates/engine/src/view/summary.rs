//! One entry of the container list.

use super::container::{endpoint, host_ip, mount_point};
use super::text;
use crate::model::ContainerSummary;
use serde_json::{Map, Value, json};

/// Docker's `ContainerSummary`.
pub fn container_summary(summary: &ContainerSummary, now_ns: i64) -> Value {
    let mut ports: Vec<Value> = summary
        .ports
        .iter()
        .map(|port| {
            json!({"IP": host_ip(port.host_ip), "PrivatePort": port.container.number, "PublicPort": port.host_port,
                   "Type": port.container.protocol.to_string()})
        })
        .collect();
    let hidden = summary.exposed.iter().filter(|port| !summary.ports.iter().any(|p| p.container == **port));
    ports.extend(hidden.map(|port| json!({"PrivatePort": port.number, "Type": port.protocol.to_string()})));
    let networks: Map<String, Value> =
        summary.networks.iter().map(|(name, info)| (name.clone(), endpoint(info))).collect();
    let mut host_config = json!({"NetworkMode": summary.network_mode});
    if !summary.annotations.is_empty() {
        host_config["Annotations"] = json!(summary.annotations);
    }
    let mut out = json!({
        "Command": text::command(&summary.argv),
        "Created": summary.created_ns.div_euclid(1_000_000_000),
        "HostConfig": host_config,
        "Id": summary.id.as_str(),
        "Image": summary.image,
        "ImageID": summary.image_id,
        "Labels": summary.labels,
        "Mounts": summary.mounts.iter().map(mount_point).collect::<Vec<_>>(),
        "Names": [format!("/{}", summary.name)],
        "NetworkSettings": {"Networks": networks},
        "Ports": ports,
        "State": summary.state.status.as_str(),
        "Status": text::status(&summary.state, now_ns),
    });
    if let (Some((writable, root)), Value::Object(map)) = (summary.size, &mut out) {
        map.insert("SizeRw".into(), json!(writable));
        map.insert("SizeRootFs".into(), json!(root));
    }
    out
}

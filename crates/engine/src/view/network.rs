//! The body of a network's inspection.

use crate::model::NetworkInfo;
use crate::time::rfc3339;
use serde_json::{Map, Value, json};

/// Docker's `NetworkInspect`; list entries have the same shape.
pub fn network(info: &NetworkInfo) -> Value {
    let config: Vec<Value> = info
        .subnet
        .iter()
        .map(|subnet| {
            let mut out = json!({"Subnet": subnet.to_string()});
            if let Value::Object(map) = &mut out {
                map.extend(info.gateway.map(|ip| ("Gateway".to_owned(), json!(ip.to_string()))));
                map.extend(info.ip_range.map(|range| ("IPRange".to_owned(), json!(range.to_string()))));
                if !info.aux_addresses.is_empty() {
                    map.insert("AuxiliaryAddresses".into(), json!(info.aux_addresses));
                }
            }
            out
        })
        .collect();
    let containers: Map<String, Value> = info
        .containers
        .iter()
        .map(|(id, name, endpoint)| {
            let address = endpoint.address.map(|ip| format!("{ip}/{}", endpoint.prefix)).unwrap_or_default();
            let entry = json!({"Name": name, "EndpointID": endpoint.endpoint_id, "MacAddress": endpoint.mac,
                               "IPv4Address": address, "IPv6Address": ""});
            (id.to_string(), entry)
        })
        .collect();
    json!({
        "Attachable": info.attachable,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Created": rfc3339(info.created_ns),
        "Driver": info.driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Options": null, "Config": config},
        "Id": info.id.as_str(),
        "Ingress": false,
        "Internal": info.internal,
        "Labels": info.labels,
        "Name": info.name,
        "Options": info.options,
        "Scope": "local",
    })
}

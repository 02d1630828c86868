//! The request for a container, as a client sends it to another engine.

use super::container::config;
use super::host_config::{host_config, restart_policy};
use crate::model::{ContainerSpec, EndpointSpec, NamespaceMode, NetworkMode, NetworkSpec, UpdateSpec};
use serde_json::{Map, Value, json};

/// The body of `POST /containers/create`. Name and platform go beside it.
///
/// It is what an inspection shows of `spec`, without what it shows of hull itself: what is left to the engine is not said.
pub fn create_request(spec: &ContainerSpec) -> Value {
    let isolation = &spec.isolation;
    let mut body = config(spec, isolation.hostname.clone().unwrap_or_default());
    // A name without a value takes away what the image says.
    body["Env"] = spec.process.env.iter().chain(&spec.process.unset_env).cloned().collect();
    let mut host = host_config(spec);
    if let Value::Object(host) = &mut host {
        host.remove("Runtime");
        if spec.log.driver.is_none() {
            host["LogConfig"]["Type"] = json!("");
        }
        if isolation.shm_size_bytes.is_none() {
            host.remove("ShmSize");
        }
        for (own, key) in
            [(&isolation.masked_paths, "MaskedPaths"), (&isolation.readonly_paths, "ReadonlyPaths")]
        {
            if own.is_none() {
                host.remove(key);
            }
        }
        if isolation.cgroupns == NamespaceMode::Private && isolation.privileged {
            // The engine's own choice depends on that.
            host.remove("CgroupnsMode");
        }
    }
    body["HostConfig"] = host;
    if let NetworkMode::Networks(endpoints) = &spec.network.mode {
        let endpoints: Map<String, Value> =
            endpoints.iter().map(|one| (one.network.clone(), endpoint_request(one))).collect();
        body["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
    }
    body
}

/// The body of `POST /containers/{id}/update`: what is not given is not said.
pub fn update_request(update: &UpdateSpec) -> Value {
    let limits = &update.limits;
    let given = [
        ("BlkioWeight", json!(limits.blkio_weight)),
        ("CpuPeriod", json!(limits.cpu_period_us)),
        ("CpuQuota", json!(limits.cpu_quota_us)),
        ("CpuShares", json!(limits.cpu_shares)),
        ("CpusetCpus", json!(limits.cpuset_cpus)),
        ("CpusetMems", json!(limits.cpuset_mems)),
        ("Memory", json!(limits.memory_bytes)),
        ("MemoryReservation", json!(limits.memory_reservation_bytes)),
        ("MemorySwap", json!(limits.memory_swap_bytes)),
        ("NanoCpus", json!(limits.nano_cpus)),
        ("PidsLimit", json!(limits.pids)),
        (
            "RestartPolicy",
            json!(
                update
                    .restart
                    .as_ref()
                    .map(restart_policy)
                    .map(|(name, count)| json!({"Name": name, "MaximumRetryCount": count}))
            ),
        ),
    ];
    given
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The body of `POST /networks/create`.
pub fn network_request(spec: &NetworkSpec) -> Value {
    let given = [
        ("Subnet", spec.subnet.map(|subnet| json!(subnet.to_string()))),
        ("IPRange", spec.ip_range.map(|range| json!(range.to_string()))),
        ("Gateway", spec.gateway.map(|gateway| json!(gateway.to_string()))),
        ("AuxiliaryAddresses", (!spec.aux_addresses.is_empty()).then(|| json!(spec.aux_addresses))),
    ];
    let config: Map<String, Value> =
        given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    json!({
        "Name": spec.name,
        "CheckDuplicate": true,
        "Driver": spec.driver.as_deref().unwrap_or("bridge"),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "IPAM": {"Driver": "default", "Config": if config.is_empty() { json!([]) } else { json!([config]) }},
        "Options": spec.options,
        "Labels": spec.labels,
    })
}

/// `EndpointSettings`, as a client sends them.
pub fn endpoint_request(endpoint: &EndpointSpec) -> Value {
    let mut out = json!({
        "Aliases": endpoint.aliases,
        "DriverOpts": endpoint.driver_opts,
        "IPAMConfig": endpoint.ipv4.map(|ip| json!({"IPv4Address": ip.to_string()})),
    });
    if !endpoint.links.is_empty() {
        out["Links"] = endpoint.links.iter().map(|(alias, name)| format!("{name}:{alias}")).collect();
    }
    if let Some(mac) = &endpoint.mac {
        out["MacAddress"] = json!(mac.to_string());
    }
    if endpoint.gateway_priority != 0 {
        out["GwPriority"] = json!(endpoint.gateway_priority);
    }
    out
}

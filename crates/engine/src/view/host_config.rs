//! `HostConfig`: the part of a container that Docker considers the host's business.

use crate::launch::usual_paths;
use crate::model::{
    BindPropagation, BlockRate, ContainerInspect, ContainerSpec, IpcMode, Isolation, Mount, MountKind,
    MountSyntax, NamespaceMode, NetworkMode, Owners, RestartPolicy, UserNamespace,
};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Null for an empty list, as Go marshals a nil slice.
fn list<T: serde::Serialize>(items: &[T]) -> Value {
    if items.is_empty() { Value::Null } else { json!(items) }
}

pub(super) fn namespace(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => String::new(),
        NamespaceMode::Host => "host".into(),
        NamespaceMode::Container(id) => format!("container:{id}"),
    }
}

fn ipc(mode: &IpcMode) -> String {
    match mode {
        IpcMode::Private => "private".into(),
        IpcMode::Shareable => "shareable".into(),
        IpcMode::Host => "host".into(),
        IpcMode::None => "none".into(),
        IpcMode::Container(id) => format!("container:{id}"),
    }
}

/// `HostConfig.NetworkMode`.
pub(crate) fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".into(),
        NetworkMode::None => "none".into(),
        NetworkMode::Host => "host".into(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Networks(endpoints) => {
            endpoints.first().map_or_else(|| "none".into(), |endpoint| endpoint.network.clone())
        }
    }
}

/// The name and the retries of a restart policy.
pub(crate) fn restart_policy(policy: &RestartPolicy) -> (&'static str, u32) {
    match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max } => ("on-failure", *max),
    }
}

pub(crate) fn propagation(value: BindPropagation) -> &'static str {
    match value {
        BindPropagation::Private => "private",
        BindPropagation::RPrivate => "rprivate",
        BindPropagation::Shared => "shared",
        BindPropagation::RShared => "rshared",
        BindPropagation::Slave => "slave",
        BindPropagation::RSlave => "rslave",
    }
}

/// The mode column of a `-v` mount: `ro`, `nocopy,ro`, ….
pub(crate) fn bind_mode(mount: &Mount) -> String {
    let mut words = Vec::new();
    if mount.read_only {
        words.push("ro".to_owned());
    }
    match &mount.kind {
        MountKind::Volume { no_copy: true, .. } => words.push("nocopy".to_owned()),
        MountKind::Bind { propagation: value, .. } => {
            words.extend(value.map(|value| propagation(value).to_owned()));
        }
        _ => {}
    }
    if let MountKind::Bind { owners, .. } | MountKind::Volume { owners, .. } = &mount.kind
        && *owners != Owners::AsTheyAre
    {
        words.push(format!("idmap={owners}"));
    }
    words.join(",")
}

fn bind(mount: &Mount) -> Option<String> {
    let source = match &mount.kind {
        MountKind::Bind { source, .. } => source.display().to_string(),
        MountKind::Volume { name: Some(name), .. } => name.clone(),
        _ => return None,
    };
    let mode = bind_mode(mount);
    let tail = if mode.is_empty() { String::new() } else { format!(":{mode}") };
    Some(format!("{source}:{}{tail}", mount.target))
}

fn mount(mount: &Mount) -> Value {
    let mut out = Map::new();
    let kind = match &mount.kind {
        MountKind::Bind { source, propagation: value, recursive, create_source, owners } => {
            out.insert("Source".into(), json!(source));
            let mut options = Map::new();
            if let Some(value) = value {
                options.insert("Propagation".into(), json!(propagation(*value)));
            }
            if !recursive {
                options.insert("NonRecursive".into(), json!(true));
            }
            if *create_source {
                options.insert("CreateMountpoint".into(), json!(true));
            }
            if *owners != Owners::AsTheyAre {
                // Hull's own.
                options.insert("IdMap".into(), json!(owners.to_string()));
            }
            if !options.is_empty() {
                out.insert("BindOptions".into(), Value::Object(options));
            }
            "bind"
        }
        MountKind::Volume { name, no_copy, subpath, driver, driver_opts, labels, owners } => {
            if let Some(name) = name {
                out.insert("Source".into(), json!(name));
            }
            let mut options = Map::new();
            if *no_copy {
                options.insert("NoCopy".into(), json!(true));
            }
            if *owners != Owners::AsTheyAre {
                options.insert("IdMap".into(), json!(owners.to_string()));
            }
            if let Some(subpath) = subpath {
                options.insert("Subpath".into(), json!(subpath));
            }
            if !labels.is_empty() {
                options.insert("Labels".into(), json!(labels));
            }
            if driver.is_some() || !driver_opts.is_empty() {
                options.insert("DriverConfig".into(), json!({"Name": driver, "Options": driver_opts}));
            }
            if !options.is_empty() {
                out.insert("VolumeOptions".into(), Value::Object(options));
            }
            "volume"
        }
        MountKind::Tmpfs { size_bytes, mode, options: words, .. } => {
            let mut options = Map::new();
            if !words.is_empty() {
                let pairs = words.iter().map(|word| word.split('=').collect::<Vec<_>>());
                options.insert("Options".into(), json!(pairs.collect::<Vec<_>>()));
            }
            if let Some(size) = size_bytes {
                options.insert("SizeBytes".into(), json!(size));
            }
            if let Some(mode) = mode {
                options.insert("Mode".into(), json!(mode));
            }
            if !options.is_empty() {
                out.insert("TmpfsOptions".into(), Value::Object(options));
            }
            "tmpfs"
        }
    };
    out.insert("Type".into(), json!(kind));
    out.insert("Target".into(), json!(mount.target));
    if mount.read_only {
        out.insert("ReadOnly".into(), json!(true));
    }
    Value::Object(out)
}

fn tmpfs(mount: &Mount) -> Option<(String, Value)> {
    let MountKind::Tmpfs { given, .. } = &mount.kind else { return None };
    Some((mount.target.clone(), json!(given)))
}

fn rates(rates: &[BlockRate]) -> Value {
    let rows: Vec<Value> = rates.iter().map(|rate| json!({"Path": rate.device, "Rate": rate.rate})).collect();
    list(&rows)
}

/// `HostConfig.MaskedPaths` and `ReadonlyPaths`: what is in effect.
fn protected_paths(isolation: &Isolation) -> [Value; 2] {
    let [masked, readonly] = usual_paths();
    [(&isolation.masked_paths, masked), (&isolation.readonly_paths, readonly)].map(|(own, usual)| match own {
        None if isolation.privileged => Value::Null,
        None => json!(usual),
        Some(own) => json!(own),
    })
}

/// `HostConfig.PortBindings`.
fn port_bindings(spec: &ContainerSpec) -> Value {
    let mut out = Map::new();
    for mapping in &spec.network.publish {
        let host_port = match (mapping.host_port, mapping.host_port_end) {
            (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
            (port, _) => port.map(|port| port.to_string()).unwrap_or_default(),
        };
        let binding = json!({
            "HostIp": mapping.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            "HostPort": host_port,
        });
        let bindings = out.entry(mapping.container.to_string()).or_insert_with(|| json!([]));
        if let Value::Array(bindings) = bindings {
            bindings.push(binding);
        }
    }
    Value::Object(out)
}

pub(super) fn host_config(spec: &ContainerSpec) -> Value {
    let (isolation, limits) = (&spec.isolation, &spec.limits);
    let by = |syntax| spec.mounts.iter().filter(move |mount| mount.syntax == syntax);
    let binds: Vec<String> = by(MountSyntax::Volume).filter_map(bind).collect();
    let mounts: Vec<Value> = by(MountSyntax::Mount).map(mount).collect();
    let tmpfs: Map<String, Value> = by(MountSyntax::Tmpfs).filter_map(tmpfs).collect();
    let [masked_paths, readonly_paths] = protected_paths(isolation);
    let (restart, retries) = restart_policy(&spec.restart);
    let devices: Vec<Value> = isolation
        .devices
        .iter()
        .map(|device| {
            json!({"PathOnHost": device.host, "PathInContainer": device.container,
                   "CgroupPermissions": device.permissions})
        })
        .collect();
    let ulimits: Vec<Value> =
        limits.ulimits.iter().map(|u| json!({"Name": u.name, "Soft": u.soft, "Hard": u.hard})).collect();
    let hosts: Vec<String> =
        spec.network.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let lists = [
        ("Binds", list(&binds)),
        ("CapAdd", list(&isolation.cap_add)),
        ("CapDrop", list(&isolation.cap_drop)),
        ("ExtraHosts", list(&hosts)),
        ("GroupAdd", list(&spec.process.groups)),
        ("SecurityOpt", list(&isolation.security_opts)),
        ("VolumesFrom", list(&spec.volumes_from)),
        ("DeviceCgroupRules", list(&isolation.device_rules)),
        ("BlkioDeviceReadBps", rates(&limits.read_bps)),
        ("BlkioDeviceWriteBps", rates(&limits.write_bps)),
        ("BlkioDeviceReadIOps", rates(&limits.read_iops)),
        ("BlkioDeviceWriteIOps", rates(&limits.write_iops)),
    ];
    let mut out = json!({
        "AutoRemove": spec.auto_remove,
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": [],
        "Cgroup": "",
        "CgroupParent": isolation.cgroup_parent.clone().unwrap_or_default(),
        "CgroupnsMode": if isolation.cgroupns == NamespaceMode::Host { "host" } else { "private" },
        "ConsoleSize": spec.process.console_size.map_or([0, 0], |(rows, columns)| [rows, columns]),
        "ContainerIDFile": spec.id_file.clone().unwrap_or_default(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuPeriod": limits.cpu_period_us.unwrap_or(0),
        "CpuQuota": limits.cpu_quota_us.unwrap_or(0),
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
        "DeviceRequests": null,
        "Devices": devices,
        "Dns": spec.network.dns,
        "DnsOptions": spec.network.dns_options,
        "DnsSearch": spec.network.dns_search,
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "IpcMode": ipc(&isolation.ipc),
        "Isolation": "",
        "Links": null,
        "LogConfig": {"Type": spec.log.driver.as_deref().unwrap_or("json-file"), "Config": spec.log.options},
        "MaskedPaths": masked_paths,
        "Memory": limits.memory_bytes.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation_bytes.unwrap_or(0),
        "MemorySwap": limits.memory_swap_bytes.unwrap_or(0),
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "NetworkMode": network_mode(&spec.network.mode),
        "OomKillDisable": limits.oom_kill_disable,
        "OomScoreAdj": isolation.oom_score_adj.unwrap_or(0),
        "PidMode": namespace(&isolation.pid),
        "PidsLimit": limits.pids,
        "PortBindings": port_bindings(spec),
        "Privileged": isolation.privileged,
        "PublishAllPorts": spec.network.publish_all,
        "ReadonlyPaths": readonly_paths,
        "ReadonlyRootfs": isolation.read_only,
        "RestartPolicy": {"Name": restart, "MaximumRetryCount": retries},
        "Runtime": "hull",
        "ShmSize": isolation.shm_size_bytes.unwrap_or(64 << 20),
        "UTSMode": namespace(&isolation.uts),
        "Ulimits": ulimits,
        "UsernsMode": match isolation.users {
            UserNamespace::Default => "",
            UserNamespace::Private => "private",
            UserNamespace::Host => "host",
        },
        "VolumeDriver": "",
    });
    if let Value::Object(map) = &mut out {
        map.extend(lists.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if spec.process.init {
            map.insert("Init".into(), json!(true));
        }
        for (key, value) in [
            ("Annotations", json!(spec.annotations)),
            ("Mounts", json!(mounts)),
            ("Sysctls", json!(isolation.sysctls)),
            ("Tmpfs", Value::Object(tmpfs)),
        ] {
            let empty =
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
            if !empty {
                map.insert(key.into(), value);
            }
        }
    }
    out
}

/// Host path of a container's generated file, shown as `HostsPath` and the like.
pub(super) fn generated(inspect: &ContainerInspect, name: &str) -> PathBuf {
    inspect.run_dir.join(name)
}

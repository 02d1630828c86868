//! The bodies of `info`, `version`, `df`, `stats`, `top` and `changes`.

use super::{container_summary, image_summary, volume};
use crate::model::{ContainerInspect, DiskUsage, Info, Stats, Top, Version};
use crate::time::{ZERO, rfc3339};
use image::{Change, ChangeKind};
use serde_json::{Map, Value, json};

/// Docker's `SystemInfo`.
pub fn info(info: &Info, now_ns: i64) -> Value {
    let can = |controller: &str| info.cgroup_controllers.iter().any(|name| name == controller);
    json!({
        "Architecture": info.architecture,
        "CPUSet": can("cpuset"),
        "CPUShares": can("cpu"),
        // Hull's own, as `Instance`, `RunRoot` and `Unprotected` are.
        "CgroupControllers": info.cgroup_controllers,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version.to_string(),
        "Containers": info.containers,
        "ContainersPaused": info.paused,
        "ContainersRunning": info.running,
        "ContainersStopped": info.stopped,
        "CpuCfsPeriod": can("cpu"),
        "CpuCfsQuota": can("cpu"),
        "Debug": false,
        "DefaultRuntime": "hull",
        "DockerRootDir": info.data_root,
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", info.backing_filesystem]],
        "ExperimentalBuild": false,
        "ID": info.instance,
        "IPv4Forwarding": true,
        "Images": info.images,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "InitBinary": "hull",
        "Instance": info.instance,
        "Isolation": "",
        "KernelVersion": info.kernel,
        "Labels": [],
        "LiveRestoreEnabled": true,
        "LoggingDriver": "json-file",
        "MemTotal": info.memory_bytes,
        "MemoryLimit": can("memory"),
        "NCPU": info.cpus,
        "NEventsListener": 0,
        "NFd": 0,
        "NGoroutines": 0,
        "Name": info.host_name,
        "OSType": "linux",
        "OSVersion": info.os_version,
        "OomKillDisable": info.cgroup_version == 1 && can("memory"),
        "OperatingSystem": info.operating_system,
        "PidsLimit": can("pids"),
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file", "local"]},
        "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
        "RunRoot": info.run_root,
        "Runtimes": {"hull": {"path": "hull"}},
        "SecurityOptions": info.security_options,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "SwapLimit": can("memory"),
        "Swarm": {"LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": false, "Error": "",
                  "RemoteManagers": null},
        "SystemTime": rfc3339(now_ns),
        "Unprotected": info.unprotected,
        "Warnings": if info.warnings.is_empty() { Value::Null } else { json!(info.warnings) },
    })
}

/// Docker's `SystemVersion`.
pub fn version(version: &Version) -> Value {
    json!({
        "ApiVersion": version.api_version,
        "Arch": version.architecture,
        "Components": [{"Name": "Engine", "Version": version.version,
                        "Details": {"ApiVersion": version.api_version, "MinAPIVersion": version.min_api_version,
                                    "Os": version.os, "Arch": version.architecture, "KernelVersion": version.kernel}}],
        "KernelVersion": version.kernel,
        "MinAPIVersion": version.min_api_version,
        "Os": version.os,
        "Platform": {"Name": "hull"},
        "Version": version.version,
    })
}

/// Docker's `SystemDataUsageResponse`.
pub fn disk_usage(usage: &DiskUsage, now_ns: i64) -> Value {
    let cache: Vec<Value> = usage
        .build_cache
        .iter()
        .map(|item| {
            json!({"ID": item.id, "Type": "regular", "Description": "", "InUse": item.in_use, "Shared": item.in_use, "Size": item.size_bytes,
                   "CreatedAt": rfc3339(item.created_ns), "LastUsedAt": rfc3339(item.last_used_ns), "UsageCount": 1})
        })
        .collect();
    json!({
        "BuildCache": cache,
        "Containers": usage.containers.iter().map(|c| container_summary(c, now_ns)).collect::<Vec<_>>(),
        "Images": usage.images.iter().map(image_summary).collect::<Vec<_>>(),
        "LayersSize": usage.images_bytes,
        "Volumes": usage.volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}

/// Docker's `ContainerTopResponse`.
pub fn top(top: &Top) -> Value {
    json!({"Titles": top.titles, "Processes": top.rows})
}

/// Docker's list of `FilesystemChange`; null when there is none.
pub fn changes(changes: &[Change]) -> Value {
    let kind = |kind| match kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    let list = changes
        .iter()
        .map(|change| json!({"Path": change.path.to_string_lossy(), "Kind": kind(change.kind)}));
    if changes.is_empty() { Value::Null } else { list.collect() }
}

/// Docker's `ContainerStatsResponse`: this reading and the one before it, which is all zero when there was none.
pub fn stats(container: &ContainerInspect, now: &Stats, before: &Stats) -> Value {
    let cpu = |stats: &Stats| {
        json!({
            "cpu_usage": {"total_usage": stats.cpu.usage_ns, "usage_in_kernelmode": stats.cpu.system_ns,
                          "usage_in_usermode": stats.cpu.user_ns},
            "system_cpu_usage": stats.cpu.host_ns,
            "online_cpus": stats.cpu.online,
            "throttling_data": {"periods": stats.cpu.periods, "throttled_periods": stats.cpu.throttled_periods,
                                "throttled_time": stats.cpu.throttled_ns},
        })
    };
    let time = |stats: &Stats| if stats.read_ns == 0 { ZERO.to_owned() } else { rfc3339(stats.read_ns) };
    let networks: Map<String, Value> = now
        .interfaces
        .iter()
        .map(|(name, i)| {
            let entry = json!({
                "rx_bytes": i.rx_bytes, "rx_packets": i.rx_packets, "rx_errors": i.rx_errors, "rx_dropped": i.rx_dropped,
                "tx_bytes": i.tx_bytes, "tx_packets": i.tx_packets, "tx_errors": i.tx_errors, "tx_dropped": i.tx_dropped,
            });
            (name.clone(), entry)
        })
        .collect();
    let operation = |op: &str, value: u64| json!({"major": 0, "minor": 0, "op": op, "value": value});
    json!({
        "blkio_stats": {
            "io_service_bytes_recursive": [operation("read", now.block.read_bytes), operation("write", now.block.write_bytes)],
            "io_serviced_recursive": [],
            "io_queue_recursive": [],
            "io_service_time_recursive": [],
            "io_wait_time_recursive": [],
            "io_merged_recursive": [],
            "io_time_recursive": [],
            "sectors_recursive": [],
        },
        "cpu_stats": cpu(now),
        "id": container.id.as_str(),
        "memory_stats": {"usage": now.memory.usage_bytes, "max_usage": now.memory.max_usage_bytes,
                         "limit": now.memory.limit_bytes, "stats": now.memory.detail},
        "name": format!("/{}", container.name),
        "networks": networks,
        "num_procs": 0,
        "pids_stats": {"current": now.pids, "limit": now.pids_limit},
        "precpu_stats": cpu(before),
        "preread": time(before),
        "read": time(now),
        "storage_stats": {},
    })
}

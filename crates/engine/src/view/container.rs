//! The body of a container's inspection.

use super::host_config::{generated, host_config};
use super::text::ANY;
use crate::model::{
    ContainerInspect, ContainerSpec, ContainerState, EndpointInfo, HealthCommand, HealthSpec, MountPoint,
    NetworkMode, Status,
};
use crate::time::{ZERO, rfc3339};
use serde_json::{Map, Value, json};

/// Docker's `ContainerInspectResponse`.
pub fn container(inspect: &ContainerInspect) -> Value {
    let argv = &inspect.argv;
    let mut out = json!({
        "AppArmorProfile": "",
        "Args": argv.get(1..).unwrap_or_default(),
        "Config": config(&inspect.spec, hostname(inspect)),
        "Created": rfc3339(inspect.created_ns),
        "Driver": "overlay2",
        "ExecIDs": if inspect.execs.is_empty() { Value::Null } else { json!(inspect.execs) },
        "GraphDriver": graph_driver(inspect),
        "HostConfig": host_config(&inspect.spec),
        "HostnamePath": generated(inspect, "hostname"),
        "HostsPath": generated(inspect, "hosts"),
        "Id": inspect.id.as_str(),
        "Image": inspect.image_id,
        "LogPath": inspect.log_path.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
        "MountLabel": "",
        "Mounts": inspect.mounts.iter().map(mount_point).collect::<Vec<_>>(),
        "Name": format!("/{}", inspect.name),
        "NetworkSettings": network_settings(inspect),
        "Path": argv.first().cloned().unwrap_or_default(),
        "Platform": "linux",
        "ProcessLabel": "",
        // Hull's own.
        "Protection": {"GivenUp": inspect.given_up},
        "ResolvConfPath": generated(inspect, "resolv.conf"),
        "RestartCount": inspect.restart_count,
        "State": state(&inspect.state),
    });
    if let (Some((writable, root)), Value::Object(map)) = (inspect.size, &mut out) {
        map.insert("SizeRw".into(), json!(writable));
        map.insert("SizeRootFs".into(), json!(root));
    }
    out
}

/// `State`.
pub(super) fn state(state: &ContainerState) -> Value {
    let time = |ns: Option<i64>| ns.map_or_else(|| ZERO.to_owned(), rfc3339);
    let mut out = json!({
        "Dead": state.status == Status::Dead,
        "Error": state.error,
        "ExitCode": state.exit_code,
        "FinishedAt": time(state.finished_ns),
        "OOMKilled": state.oom_killed,
        "Paused": state.status == Status::Paused,
        "Pid": state.pid,
        "Restarting": state.status == Status::Restarting,
        "Running": state.status.is_running(),
        "StartedAt": time(state.started_ns),
        "Status": state.status.as_str(),
    });
    if let (Some(health), Value::Object(map)) = (&state.health, &mut out) {
        let log: Vec<Value> = health
            .log
            .iter()
            .map(|result| {
                json!({"Start": rfc3339(result.start_ns), "End": rfc3339(result.end_ns),
                       "ExitCode": result.exit_code, "Output": result.output})
            })
            .collect();
        let health =
            json!({"Status": health.status.as_str(), "FailingStreak": health.failing_streak, "Log": log});
        map.insert("Health".into(), health);
    }
    out
}

pub(super) fn config(spec: &ContainerSpec, hostname: String) -> Value {
    let process = &spec.process;
    let exposed: Map<String, Value> = spec
        .network
        .expose
        .iter()
        .chain(spec.network.publish.iter().map(|mapping| &mapping.container))
        .map(|port| (port.to_string(), json!({})))
        .collect();
    let volumes: Map<String, Value> = spec
        .mounts
        .iter()
        .filter(|mount| {
            use crate::model::{MountKind, MountSyntax};
            mount.syntax == MountSyntax::Image
                || (mount.syntax == MountSyntax::Volume
                    && matches!(mount.kind, MountKind::Volume { name: None, .. }))
        })
        .map(|mount| (mount.target.clone(), json!({})))
        .collect();
    let [stdin, stdout, stderr] = process.attach;
    let mut out = json!({
        "AttachStderr": stderr,
        "AttachStdin": stdin,
        "AttachStdout": stdout,
        "Cmd": process.command,
        "Domainname": spec.isolation.domainname.clone().unwrap_or_default(),
        "Entrypoint": process.entrypoint,
        "Env": process.env,
        "Hostname": hostname,
        "Image": spec.image,
        "Labels": spec.labels,
        "OnBuild": null,
        "OpenStdin": process.open_stdin,
        "StdinOnce": process.stdin_once,
        "Tty": process.tty,
        "User": process.user.clone().unwrap_or_default(),
        "Volumes": if volumes.is_empty() { Value::Null } else { Value::Object(volumes) },
        "WorkingDir": process.working_dir.clone().unwrap_or_default(),
    });
    if let Value::Object(map) = &mut out {
        if !exposed.is_empty() {
            map.insert("ExposedPorts".into(), Value::Object(exposed));
        }
        if let Some(signal) = &process.stop_signal {
            map.insert("StopSignal".into(), json!(signal));
        }
        if let Some(timeout) = process.stop_timeout_s {
            map.insert("StopTimeout".into(), json!(timeout));
        }
        if let Some(shell) = &process.shell {
            map.insert("Shell".into(), json!(shell));
        }
        if let Some(health) = &spec.health {
            map.insert("Healthcheck".into(), healthcheck(health));
        }
    }
    out
}

fn hostname(inspect: &ContainerInspect) -> String {
    match (&inspect.spec.isolation.hostname, &inspect.spec.network.mode) {
        (Some(name), _) => name.clone(),
        (None, NetworkMode::Container(_)) => String::new(),
        (None, _) => inspect.id.short().to_owned(),
    }
}

/// `Config.Healthcheck`: a test list and nanoseconds.
fn healthcheck(health: &HealthSpec) -> Value {
    let mut out = Map::new();
    let test = match &health.test {
        None => None,
        Some(HealthCommand::Disabled) => Some(json!(["NONE"])),
        Some(HealthCommand::Shell(command)) => Some(json!(["CMD-SHELL", command])),
        Some(HealthCommand::Exec(argv)) => Some(json!([&["CMD".to_owned()][..], argv].concat())),
    };
    out.extend(test.map(|test| ("Test".to_owned(), test)));
    for (key, value) in [
        ("Interval", health.interval_ns),
        ("Timeout", health.timeout_ns),
        ("StartPeriod", health.start_period_ns),
        ("StartInterval", health.start_interval_ns),
        ("Retries", health.retries.map(u64::from)),
    ] {
        out.extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    Value::Object(out)
}

fn graph_driver(inspect: &ContainerInspect) -> Value {
    let (lower, upper, work) = &inspect.overlay;
    let lower: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
    json!({"Name": "overlay2", "Data": {"ID": inspect.id.as_str(), "LowerDir": lower.join(":"), "UpperDir": upper, "WorkDir": work,
           "MergedDir": ""}})
}

/// `MountPoint`.
pub(super) fn mount_point(mount: &MountPoint) -> Value {
    let mut out = json!({
        "Type": mount.kind,
        "Source": mount.source.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": !mount.read_only,
        "Propagation": mount.propagation,
    });
    if let Value::Object(map) = &mut out {
        map.extend(mount.name.as_ref().map(|name| ("Name".to_owned(), json!(name))));
        map.extend(mount.driver.as_ref().map(|driver| ("Driver".to_owned(), json!(driver))));
    }
    out
}

fn network_settings(inspect: &ContainerInspect) -> Value {
    let running = inspect.state.status.is_running();
    let mut ports = Map::new();
    if running {
        let exposed = inspect.spec.network.expose.iter();
        for port in exposed.chain(inspect.spec.network.publish.iter().map(|mapping| &mapping.container)) {
            ports.insert(port.to_string(), Value::Null);
        }
        for port in &inspect.ports {
            let binding = json!({"HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string()});
            match ports.entry(port.container.to_string()).or_insert(Value::Null) {
                Value::Array(bindings) => bindings.push(binding),
                empty => *empty = json!([binding]),
            }
        }
    }
    let networks: Map<String, Value> =
        inspect.networks.iter().map(|(name, info)| (name.clone(), endpoint(info))).collect();
    // Docker repeats the default bridge's endpoint one level up; old scripts read it there.
    let default = inspect.networks.get("bridge").cloned().unwrap_or_default();
    json!({
        "Bridge": "",
        "EndpointID": default.endpoint_id,
        "Gateway": default.address.and(default.gateway).map(|ip| ip.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "HairpinMode": false,
        "IPAddress": default.address.map(|ip| ip.to_string()).unwrap_or_default(),
        "IPPrefixLen": if default.address.is_some() { default.prefix } else { 0 },
        "IPv6Gateway": "",
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "MacAddress": if default.address.is_some() { default.mac.clone() } else { String::new() },
        "Networks": networks,
        "Ports": ports,
        "SandboxID": if running { inspect.id.as_str() } else { "" },
        "SandboxKey": if running { format!("/proc/{}/ns/net", inspect.state.pid) } else { String::new() },
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
    })
}

/// `EndpointSettings`.
pub(super) fn endpoint(info: &EndpointInfo) -> Value {
    let some = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
    let shown = info.address.is_some();
    let links: Vec<String> = info.links.iter().map(|(alias, name)| format!("{name}:{alias}")).collect();
    json!({
        "Aliases": some(&info.aliases),
        "DNSNames": some(&info.dns_names),
        "DriverOpts": null,
        "EndpointID": info.endpoint_id,
        "Gateway": info.address.and(info.gateway).map(|ip| ip.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "GwPriority": info.gateway_priority,
        "IPAMConfig": info.wanted_address.map(|ip| json!({"IPv4Address": ip.to_string()})),
        "IPAddress": info.address.map(|ip| ip.to_string()).unwrap_or_default(),
        "IPPrefixLen": if shown { info.prefix } else { 0 },
        "IPv6Gateway": "",
        "Links": some(&links),
        "MacAddress": if shown { info.mac.clone() } else { String::new() },
        "NetworkID": info.network_id.as_str(),
    })
}

/// The address Docker shows for a port that is published on all of them.
pub(super) fn host_ip(ip: std::net::Ipv4Addr) -> String {
    if ip == ANY { "0.0.0.0".into() } else { ip.to_string() }
}

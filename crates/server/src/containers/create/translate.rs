//! From a client's document to a [`ContainerSpec`]: every field is honoured or refused.

use std::net::IpAddr;
use std::path::Path;

use api::container as wire;
use diag::Diagnose;
use engine::model::{
    BlockRate, ContainerSpec, Device, EndpointSpec, HealthCommand, HealthSpec, IpcMode, Isolation, Limits,
    LogSpec, Mount, MountKind, MountSyntax, NamespaceMode, NetworkMode, Networking, Port, PortMapping,
    ProcessSpec, RestartPolicy, Ulimit,
};
use engine::parse;

use crate::refusal::Refusal;

type Result<T> = std::result::Result<T, Refusal>;

/// Adds the name of a field to what is wrong with it.
fn field<T, E: Diagnose>(name: &str, value: std::result::Result<T, E>) -> Result<T> {
    value.map_err(|error| {
        let refusal = Refusal::from(error);
        Refusal { message: format!("{name}: {}", refusal.message), ..refusal }
    })
}

fn refuse(name: &str, is_asked: bool, why: &str) -> Result<()> {
    if is_asked { Err(Refusal::unsupported(format!("{name}: {why}"))) } else { Ok(()) }
}

/// What is given and not empty.
fn text(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

/// A limit in the types that limits have; zero is none.
fn number<T: TryFrom<i64>>(name: &str, value: Option<i64>) -> Result<Option<T>> {
    let value = value.filter(|value| *value != 0);
    let wrong = |value| Refusal::invalid(format!("{name}: {value} is out of range"));
    value.map(|value| T::try_from(value).map_err(|_| wrong(value))).transpose()
}

/// The container that `request` asks for, without its name and platform.
///
/// # Errors
/// 400 for what makes no sense, 501 for what hull does not do; either names the field.
pub fn container(request: wire::CreateRequest) -> Result<ContainerSpec> {
    let wire::CreateRequest { config, host_config, networking_config } = request;
    let mut host = host_config.unwrap_or_default();
    refuse_unsupported(&config, &host)?;
    let resources = std::mem::take(&mut host.resources);
    let init = resources.init.unwrap_or_default();
    let restart = restart(host.restart_policy.take())?;
    Ok(ContainerSpec {
        name: None,
        platform: None,
        image: config.image.clone().unwrap_or_default(),
        labels: config.labels.clone().unwrap_or_default(),
        network: network(&config, &mut host, networking_config.unwrap_or_default())?,
        mounts: mounts(&config, &mut host)?,
        volumes_from: host.volumes_from.take().unwrap_or_default(),
        health: config.healthcheck.clone().map(health).transpose()?,
        log: log(host.log_config.take()),
        auto_remove: host.auto_remove.unwrap_or_default(),
        id_file: text(host.container_id_file.take()),
        annotations: host.annotations.take().unwrap_or_default(),
        restart,
        isolation: isolation(&config, &mut host, &resources)?,
        limits: limits(resources)?,
        process: process(config, &mut host, init)?,
    })
}

fn refuse_unsupported(config: &wire::ContainerConfig, host: &wire::HostConfig) -> Result<()> {
    let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
    refuse("HostConfig.Cgroup", given(&host.cgroup), "it is not supported")?;
    refuse(
        "HostConfig.VolumeDriver",
        host.volume_driver.as_ref().is_some_and(|name| !name.is_empty() && name != "local"),
        "there is only `local`",
    )?;
    refuse(
        "HostConfig.StorageOpt",
        host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()),
        "layers have no options",
    )?;
    refuse(
        "HostConfig.Runtime",
        host.runtime
            .as_ref()
            .is_some_and(|name| !matches!(name.as_str(), "" | "hull" | "runc" | "io.containerd.runc.v2")),
        "hull runs containers itself",
    )?;
    refuse(
        "HostConfig.Isolation",
        host.isolation.as_ref().is_some_and(|name| !matches!(name.as_str(), "" | "default")),
        "it is for Windows",
    )?;
    refuse_resources(&host.resources)?;
    refuse(
        "OnBuild",
        config.on_build.as_ref().is_some_and(|triggers| !triggers.is_empty()),
        "triggers are of images: say them to the commit",
    )?;
    refuse("ArgsEscaped", config.args_escaped.unwrap_or_default(), "it is for Windows")
}

/// Refuses limits that hull does not have.
pub(super) fn refuse_resources(limits: &wire::Resources) -> Result<()> {
    let some = |value: Option<i64>| value.is_some_and(|number| number != 0);
    refuse(
        "HostConfig.BlkioWeightDevice",
        limits.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty()),
        "it is not supported",
    )?;
    refuse(
        "HostConfig.DeviceRequests",
        limits.device_requests.as_ref().is_some_and(|list| !list.is_empty()),
        "there are no device drivers",
    )?;
    refuse("HostConfig.CpuRealtimePeriod", some(limits.cpu_realtime_period), "it is not supported")?;
    refuse("HostConfig.CpuRealtimeRuntime", some(limits.cpu_realtime_runtime), "it is not supported")?;
    refuse("HostConfig.KernelMemory", some(limits.kernel_memory), "the kernel has no such limit any more")?;
    refuse("HostConfig.KernelMemoryTCP", some(limits.kernel_memory_tcp), "it is not supported")?;
    refuse("HostConfig.CpuCount", some(limits.cpu_count), "it is for Windows")?;
    refuse("HostConfig.CpuPercent", some(limits.cpu_percent), "it is for Windows")?;
    refuse("HostConfig.IOMaximumIOps", limits.io_maximum_iops.is_some_and(|n| n != 0), "it is for Windows")?;
    refuse(
        "HostConfig.IOMaximumBandwidth",
        limits.io_maximum_bandwidth.is_some_and(|n| n != 0),
        "it is for Windows",
    )
}

/// Refuses what cannot be changed once a container exists.
pub(super) fn refuse_in_update(limits: &wire::Resources) -> Result<()> {
    let listed = |list: bool, name: &str| refuse(name, list, "it is fixed when a container is created");
    listed(limits.devices.as_ref().is_some_and(|list| !list.is_empty()), "Devices")?;
    listed(limits.device_cgroup_rules.as_ref().is_some_and(|list| !list.is_empty()), "DeviceCgroupRules")?;
    listed(limits.ulimits.as_ref().is_some_and(|list| !list.is_empty()), "Ulimits")?;
    let rates = [
        (&limits.blkio_device_read_bps, "BlkioDeviceReadBps"),
        (&limits.blkio_device_write_bps, "BlkioDeviceWriteBps"),
        (&limits.blkio_device_read_iops, "BlkioDeviceReadIOps"),
        (&limits.blkio_device_write_iops, "BlkioDeviceWriteIOps"),
    ];
    for (list, name) in rates {
        listed(list.as_ref().is_some_and(|list| !list.is_empty()), name)?;
    }
    listed(limits.oom_kill_disable.unwrap_or_default(), "OomKillDisable")?;
    listed(limits.cgroup_parent.as_ref().is_some_and(|parent| !parent.is_empty()), "CgroupParent")?;
    listed(limits.init.unwrap_or_default(), "Init")
}

fn process(config: wire::ContainerConfig, host: &mut wire::HostConfig, init: bool) -> Result<ProcessSpec> {
    // An entry without a value takes away what the image says.
    let (env, unset_env) = config.env.unwrap_or_default().into_iter().partition(|entry| entry.contains('='));
    // An empty list is none; a list of one empty word takes the image's away.
    let argv = |argv: Option<wire::Argv>| argv.map(Vec::from).filter(|words| !words.is_empty());
    Ok(ProcessSpec {
        entrypoint: argv(config.entrypoint),
        command: argv(config.cmd),
        env,
        unset_env,
        working_dir: text(config.working_dir),
        user: text(config.user),
        groups: host.group_add.take().unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        open_stdin: config.open_stdin.unwrap_or_default(),
        stdin_once: config.stdin_once.unwrap_or_default(),
        attach: [config.attach_stdin, config.attach_stdout, config.attach_stderr]
            .map(Option::unwrap_or_default),
        init,
        shell: config.shell.filter(|words| !words.is_empty()),
        stop_signal: text(config.stop_signal),
        stop_timeout_s: config.stop_timeout,
        console_size: host.console_size.filter(|size| *size != [0, 0]).map(|[rows, columns]| (rows, columns)),
    })
}

fn isolation(
    config: &wire::ContainerConfig,
    host: &mut wire::HostConfig,
    limits: &wire::Resources,
) -> Result<Isolation> {
    let namespace = |name: &str, mode: Option<String>| match text(mode).as_deref() {
        None | Some("private") => Ok(NamespaceMode::Private),
        Some(mode) => field(&format!("HostConfig.{name}"), parse::namespace_mode(name, mode)),
    };
    let mut isolation = Isolation {
        hostname: text(config.hostname.clone()),
        domainname: text(config.domainname.clone()),
        privileged: host.privileged.unwrap_or_default(),
        cap_add: host.cap_add.take().unwrap_or_default(),
        cap_drop: host.cap_drop.take().unwrap_or_default(),
        read_only: host.readonly_rootfs.unwrap_or_default(),
        pid: namespace("PidMode", host.pid_mode.take())?,
        uts: namespace("UTSMode", host.uts_mode.take())?,
        cgroupns: namespace("CgroupnsMode", host.cgroupns_mode.take())?,
        ipc: match text(host.ipc_mode.take()) {
            None => IpcMode::default(),
            Some(mode) => field("HostConfig.IpcMode", parse::ipc_mode(&mode))?,
        },
        users: match text(host.userns_mode.take()) {
            None => engine::model::UserNamespace::default(),
            Some(mode) => field("HostConfig.UsernsMode", parse::user_namespace(&mode))?,
        },
        cgroup_parent: text(limits.cgroup_parent.clone()),
        sysctls: host.sysctls.take().unwrap_or_default(),
        devices: limits.devices.iter().flatten().map(device).collect::<Result<_>>()?,
        device_rules: limits.device_cgroup_rules.clone().unwrap_or_default(),
        shm_size_bytes: number("HostConfig.ShmSize", host.shm_size)?,
        oom_score_adj: host.oom_score_adj.filter(|adjustment| *adjustment != 0),
        masked_paths: host.masked_paths.take(),
        readonly_paths: host.readonly_paths.take(),
        ..Isolation::default()
    };
    for option in host.security_opt.take().unwrap_or_default() {
        // A profile comes as its text: the client has read the file.
        let profile = |text: &str| Ok(text.to_owned());
        field("HostConfig.SecurityOpt", parse::security_opt(&mut isolation, &option, profile))?;
    }
    Ok(isolation)
}

fn device(device: &wire::DeviceMapping) -> Result<Device> {
    let host = device.path_on_host.clone().filter(|path| !path.is_empty());
    let host = host.ok_or_else(|| Refusal::invalid("HostConfig.Devices: PathOnHost is missing"))?;
    Ok(Device {
        container: text(device.path_in_container.clone()).unwrap_or_else(|| host.clone()),
        host: host.into(),
        permissions: text(device.cgroup_permissions.clone()).unwrap_or_else(|| "rwm".to_owned()),
    })
}

/// Limits, of a new container or of one that is updated.
pub(super) fn limits(wire: wire::Resources) -> Result<Limits> {
    let rates = |name: &str, devices: Option<Vec<wire::ThrottleDevice>>| {
        let missing = || Refusal::invalid(format!("HostConfig.{name}: Path is missing"));
        let rate = |device: wire::ThrottleDevice| {
            let path = text(device.path).ok_or_else(missing)?;
            Ok(BlockRate { device: path.into(), rate: device.rate.unwrap_or_default() })
        };
        devices.unwrap_or_default().into_iter().map(rate).collect::<Result<Vec<_>>>()
    };
    Ok(Limits {
        memory_bytes: number("HostConfig.Memory", wire.memory)?,
        memory_swap_bytes: wire.memory_swap.filter(|bytes| *bytes != 0),
        memory_reservation_bytes: number("HostConfig.MemoryReservation", wire.memory_reservation)?,
        // Minus one is the default.
        memory_swappiness: match wire.memory_swappiness {
            None | Some(-1) => None,
            Some(value) => {
                let wrong = |_| {
                    Refusal::invalid(format!(
                        "Invalid value: {value}, valid memory swappiness range is 0-100"
                    ))
                };
                Some(u64::try_from(value).map_err(wrong)?)
            }
        },
        oom_kill_disable: wire.oom_kill_disable.unwrap_or_default(),
        nano_cpus: number("HostConfig.NanoCpus", wire.nano_cpus)?,
        cpu_shares: number("HostConfig.CpuShares", wire.cpu_shares)?,
        cpu_period_us: number("HostConfig.CpuPeriod", wire.cpu_period)?,
        cpu_quota_us: wire.cpu_quota.filter(|quota| *quota != 0),
        cpuset_cpus: text(wire.cpuset_cpus),
        cpuset_mems: text(wire.cpuset_mems),
        pids: wire.pids_limit.filter(|pids| *pids != 0),
        blkio_weight: wire.blkio_weight.filter(|weight| *weight != 0),
        read_bps: rates("BlkioDeviceReadBps", wire.blkio_device_read_bps)?,
        write_bps: rates("BlkioDeviceWriteBps", wire.blkio_device_write_bps)?,
        read_iops: rates("BlkioDeviceReadIOps", wire.blkio_device_read_iops)?,
        write_iops: rates("BlkioDeviceWriteIOps", wire.blkio_device_write_iops)?,
        ulimits: wire.ulimits.unwrap_or_default().into_iter().map(ulimit).collect(),
    })
}

/// A limit of a process.
pub fn ulimit(wire: wire::Ulimit) -> Ulimit {
    Ulimit {
        name: wire.name.unwrap_or_default(),
        soft: wire.soft.unwrap_or_default(),
        hard: wire.hard.unwrap_or_default(),
    }
}

/// A restart policy.
pub(super) fn restart(wire: Option<wire::RestartPolicy>) -> Result<RestartPolicy> {
    let wire = wire.unwrap_or_default();
    let name = wire.name.unwrap_or_default();
    let words = match wire.maximum_retry_count.unwrap_or_default() {
        0 => name,
        count => format!("{name}:{count}"),
    };
    field("HostConfig.RestartPolicy", parse::restart_policy(&words))
}

fn log(wire: Option<wire::LogConfig>) -> LogSpec {
    let wire = wire.unwrap_or_default();
    LogSpec { driver: text(wire.driver), options: wire.config.unwrap_or_default() }
}

fn health(wire: wire::HealthConfig) -> Result<HealthSpec> {
    let test = wire.test.unwrap_or_default();
    let words: Vec<&str> = test.iter().map(String::as_str).collect();
    Ok(HealthSpec {
        test: match words.as_slice() {
            [] => None,
            ["NONE", ..] => Some(HealthCommand::Disabled),
            ["CMD-SHELL", command @ ..] => Some(HealthCommand::Shell(command.join(" "))),
            ["CMD", ..] => Some(HealthCommand::Exec(test[1..].to_vec())),
            [other, ..] => return Err(Refusal::invalid(format!("Unknown healthcheck type '{other}'"))),
        },
        interval_ns: number("Healthcheck.Interval", wire.interval)?,
        timeout_ns: number("Healthcheck.Timeout", wire.timeout)?,
        start_period_ns: number("Healthcheck.StartPeriod", wire.start_period)?,
        start_interval_ns: number("Healthcheck.StartInterval", wire.start_interval)?,
        retries: number("Healthcheck.Retries", wire.retries)?,
    })
}

fn mounts(config: &wire::ContainerConfig, host: &mut wire::HostConfig) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for bind in host.binds.take().unwrap_or_default() {
        mounts.push(field("HostConfig.Binds", parse::volume(&bind, Path::new("/")))?);
    }
    for mount in host.mounts.take().unwrap_or_default() {
        mounts.push(structured(mount)?);
    }
    for (target, options) in host.tmpfs.take().unwrap_or_default() {
        let words = if options.is_empty() { target } else { format!("{target}:{options}") };
        mounts.push(field("HostConfig.Tmpfs", parse::tmpfs(&words))?);
    }
    for target in config.volumes.iter().flatten().map(|(target, _)| target) {
        // Anonymous, where nothing else is mounted already.
        let volume = field("Volumes", parse::volume(target, Path::new("/")))?;
        if !mounts.iter().any(|mount: &Mount| mount.target == volume.target) {
            mounts.push(volume);
        }
    }
    Ok(mounts)
}

/// An entry of `HostConfig.Mounts`.
fn structured(wire: wire::Mount) -> Result<Mount> {
    let invalid = |text: String| {
        Refusal::invalid(format!(
            "invalid mount config for type {:?}: {text}",
            wire.kind.clone().unwrap_or_default()
        ))
    };
    let target = text(wire.target.clone()).ok_or_else(|| invalid("field Target must not be empty".into()))?;
    if !target.starts_with('/') {
        return Err(invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    let source = text(wire.source.clone());
    let options = [
        ("bind", "BindOptions", wire.bind_options.is_some()),
        ("volume", "VolumeOptions", wire.volume_options.is_some()),
        ("tmpfs", "TmpfsOptions", wire.tmpfs_options.is_some()),
        ("image", "ImageOptions", wire.image_options.is_some()),
    ];
    if let Some((_, name, _)) =
        options.iter().find(|(kind, _, is_given)| *is_given && wire.kind.as_deref() != Some(*kind))
    {
        return Err(invalid(format!("field {name} must not be specified")));
    }
    // All of them mean the same on Linux.
    let consistency = wire.consistency.as_deref().unwrap_or_default();
    if !matches!(consistency, "" | "default" | "consistent" | "cached" | "delegated") {
        return Err(invalid(format!("unknown Consistency: {consistency}")));
    }
    let kind = match wire.kind.as_deref() {
        Some("bind") => {
            let source = source.ok_or_else(|| invalid("field Source must not be empty".into()))?;
            if !source.starts_with('/') {
                return Err(invalid(format!("invalid mount path: '{source}' mount path must be absolute")));
            }
            let options = wire.bind_options.clone().unwrap_or_default();
            refuse(
                "BindOptions.ReadOnlyNonRecursive",
                options.read_only_non_recursive.unwrap_or_default(),
                "read-only binds are recursively so",
            )?;
            MountKind::Bind {
                source: source.into(),
                propagation: text(options.propagation).map(|word| propagation(&word)).transpose()?,
                recursive: !options.non_recursive.unwrap_or_default(),
                create_source: options.create_mountpoint.unwrap_or_default(),
                owners: owners(options.id_map)?,
            }
        }
        Some("volume") => {
            let options = wire.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            MountKind::Volume {
                name: source,
                no_copy: options.no_copy.unwrap_or_default(),
                subpath: text(options.subpath),
                driver: text(driver.name),
                driver_opts: driver.options.unwrap_or_default(),
                labels: options.labels.unwrap_or_default(),
                owners: owners(options.id_map)?,
            }
        }
        Some("tmpfs") => {
            if source.is_some() {
                return Err(invalid("field Source must not be specified".into()));
            }
            let options = wire.tmpfs_options.clone().unwrap_or_default();
            let pairs = options.options.unwrap_or_default();
            let words: Vec<String> = pairs.into_iter().map(|pair| pair.join("=")).collect();
            if let Some(unknown) = words.iter().find(|word| !parse::is_tmpfs_option(word)) {
                return Err(invalid(format!("invalid option: {unknown}")));
            }
            MountKind::Tmpfs {
                size_bytes: number("TmpfsOptions.SizeBytes", options.size_bytes)?,
                mode: options.mode.filter(|mode| *mode != 0),
                options: words,
                given: String::new(),
            }
        }
        Some(known @ ("image" | "npipe" | "cluster")) => {
            return Err(Refusal::unsupported(format!(
                "HostConfig.Mounts: mounts of type {known:?} are not supported"
            )));
        }
        _ => return Err(invalid("mount type unknown".into())),
    };
    Ok(Mount { target, kind, read_only: wire.read_only.unwrap_or_default(), syntax: MountSyntax::Mount })
}

fn owners(text: Option<String>) -> Result<engine::model::Owners> {
    match text {
        None => Ok(engine::model::Owners::default()),
        Some(text) => field("IdMap", parse::owners(&text)),
    }
}

fn propagation(word: &str) -> Result<engine::model::BindPropagation> {
    use engine::model::BindPropagation as P;
    Ok(match word {
        "private" => P::Private,
        "rprivate" => P::RPrivate,
        "shared" => P::Shared,
        "rshared" => P::RShared,
        "slave" => P::Slave,
        "rslave" => P::RSlave,
        other => return Err(Refusal::invalid(format!("invalid propagation mode: {other}"))),
    })
}

fn network(
    config: &wire::ContainerConfig,
    host: &mut wire::HostConfig,
    wire: wire::NetworkingConfig,
) -> Result<Networking> {
    let mut expose = Vec::new();
    for port in config.exposed_ports.iter().flatten().map(|(port, _)| port) {
        expose.extend(field("ExposedPorts", parse::expose(port))?);
    }
    let mut publish = Vec::new();
    for (port, bindings) in host.port_bindings.take().unwrap_or_default() {
        publish.extend(bindings_of(&port, bindings.unwrap_or_default())?);
    }
    let address = |text: &String| {
        text.parse::<IpAddr>()
            .map_err(|_| Refusal::invalid(format!("HostConfig.Dns: {text:?} is no address")))
    };
    let mut hosts = Vec::new();
    for entry in host.extra_hosts.take().unwrap_or_default() {
        hosts.push(field("HostConfig.ExtraHosts", parse::extra_host(&entry))?);
    }
    Ok(Networking {
        mode: mode(config, host, wire)?,
        publish,
        publish_all: host.publish_all_ports.unwrap_or_default(),
        expose,
        dns: host.dns.take().unwrap_or_default().iter().map(address).collect::<Result<_>>()?,
        dns_search: host.dns_search.take().unwrap_or_default(),
        dns_options: host.dns_options.take().unwrap_or_default(),
        extra_hosts: hosts,
    })
}

fn bindings_of(port: &str, bindings: Vec<wire::PortBinding>) -> Result<Vec<PortMapping>> {
    let container: Vec<Port> = field("HostConfig.PortBindings", parse::expose(port))?;
    if bindings.is_empty() {
        let mapping =
            |container| PortMapping { container, host_ip: None, host_port: None, host_port_end: None };
        return Ok(container.into_iter().map(mapping).collect());
    }
    let mut mappings = Vec::new();
    let is_ipv6 = |binding: &wire::PortBinding| binding.host_ip.as_deref() == Some("::");
    refuse(
        "HostConfig.PortBindings",
        bindings.iter().all(is_ipv6),
        "nothing is published on IPv6 addresses alone",
    )?;
    // Every IPv6 address beside every IPv4 one is what clients ask for without being told to.
    for binding in bindings.into_iter().filter(|binding| !is_ipv6(binding)) {
        let (ip, host) = (binding.host_ip.unwrap_or_default(), binding.host_port.unwrap_or_default());
        mappings.extend(field("HostConfig.PortBindings", parse::ports(&format!("{ip}:{host}:{port}")))?);
    }
    Ok(mappings)
}

fn mode(
    config: &wire::ContainerConfig,
    host: &mut wire::HostConfig,
    wire: wire::NetworkingConfig,
) -> Result<NetworkMode> {
    let mut endpoints = wire.endpoints_config.unwrap_or_default();
    let name = text(host.network_mode.take()).unwrap_or_else(|| "default".to_owned());
    let mode = match config.network_disabled.unwrap_or_default() {
        true => NetworkMode::None,
        false => {
            field("HostConfig.NetworkMode", parse::network(if name == "bridge" { "default" } else { &name }))?
        }
    };
    let links = host.links.take().unwrap_or_default();
    refuse(
        "HostConfig.Links",
        !links.is_empty() && !matches!(mode, NetworkMode::Networks(_)),
        "put both containers on one network of your own",
    )?;
    let first = match &mode {
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => {
            let own = endpoint(name.clone(), endpoints.remove(&name).flatten().unwrap_or_default())?;
            let plain = EndpointSpec { network: name, ..EndpointSpec::default() };
            for (what, is_given) in [
                ("EndpointsConfig", !endpoints.is_empty() || own != plain),
                ("MacAddress", config.mac_address.as_ref().is_some_and(|mac| !mac.is_empty())),
            ] {
                if is_given {
                    let text = format!("conflicting options: {what} and the network mode");
                    return Err(Refusal::invalid(text));
                }
            }
            return Ok(mode);
        }
        NetworkMode::Default => ["default", "bridge"].into_iter().find_map(|name| endpoints.remove(name)),
        NetworkMode::Networks(_) => endpoints.remove(&name),
    };
    if endpoints.is_empty() && first.is_none() && config.mac_address.is_none() && links.is_empty() {
        return Ok(mode);
    }
    let name = if mode == NetworkMode::Default { "bridge".to_owned() } else { name };
    let mut first = first.flatten().unwrap_or_default();
    // Clients say it in both places; the first network's is where it counts.
    first.links.get_or_insert_default().extend(links);
    let mut wanted = vec![endpoint(name, first)?];
    if let Some(mac) = text(config.mac_address.clone()) {
        wanted[0].mac = Some(mac_address(&mac)?);
    }
    for (name, settings) in endpoints {
        wanted.push(endpoint(name, settings.unwrap_or_default())?);
    }
    Ok(NetworkMode::Networks(wanted))
}

/// A place in a network.
pub fn endpoint(network: String, wire: wire::EndpointSettings) -> Result<EndpointSpec> {
    let links = wire.links.unwrap_or_default();
    let links = links.iter().map(|text| field("EndpointsConfig.Links", parse::link(text)));
    let ipam = wire.ipam_config.unwrap_or_default();
    refuse("IPAMConfig.IPv6Address", text(ipam.ipv6_address).is_some(), "IPv6 is not supported")?;
    refuse(
        "IPAMConfig.LinkLocalIPs",
        ipam.link_local_ips.is_some_and(|list| !list.is_empty()),
        "it is not supported",
    )?;
    let ipv4 = text(ipam.ipv4_address).map(|address| {
        address.parse().map_err(|_| Refusal::invalid(format!("invalid IPv4 address: {address}")))
    });
    Ok(EndpointSpec {
        network,
        aliases: wire.aliases.unwrap_or_default(),
        links: links.collect::<Result<_>>()?,
        ipv4: ipv4.transpose()?,
        mac: text(wire.mac_address).map(|mac| mac_address(&mac)).transpose()?,
        driver_opts: wire.driver_opts.unwrap_or_default(),
        gateway_priority: wire.gw_priority.unwrap_or_default(),
    })
}

fn mac_address(text: &str) -> Result<engine::model::Mac> {
    text.parse().map_err(|_| Refusal::invalid(format!("invalid MAC address: {text}")))
}

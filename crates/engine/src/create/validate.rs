//! Everything about a request that can be refused without looking at images, networks or volumes.
//!
//! Texts are Docker's wherever Docker refuses the same.

use crate::launch::users::needs_host;
use crate::model::{
    ContainerSpec, EndpointSpec, HealthCommand, HealthSpec, Limits, Mount, MountKind, NamespaceMode,
    NetworkMode, RestartPolicy, Ulimit, UserNamespace,
};
use crate::names;
use crate::parse::{FlagError, RLIMITS};
use diag::{Class, Diagnose};
use oci::image::Platform;
use std::collections::HashSet;
use std::path::Path;
use sys::capability::Capability;

/// A request that no system could honour; the text says which part and why.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidSpec {
    problem: String,
    class: Class,
}

impl InvalidSpec {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), class: Class::Invalid }
    }

    pub(crate) fn unsupported(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), class: Class::Unsupported }
    }
}

impl From<FlagError> for InvalidSpec {
    fn from(error: FlagError) -> Self {
        Self::new(error.to_string())
    }
}

impl Diagnose for InvalidSpec {
    fn class(&self) -> Class {
        self.class
    }
}

type Checked = Result<(), InvalidSpec>;

fn refuse_if(condition: bool, problem: impl FnOnce() -> String) -> Checked {
    if condition { Err(InvalidSpec::new(problem())) } else { Ok(()) }
}

/// Checks the whole request, as creating the container does, for who would rather know before fetching its image.
///
/// # Errors
/// [`InvalidSpec`].
pub fn spec(spec: &ContainerSpec) -> Checked {
    if let Some(name) = &spec.name {
        container_name(name)?;
    }
    refuse_if(spec.image.is_empty(), || "image name cannot be empty".into())?;
    refuse_if(spec.auto_remove && spec.restart != RestartPolicy::No, || {
        "can't create 'AutoRemove' container with restart policy".into()
    })?;
    if let Some(platform) = &spec.platform {
        let (wanted, host) = (Platform::parse(platform), Platform::host());
        let wanted = wanted.map_err(|error| InvalidSpec::new(error.to_string()))?;
        if host.rank(&wanted).is_none() && wanted.rank(&host).is_none() {
            return Err(InvalidSpec::unsupported(format!(
                "platform {platform} cannot run on this {host} host"
            )));
        }
    }
    process(spec)?;
    isolation(spec)?;
    limits(&spec.limits)?;
    mounts(&spec.mounts)?;
    networking(spec)?;
    if let Some(check) = &spec.health {
        health(check)?;
    }
    log(spec)
}

/// Checks `--name`, which may begin with Docker's slash.
pub fn container_name(name: &str) -> Checked {
    refuse_if(!names::is_valid(name.strip_prefix('/').unwrap_or(name)), || {
        format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    })
}

fn process(spec: &ContainerSpec) -> Checked {
    let process = &spec.process;
    for entry in &process.env {
        refuse_if(entry.starts_with('=') || !entry.contains('=') || entry.contains('\0'), || {
            format!("invalid environment variable: {entry}")
        })?;
    }
    if let Some(directory) = &process.working_dir {
        refuse_if(!directory.starts_with('/'), || {
            format!("the working directory '{directory}' is invalid, it needs to be an absolute path")
        })?;
    }
    if let Some(signal) = &process.stop_signal {
        crate::signal::number(signal)?;
    }
    for argument in process.entrypoint.iter().chain(&process.command).flatten() {
        refuse_if(argument.contains('\0'), || {
            format!("invalid argument {argument:?}: it contains a NUL byte")
        })?;
    }
    Ok(())
}

fn isolation(spec: &ContainerSpec) -> Checked {
    let isolation = &spec.isolation;
    for (flag, list) in [("CapAdd", &isolation.cap_add), ("CapDrop", &isolation.cap_drop)] {
        for name in list {
            let known = name.eq_ignore_ascii_case("ALL") || Capability::from_name(name).is_some();
            refuse_if(!known, || format!("invalid {flag}: unknown capability: {name:?}"))?;
        }
    }
    if let Some(hostname) = &isolation.hostname {
        let valid = !hostname.is_empty()
            && hostname.len() <= 63
            && hostname.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            && !hostname.starts_with('-');
        refuse_if(!valid, || format!("invalid hostname format: {hostname}"))?;
        refuse_if(isolation.uts == NamespaceMode::Host, || {
            "conflicting options: hostname and the UTS mode".into()
        })?;
    }
    for (flag, mode) in [("UTS", &isolation.uts), ("cgroup namespace", &isolation.cgroupns)] {
        refuse_if(matches!(mode, NamespaceMode::Container(_)), || format!("invalid {flag} mode"))?;
    }
    if let Some(adjustment) = isolation.oom_score_adj {
        refuse_if(!(-1000..=1000).contains(&adjustment), || {
            format!("Invalid value {adjustment}, range for oom score adj is [-1000, 1000]")
        })?;
    }
    if isolation.users == UserNamespace::Private
        && let Some(flag) = needs_host(isolation, &spec.network.mode)
    {
        return Err(InvalidSpec::new(format!("conflicting options: --userns=private and {flag}")));
    }
    for rule in &isolation.device_rules {
        device_rule(rule)?;
    }
    if let Some(parent) = isolation.cgroup_parent.as_deref().filter(|parent| !parent.is_empty()) {
        let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
        let plain = parts.iter().all(|part| !matches!(*part, "." | "..") && !part.contains('\0'));
        refuse_if(parts.is_empty() || !plain, || {
            format!(
                "invalid cgroup parent {parent:?}: it must be the path of a group below the root of the hierarchy"
            )
        })?;
    }
    sysctls(spec)
}

/// Checks `--device-cgroup-rule`: `c 1:3 mr`, numbers may be `*`.
pub fn device_rule(rule: &str) -> Result<(), InvalidSpec> {
    let valid = || {
        let mut words = rule.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
        (words.next().is_none()
            && matches!(kind, "a" | "b" | "c")
            && number(major)
            && number(minor)
            && (1..=3).contains(&access.len())
            && access.bytes().all(|b| b"rwm".contains(&b)))
        .then_some(())
    };
    refuse_if(valid().is_none(), || format!("invalid device cgroup rule format: '{rule}'"))
}

/// A sysctl must belong to a namespace of the container: anything else would change the host.
fn sysctls(spec: &ContainerSpec) -> Checked {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    for key in spec.isolation.sysctls.keys() {
        let key = key.replace('/', ".");
        if key.starts_with("net.") {
            let foreign = matches!(spec.network.mode, NetworkMode::Host | NetworkMode::Container(_));
            refuse_if(foreign, || {
                format!("sysctl '{key}' not allowed when the network namespace is not the container's own")
            })?;
        } else if IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.") {
            let host = spec.isolation.ipc == crate::model::IpcMode::Host;
            refuse_if(host, || format!("sysctl '{key}' not allowed in host ipc namespace"))?;
        } else {
            return Err(InvalidSpec::new(format!("sysctl {key:?} is not in a separate kernel namespace")));
        }
    }
    Ok(())
}

const MIB: u64 = 1 << 20;

/// Checks limits by themselves, for `create` and `update`.
pub fn limits(limits: &Limits) -> Checked {
    let memory = limits.memory_bytes.filter(|bytes| *bytes > 0);
    refuse_if(memory.is_some_and(|bytes| bytes < 6 * MIB), || "Minimum memory limit allowed is 6MB".into())?;
    if let Some(swap) = limits.memory_swap_bytes.filter(|swap| *swap > 0) {
        let memory = memory.ok_or_else(|| {
            InvalidSpec::new("You should always set the Memory limit when using Memoryswap limit, see usage")
        })?;
        refuse_if((swap as u64) < memory, || {
            "Minimum memoryswap limit should be larger than memory limit, see usage".into()
        })?;
    }
    if let (Some(memory), Some(reservation)) = (memory, limits.memory_reservation_bytes) {
        refuse_if(reservation > memory, || {
            "Minimum memory limit can not be less than memory reservation limit, see usage".into()
        })?;
    }
    if let Some(value) = limits.memory_swappiness {
        refuse_if(value > 100, || format!("Invalid value: {value}, valid memory swappiness range is 0-100"))?;
    }
    cpu(limits)?;
    if let Some(weight) = limits.blkio_weight.filter(|weight| *weight != 0) {
        refuse_if(!(10..=1000).contains(&weight), || "Range of blkio weight is from 10 to 1000".into())?;
    }
    for Ulimit { name, soft, hard } in &limits.ulimits {
        refuse_if(!RLIMITS.contains(&name.as_str()), || format!("invalid ulimit type: {name}"))?;
        refuse_if(*hard != -1 && (*soft == -1 || soft > hard), || {
            format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        })?;
    }
    Ok(())
}

fn cpu(limits: &Limits) -> Checked {
    // Asking costs a dozen system calls; most requests do not need to know.
    let online = || std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(nano) = limits.nano_cpus.filter(|nano| *nano > 0) {
        refuse_if(limits.cpu_period_us.is_some_and(|p| p > 0), || {
            "Conflicting options: Nano CPUs and CPU Period cannot both be set.".into()
        })?;
        refuse_if(limits.cpu_quota_us.is_some_and(|q| q > 0), || {
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set.".into()
        })?;
        let online = online();
        refuse_if(nano < 10_000_000 || nano > online as u64 * 1_000_000_000, || {
            format!("range of CPUs is from 0.01 to {online}.00, as there are only {online} CPUs available")
        })?;
    }
    if let Some(period) = limits.cpu_period_us.filter(|period| *period > 0) {
        refuse_if(!(1000..=1_000_000).contains(&period), || {
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".into()
        })?;
    }
    if let Some(quota) = limits.cpu_quota_us.filter(|quota| *quota > 0) {
        refuse_if(quota < 1000, || "CPU cfs quota can not be less than 1ms (i.e. 1000)".into())?;
    }
    if let Some(set) = limits.cpuset_cpus.as_deref().filter(|set| !set.is_empty()) {
        let highest = cpu_list_maximum(set)
            .ok_or_else(|| InvalidSpec::new(format!("Invalid value {set} for cpuset cpus")))?;
        let online = online();
        refuse_if(highest as usize >= online, || {
            format!("Requested CPUs are not available - requested {set}, available: 0-{}", online - 1)
        })?;
    }
    if let Some(set) = limits.cpuset_mems.as_deref().filter(|set| !set.is_empty()) {
        let highest = cpu_list_maximum(set)
            .ok_or_else(|| InvalidSpec::new(format!("Invalid value {set} for cpuset mems")))?;
        // A kernel that does not tell has one.
        let online = std::fs::read_to_string("/sys/devices/system/node/online");
        let online = online.as_deref().map_or("0", str::trim);
        refuse_if(highest > cpu_list_maximum(online).unwrap_or(0), || {
            format!("Requested memory nodes are not available - requested {set}, available: {online}")
        })?;
    }
    Ok(())
}

fn cpu_list_maximum(set: &str) -> Option<u32> {
    set.split(',')
        .map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (low.trim().parse::<u32>().ok()?, high.trim().parse::<u32>().ok()?);
            (low <= high).then_some(high)
        })
        .try_fold(0, |highest, part| Some(highest.max(part?)))
}

fn mounts(mounts: &[Mount]) -> Checked {
    let mut targets = HashSet::new();
    for mount in mounts {
        let path = Path::new(&mount.target);
        refuse_if(!path.is_absolute(), || {
            format!("invalid mount path: '{}' mount path must be absolute", mount.target)
        })?;
        refuse_if(path == Path::new("/"), || "invalid specification: destination can't be '/'".into())?;
        refuse_if(mount.target.contains('\0'), || format!("invalid mount path: {:?}", mount.target))?;
        refuse_if(!targets.insert(path), || format!("Duplicate mount point: {}", mount.target))?;
        // Other containers can write to the volume: what is looked up in it now could be a link out of it at the start, so this needs
        // a mount by descriptor through the launch plan (the lesson of CVE-2021-25741).
        if let MountKind::Volume { subpath: Some(subpath), .. } = &mount.kind {
            return Err(InvalidSpec::unsupported(format!("volume-subpath is not supported yet: {subpath}")));
        }
        match &mount.kind {
            MountKind::Bind { source, .. } => refuse_if(!source.is_absolute(), || {
                format!(
                    "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
                    source.display()
                )
            })?,
            MountKind::Volume { name: Some(name), .. } => {
                refuse_if(!names::is_valid(name), || names::invalid_volume(name))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn networking(spec: &ContainerSpec) -> Checked {
    let network = &spec.network;
    let conflict = |what: &str, given: bool| {
        refuse_if(given, || format!("conflicting options: {what} and the network mode"))
    };
    match &network.mode {
        NetworkMode::Container(_) => {
            conflict("hostname", spec.isolation.hostname.is_some())?;
            conflict("dns", !network.dns.is_empty() || !network.dns_search.is_empty())?;
            conflict("custom host-to-IP mapping", !network.extra_hosts.is_empty())?;
            refuse_if(!network.publish.is_empty() || network.publish_all, || {
                "conflicting options: port publishing and the container type network mode".into()
            })?;
            refuse_if(!network.expose.is_empty(), || {
                "conflicting options: port exposing and the container type network mode".into()
            })?;
        }
        NetworkMode::Networks(endpoints) => {
            refuse_if(endpoints.is_empty(), || "a container needs a network or `none`".into())?;
            for endpoint in endpoints {
                let special = matches!(endpoint.network.as_str(), "host" | "none")
                    || endpoint.network.starts_with("container:");
                refuse_if(special && endpoints.len() > 1, || {
                    format!(
                        "conflicting options: cannot attach both user-defined and non-user-defined network-modes: {}",
                        endpoint.network
                    )
                })?;
                self::endpoint(endpoint)?;
            }
        }
        NetworkMode::Default | NetworkMode::None | NetworkMode::Host => {}
    }
    let mut taken = HashSet::new();
    for mapping in &network.publish {
        // A range takes whatever is free of it.
        let fixed = mapping.host_port.filter(|_| mapping.host_port_end.is_none());
        let fixed = fixed.map(|port| (mapping.host_ip, port, mapping.container.protocol));
        if let Some(fixed) = fixed {
            refuse_if(!taken.insert(fixed), || {
                format!("host port {}/{} is published twice", fixed.1, fixed.2)
            })?;
        }
    }
    Ok(())
}

/// Checks a place in a network.
///
/// # Errors
/// [`InvalidSpec`].
pub fn endpoint(endpoint: &EndpointSpec) -> Checked {
    if let Some(option) = endpoint.driver_opts.keys().next() {
        return Err(InvalidSpec::unsupported(format!(
            "endpoint option {option} of network {} is not supported yet",
            endpoint.network
        )));
    }
    let mut names = endpoint.aliases.iter().chain(endpoint.links.keys()).chain(endpoint.links.values());
    refuse_if(names.any(|name| name.is_empty() || name.contains(['/', '\0'])), || {
        format!("invalid network alias on network {}", endpoint.network)
    })
}

fn health(check: &HealthSpec) -> Checked {
    const MILLISECOND: u64 = 1_000_000;
    for (what, value) in [
        ("Interval", check.interval_ns),
        ("Timeout", check.timeout_ns),
        ("StartPeriod", check.start_period_ns),
        ("StartInterval", check.start_interval_ns),
    ] {
        refuse_if(value.is_some_and(|ns| ns != 0 && ns < MILLISECOND), || {
            format!("{what} in Healthcheck cannot be less than 1ms")
        })?;
    }
    match &check.test {
        Some(HealthCommand::Exec(argv)) => {
            refuse_if(argv.is_empty(), || "missing command in Healthcheck".into())
        }
        _ => Ok(()),
    }
}

fn log(spec: &ContainerSpec) -> Checked {
    let driver = spec.log.driver.as_deref().unwrap_or("json-file");
    if !matches!(driver, "json-file" | "local" | "none") {
        return Err(InvalidSpec::new(format!(
            "error looking up logging plugin {driver}: plugin {driver:?} not found"
        )));
    }
    for (key, value) in &spec.log.options {
        let invalid = || InvalidSpec::new(format!("invalid value for log option {key}: {value}"));
        match key.as_str() {
            "max-size" => {
                crate::parse::size_bytes(value).ok().filter(|n| *n > 0).ok_or_else(invalid)?;
            }
            "max-file" => {
                value.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(invalid)?;
            }
            "mode" if value == "blocking" => {}
            _ => return Err(InvalidSpec::new(format!("unknown log opt '{key}' for {driver} log driver"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ContainerSpec), expected: &str) {
        let mut request = ContainerSpec { image: "busybox".into(), ..Default::default() };
        change(&mut request);
        assert_eq!(spec(&request).err().map(|e| e.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn refusals_are_dockers() {
        check(|_| {}, "");
        check(|s| s.name = Some("/web".into()), "");
        check(
            |s| s.name = Some("x y".into()),
            "Invalid container name (x y), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        );
        check(
            |s| {
                s.auto_remove = true;
                s.restart = RestartPolicy::Always;
            },
            "can't create 'AutoRemove' container with restart policy",
        );
        check(|s| s.process.stop_signal = Some("WAT".into()), "invalid signal: WAT");
        check(|s| s.isolation.cap_add = vec!["FOO".into()], "invalid CapAdd: unknown capability: \"FOO\"");
        check(|s| s.limits.memory_bytes = Some(1), "Minimum memory limit allowed is 6MB");
        check(
            |s| s.isolation.sysctls = [("kernel.panic".into(), "1".into())].into(),
            "sysctl \"kernel.panic\" is not in a separate kernel namespace",
        );
        check(
            |s| s.isolation.device_rules = vec!["c 1:3".into()],
            "invalid device cgroup rule format: 'c 1:3'",
        );
        check(|s| s.isolation.device_rules = vec!["c 1:* rwm".into()], "");
        check(
            |s| s.log.options = [("tag".into(), "x".into())].into(),
            "unknown log opt 'tag' for json-file log driver",
        );
        check(
            |s| {
                s.network.mode = NetworkMode::Networks(vec![
                    EndpointSpec { network: "host".into(), ..Default::default() },
                    EndpointSpec { network: "a1".into(), ..Default::default() },
                ])
            },
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes: host",
        );
        check(|s| s.limits.cpuset_cpus = Some("0-x".into()), "Invalid value 0-x for cpuset cpus");
    }
}

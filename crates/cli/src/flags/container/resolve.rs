//! From what was typed to [`ContainerSpec`].

use std::path::Path;

use diag::Failure;
use engine::model::{
    BlockRate, ContainerSpec, EndpointSpec, HealthCommand, HealthSpec, Isolation, Labels, Limits, LogSpec,
    Mount, NetworkMode, Networking, ProcessSpec,
};
use engine::{Engine, parse};
use image::{PullOptions, PullPolicy};
use oci::image::Platform;

use super::ContainerFlags;
use crate::flags::env;
use crate::flags::value::{FlagsError, each, labels, map, optional, read, value, wrong};
use crate::output::pull::{Place, progress};

/// The image a container is made of, pulled first where the policy says so.
pub struct WantedImage {
    name: String,
    pub policy: PullPolicy,
    /// Whether the container may begin before its layers are here.
    pub is_lazy: bool,
    /// Where progress is shown.
    pub place: Place,
    options: PullOptions,
}

impl WantedImage {
    /// Has it here when this returns, unless `spec` is nothing a container could be made of.
    pub fn ensure(&self, engine: &Engine, spec: &ContainerSpec) -> Result<(), Failure> {
        engine::create::check(spec)?;
        if self.is_lazy {
            lazy::start(engine.store(), &self.name, self.options.platform.as_ref())?;
        }
        engine.image_ensure(&self.name, self.policy, &self.options)?;
        Ok(())
    }
}

impl ContainerFlags {
    /// The request these flags make.
    pub fn resolve(self) -> Result<ContainerSpec, Failure> {
        self.refuse_unsupported()?;
        let directory = std::env::current_dir().map_err(|source| FlagsError::CurrentDirectory { source })?;
        let mut words = self.image_and_command.iter().cloned();
        let image = words.next().unwrap_or_default();
        let command: Vec<String> = words.collect();
        Ok(ContainerSpec {
            image,
            labels: self.labels()?,
            process: self.process(command)?,
            isolation: self.isolation()?,
            limits: self.limits()?,
            mounts: self.mounts(&directory)?,
            volumes_from: self.volumes_from.clone(),
            network: self.network()?,
            health: self.health()?,
            restart: optional("--restart", &self.restart, parse::restart_policy)?.unwrap_or_default(),
            log: LogSpec { driver: self.log_driver.clone(), options: map("--log-opt", &self.log_opt)? },
            auto_remove: self.rm,
            annotations: map("--annotation", &self.annotation)?,
            id_file: self.cidfile.as_ref().map(|path| path.display().to_string()),
            platform: self.platform.clone(),
            name: self.name,
        })
    }

    fn refuse_unsupported(&self) -> Result<(), FlagsError> {
        let refuse = |flag: String, instead| Err(FlagsError::Unsupported { flag, instead });
        match self.runtime.as_deref() {
            None | Some("" | "hull" | "runc" | "io.containerd.runc.v2") => {}
            Some(other) => return refuse(format!("--runtime={other}"), "hull runs containers itself"),
        }
        Ok(())
    }

    /// The image, and when to pull it.
    pub fn image(&self) -> Result<WantedImage, FlagsError> {
        let place = if self.quiet { Place::Nowhere } else { Place::Stderr };
        let platform = optional("--platform", &self.platform, Platform::parse)?;
        if let (Some(Platform { os, .. }), Some(text)) = (&platform, &self.platform)
            && os != "linux"
        {
            return Err(wrong("--platform", text, "operating system is not supported: it must be linux"));
        }
        Ok(WantedImage {
            name: self.image_and_command.first().cloned().unwrap_or_default(),
            policy: match self.pull.as_deref() {
                None | Some("lazy") => PullPolicy::Missing,
                Some(word) => word.parse()?,
            },
            is_lazy: self.pull.as_deref() == Some("lazy"),
            place,
            options: PullOptions { platform, progress: progress(place), ..PullOptions::default() },
        })
    }

    /// Which of stdin, stdout and stderr are attached by whoever runs the container in the foreground.
    pub fn attached(&self) -> Result<[bool; 3], FlagsError> {
        if self.attach.is_empty() {
            return Ok([self.interactive, true, true]);
        }
        let mut streams = [false; 3];
        for name in &self.attach {
            match name.to_ascii_lowercase().as_str() {
                "stdin" => streams[0] = true,
                "stdout" => streams[1] = true,
                "stderr" => streams[2] = true,
                _ => return Err(wrong("-a, --attach", name, "valid streams are STDIN, STDOUT and STDERR")),
            }
        }
        Ok(streams)
    }

    fn labels(&self) -> Result<Labels, FlagsError> {
        let mut lines = Vec::new();
        for path in &self.label_file {
            let text = read(path)?;
            let meant = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
            lines.extend(text.lines().filter(meant).map(str::to_owned));
        }
        lines.extend(self.label.iter().cloned());
        Ok(labels(&lines))
    }

    fn process(&self, command: Vec<String>) -> Result<ProcessSpec, FlagsError> {
        let (env, unset_env) = env::resolve(&self.env, &self.env_file)?;
        Ok(ProcessSpec {
            entrypoint: self.entrypoint.clone().map(|program| vec![program]),
            command: (!command.is_empty()).then_some(command),
            env,
            unset_env,
            working_dir: self.workdir.clone(),
            user: self.user.clone(),
            groups: self.group_add.clone(),
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: self.interactive,
            attach: self.attached()?,
            init: self.init,
            shell: None,
            stop_signal: self.stop_signal.clone(),
            stop_timeout_s: self.stop_timeout,
            console_size: None,
        })
    }

    fn isolation(&self) -> Result<Isolation, FlagsError> {
        let namespace = |flag, text| {
            optional(flag, text, |text| parse::namespace_mode(flag.trim_start_matches('-'), text))
        };
        let mut isolation = Isolation {
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            privileged: self.privileged,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            read_only: self.read_only,
            pid: namespace("--pid", &self.pid)?.unwrap_or_default(),
            ipc: optional("--ipc", &self.ipc, parse::ipc_mode)?.unwrap_or_default(),
            uts: namespace("--uts", &self.uts)?.unwrap_or_default(),
            cgroupns: namespace("--cgroupns", &self.cgroupns)?.unwrap_or_default(),
            cgroup_parent: self.cgroup_parent.clone(),
            sysctls: map("--sysctl", &self.sysctl)?,
            devices: each("--device", &self.device, parse::device)?,
            device_rules: self.device_cgroup_rule.clone(),
            shm_size_bytes: optional("--shm-size", &self.shm_size, parse::size_bytes)?,
            oom_score_adj: self.oom_score_adj,
            users: optional("--userns", &self.userns, parse::user_namespace)?.unwrap_or_default(),
            ..Isolation::default()
        };
        for option in &self.security_opt {
            value("--security-opt", option, |text| {
                parse::security_opt(&mut isolation, text, |path| std::fs::read_to_string(path))
            })?;
        }
        Ok(isolation)
    }

    fn limits(&self) -> Result<Limits, FlagsError> {
        let memory_swap = |text: &str| match text {
            "-1" => Ok(-1),
            text => parse::size_bytes(text).map(|bytes| bytes as i64),
        };
        Ok(Limits {
            memory_bytes: optional("-m, --memory", &self.memory, parse::size_bytes)?,
            memory_swap_bytes: optional("--memory-swap", &self.memory_swap, memory_swap)?,
            memory_reservation_bytes: optional(
                "--memory-reservation",
                &self.memory_reservation,
                parse::size_bytes,
            )?,
            memory_swappiness: self.memory_swappiness,
            oom_kill_disable: self.oom_kill_disable,
            nano_cpus: optional("--cpus", &self.cpus, parse::cpus)?,
            cpu_shares: self.cpu_shares,
            cpu_period_us: self.cpu_period,
            cpu_quota_us: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit,
            blkio_weight: self.blkio_weight.filter(|weight| *weight != 0),
            read_bps: rates("--device-read-bps", &self.device_read_bps)?,
            write_bps: rates("--device-write-bps", &self.device_write_bps)?,
            read_iops: rates("--device-read-iops", &self.device_read_iops)?,
            write_iops: rates("--device-write-iops", &self.device_write_iops)?,
            ulimits: each("--ulimit", &self.ulimit, parse::ulimit)?,
        })
    }

    fn mounts(&self, directory: &Path) -> Result<Vec<Mount>, FlagsError> {
        let mut mounts = each("-v, --volume", &self.volume, |text| parse::volume(text, directory))?;
        mounts.extend(each("--mount", &self.mount, |text| parse::mount(text, directory))?);
        mounts.extend(each("--tmpfs", &self.tmpfs, parse::tmpfs)?);
        Ok(mounts)
    }

    fn network(&self) -> Result<Networking, FlagsError> {
        Ok(Networking {
            mode: self.network_mode()?,
            publish: each("-p, --publish", &self.publish, parse::ports)?.concat(),
            publish_all: self.publish_all,
            expose: each("--expose", &self.expose, parse::expose)?.concat(),
            dns: each("--dns", &self.dns, str::parse::<std::net::IpAddr>)?,
            dns_search: self.dns_search.clone(),
            dns_options: self.dns_option.clone(),
            extra_hosts: each("--add-host", &self.add_host, parse::extra_host)?,
        })
    }

    /// `--network` and the flags that belong to the first network named: its aliases, address and MAC.
    fn network_mode(&self) -> Result<NetworkMode, FlagsError> {
        let address = optional("--ip", &self.ip, str::parse::<std::net::Ipv4Addr>)?;
        let mac = optional("--mac-address", &self.mac_address, str::parse::<engine::model::Mac>)?;
        let of_one_network = [
            (address.is_some(), "--ip"),
            (!self.network_alias.is_empty(), "--network-alias"),
            (mac.is_some(), "--mac-address"),
            (!self.link.is_empty(), "--link"),
        ];
        let belonging = of_one_network.iter().find(|(given, _)| *given).map(|(_, flag)| *flag);

        let mut endpoints: Vec<EndpointSpec> = Vec::new();
        let mut only = None;
        for text in &self.network {
            match value("--network", text, parse::network)? {
                NetworkMode::Networks(more) => endpoints.extend(more),
                mode => only = Some(mode),
            }
        }
        match (only, belonging) {
            (Some(_), _) if self.network.len() > 1 => {
                return Err(wrong(
                    "--network",
                    &self.network.join(","),
                    "this mode does not combine with others",
                ));
            }
            (Some(NetworkMode::Default) | None, _) => {}
            (Some(_), Some(flag)) => return Err(FlagsError::Conflict { one: flag, other: "--network" }),
            (Some(mode), None) => return Ok(mode),
        }
        if endpoints.is_empty() && belonging.is_none() {
            return Ok(NetworkMode::Default);
        }
        if endpoints.is_empty() {
            endpoints.push(EndpointSpec { network: "bridge".into(), ..EndpointSpec::default() });
        }
        let first = &mut endpoints[0];
        first.aliases.extend(self.network_alias.iter().cloned());
        first.links.extend(each("--link", &self.link, parse::link)?);
        first.ipv4 = first.ipv4.or(address);
        first.mac = first.mac.take().or(mac);
        Ok(NetworkMode::Networks(endpoints))
    }

    fn health(&self) -> Result<Option<HealthSpec>, FlagsError> {
        let test = match (&self.health_cmd, self.no_healthcheck) {
            (Some(_), true) => {
                return Err(FlagsError::Conflict { one: "--no-healthcheck", other: "--health-*" });
            }
            (Some(command), false) => Some(HealthCommand::Shell(command.clone())),
            (None, true) => Some(HealthCommand::Disabled),
            (None, false) => None,
        };
        let health = HealthSpec {
            test,
            interval_ns: optional("--health-interval", &self.health_interval, parse::duration_ns)?,
            timeout_ns: optional("--health-timeout", &self.health_timeout, parse::duration_ns)?,
            start_period_ns: optional(
                "--health-start-period",
                &self.health_start_period,
                parse::duration_ns,
            )?,
            start_interval_ns: optional(
                "--health-start-interval",
                &self.health_start_interval,
                parse::duration_ns,
            )?,
            retries: self.health_retries,
        };
        Ok((health != HealthSpec::default()).then_some(health))
    }
}

/// `device:rate` entries.
fn rates(flag: &'static str, entries: &[String]) -> Result<Vec<BlockRate>, FlagsError> {
    let rate = |entry: &String| {
        let (device, rate) =
            entry.rsplit_once(':').ok_or_else(|| wrong(flag, entry, "must be device:rate"))?;
        Ok(BlockRate { device: device.into(), rate: value(flag, rate, parse::size_bytes)? })
    };
    entries.iter().map(rate).collect()
}

//! From a record to what a monitor is told: the launch plan, and the files that are mounted over the image's.

pub(crate) mod files;
pub(crate) mod limits;
mod mounts;
mod owners;
mod process;
mod spec;
pub(crate) mod users;

pub(crate) use limits::{default_pids, resources};
pub(crate) use process::{capabilities, process, rlimit};
pub(crate) use spec::usual_paths;
pub(crate) use users::reason_for_host;

use crate::engine::Engine;
use crate::ids;
use crate::model::{HealthCommand, IpcMode, NamespaceMode, NetworkMode, RestartPolicy, SeccompChoice};
use crate::network::{self, NetworkError};
use crate::record::{Container, Endpoint, MountSource, NetworkDoc};
use crate::start::StartError;
use monitor::Usage;
use monitor::plan::{HealthPlan, LaunchPlan, LogPlan, Networking, VERSION, health_command};
use net::{EndpointPlan, NetworkPlan};
use oci::runtime::Spec;
use runtime::seccomp::{Profile, Seccomp};
use runtime::{Rootfs, UserSpec};
use std::io;
use std::path::PathBuf;
use store::db::networks;

impl Engine {
    /// The plan to launch `container`, drawn up anew for every start: endpoint ids are fresh, joined containers have new pids.
    pub(crate) fn launch_plan(&self, container: &Container) -> Result<LaunchPlan, StartError> {
        let (spec, process) = (&container.doc.spec, &container.doc.spec.process);
        let data_dir = self.data_dir(&container.id);
        let network = self.networking(container)?;
        let mut oci = self.oci_spec(container, &network)?;
        let users = self.users(container, &mut oci)?;
        let own_files = self.own_files(container, &mut oci);
        let rootfs = Rootfs::Overlay {
            lower: self.store().snapshots().lower_dirs(&container.layers),
            upper: data_dir.join("upper"),
            work: data_dir.join("work"),
            volatile: spec.auto_remove,
        };
        let stop_signal = match &process.stop_signal {
            Some(signal) => crate::signal::number(signal)?,
            None => 15,
        };
        Ok(LaunchPlan {
            version: VERSION,
            id: container.id.to_string(),
            name: container.name.clone(),
            image: spec.image.clone(),
            labels: spec.labels.clone(),
            spec: oci,
            users,
            own_files,
            seccomp: seccomp(container)?,
            user: UserSpec::Named(process.user.clone().unwrap_or_default()),
            extra_groups: process.groups.clone(),
            rootfs,
            cgroup: self.cgroup_name(&container.id),
            cgroup_path: self.cgroup_path(container),
            network,
            log: log_plan(container, data_dir.join("container.log")),
            restart: restart_policy(&spec.restart),
            health: health_plan(container),
            stop_signal,
            stop_timeout_s: process.stop_timeout_s.unwrap_or(10),
            tty: process.tty,
            console_size: process.console_size,
            open_stdin: process.open_stdin,
            stdin_once: process.stdin_once,
            init: process.init,
            auto_remove: spec.auto_remove,
            reap: self.reap_command(container),
            data_dir,
            events: self.events_path(),
            uses: self.uses(container),
        })
    }

    /// The network that a container is on without an endpoint, and the volumes that it mounts.
    fn uses(&self, container: &Container) -> Vec<Usage> {
        let network = match &container.doc.spec.network.mode {
            NetworkMode::Host => Some(("host", "host")),
            NetworkMode::None => Some(("none", "null")),
            _ => None,
        };
        let network = network.map(|(name, driver)| Usage::Network {
            id: self.predefined_id(name).to_string(),
            name: name.to_owned(),
            driver: driver.to_owned(),
        });
        let volumes = container.doc.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(Usage::Volume {
                name: name.clone(),
                target: mount.target.clone(),
                read_only: mount.read_only,
            }),
            _ => None,
        });
        network.into_iter().chain(volumes).collect()
    }

    /// The generated files, when they are this container's own. They are given to its root instead of being mapped, which not
    /// every kernel can do where they are, on a tmpfs.
    fn own_files(&self, container: &Container, spec: &mut Spec) -> Vec<PathBuf> {
        let directory = self.run_dir(&container.id);
        let mut files = Vec::new();
        for mount in &mut spec.mounts {
            let Some(source) = mount.source.as_ref() else { continue };
            if directory.parent().is_some_and(|all| source.starts_with(all)) {
                mount.options.retain(|option| !matches!(option.as_str(), "idmap" | "ridmap"));
            }
            if source.parent() == Some(&directory) {
                files.push(source.clone());
            }
        }
        files
    }

    fn reap_command(&self, container: &Container) -> Vec<String> {
        let roots = self.store().roots();
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        vec!["hull".into(), "reap".into(), path(&roots.data), path(&roots.run), container.id.to_string()]
    }

    fn networking(&self, container: &Container) -> Result<Networking, StartError> {
        let network = &container.doc.spec.network;
        match &network.mode {
            NetworkMode::Host => return Ok(Networking::Host),
            NetworkMode::Container(other) => {
                let pid = self.pid_to_join(other)?;
                return Ok(Networking::Join(format!("/proc/{pid}/ns/net").into()));
            }
            _ => {}
        }
        let plans = self.network_plans(container)?;
        let first = first_route(&plans, &container.doc.endpoints);
        let mut endpoints = Vec::with_capacity(plans.len());
        for (at, (plan, endpoint)) in plans.into_iter().zip(&container.doc.endpoints).enumerate() {
            let endpoint =
                endpoint_plan(container, plan, endpoint, Some(at) == first).map_err(StartError::Random)?;
            endpoints.push(endpoint);
        }
        Ok(Networking::Private {
            context: self.net_context().clone(),
            endpoints,
            publish: publish(container),
            dns_servers: network.dns.clone(),
        })
    }

    /// The networks of a container's endpoints, in their order.
    pub(crate) fn network_plans(&self, container: &Container) -> Result<Vec<NetworkPlan>, NetworkError> {
        if container.doc.endpoints.is_empty() {
            return Ok(Vec::new());
        }
        self.store().database().read(|reader| {
            let mut plans = Vec::with_capacity(container.doc.endpoints.len());
            for endpoint in &container.doc.endpoints {
                let row = networks::by_id(reader, &endpoint.network_id)?
                    .ok_or_else(|| NetworkError::NotFound { name: endpoint.network_name.clone() })?;
                let doc = NetworkDoc::from_json(&row.name, &row.record)?;
                plans.push(network::plan(&row.id, &row.name, &doc));
            }
            Ok(plans)
        })
    }

    /// The pid of the running container whose ipc namespace and `/dev/shm` are to be shared.
    fn pid_with_ipc(&self, other: &str) -> Result<i32, StartError> {
        let donor = self.find(other)?;
        match donor.doc.spec.isolation.ipc {
            IpcMode::Shareable | IpcMode::Host => self.pid_to_join(other),
            _ => Err(StartError::JoinIpc { name: donor.name }),
        }
    }

    /// The pid of the running container whose namespace is to be joined.
    fn pid_to_join(&self, other: &str) -> Result<i32, StartError> {
        let other = self.find(other)?;
        let state = self.observe(&other)?.state;
        if state.pid == 0 {
            return Err(StartError::JoinStopped { name: other.name });
        }
        Ok(state.pid)
    }
}

/// The endpoint whose gateway becomes the default route: the highest priority, then the first, among networks with a way out.
fn first_route(plans: &[NetworkPlan], endpoints: &[Endpoint]) -> Option<usize> {
    let candidates = plans.iter().zip(endpoints).enumerate().filter(|(_, (plan, _))| !plan.internal);
    candidates.min_by_key(|(at, (_, endpoint))| (-endpoint.gateway_priority, *at)).map(|(at, _)| at)
}

/// One endpoint for a start: a fresh id, and every name it answers to.
pub(crate) fn endpoint_plan(
    container: &Container,
    network: NetworkPlan,
    endpoint: &Endpoint,
    default_route: bool,
) -> io::Result<EndpointPlan> {
    let names = if network.dns { dns_names(container, endpoint) } else { Vec::new() };
    Ok(EndpointPlan {
        id: ids::random()?,
        network,
        address: endpoint.address,
        mac: endpoint.mac,
        interface: endpoint.interface.clone(),
        names,
        links: endpoint.links.clone(),
        default_route,
        may_forge: configures_its_network(container),
    })
}

/// Whether the container may give itself addresses, and so may send under them.
fn configures_its_network(container: &Container) -> bool {
    let spec = &container.doc.spec;
    spec.isolation.privileged || capabilities(spec).contains(&sys::capability::Capability::NET_ADMIN)
}

/// What a container answers to on a user-defined network: its name, its aliases, its short id, its host name.
pub(crate) fn dns_names(container: &Container, endpoint: &Endpoint) -> Vec<String> {
    let mut names = vec![container.name.clone()];
    let hostname = container.doc.spec.isolation.hostname.clone();
    let others = endpoint.aliases.iter().cloned().chain([container.id.short().to_owned()]).chain(hostname);
    for name in others {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn publish(container: &Container) -> Vec<net::Publish> {
    let network = &container.doc.spec.network;
    if container.doc.endpoints.is_empty() {
        return Vec::new();
    }
    let mut publish: Vec<net::Publish> = network
        .publish
        .iter()
        .map(|mapping| net::Publish {
            host_ip: mapping.host_ip,
            host_port: mapping.host_port,
            container_port: mapping.container.number,
            protocol: mapping.container.protocol,
        })
        .collect();
    if network.publish_all {
        for port in &network.expose {
            let given = network.publish.iter().any(|mapping| mapping.container == *port);
            if !given {
                publish.push(net::Publish {
                    host_ip: None,
                    host_port: None,
                    container_port: port.number,
                    protocol: port.protocol,
                });
            }
        }
    }
    publish
}

/// The monitor's word for a restart policy.
pub(crate) fn restart_policy(policy: &RestartPolicy) -> monitor::plan::RestartPolicy {
    use monitor::plan::RestartPolicy as Plan;
    match policy {
        RestartPolicy::No => Plan::No,
        RestartPolicy::Always => Plan::Always,
        RestartPolicy::UnlessStopped => Plan::UnlessStopped,
        RestartPolicy::OnFailure { max } => Plan::OnFailure { max: *max },
    }
}

fn seccomp(container: &Container) -> Result<Seccomp, StartError> {
    let isolation = &container.doc.spec.isolation;
    match &isolation.seccomp {
        SeccompChoice::Default if isolation.privileged => Ok(Seccomp::Unconfined),
        SeccompChoice::Default => Ok(Seccomp::Default),
        SeccompChoice::Unconfined => Ok(Seccomp::Unconfined),
        SeccompChoice::Profile(text) => Ok(Seccomp::Profile(Box::new(Profile::parse(text.as_bytes())?))),
    }
}

fn log_plan(container: &Container, path: std::path::PathBuf) -> LogPlan {
    let log = &container.doc.spec.log;
    if log.driver.as_deref() == Some("none") {
        return LogPlan::None;
    }
    let option = |key: &str| log.options.get(key);
    let max_bytes = option("max-size").and_then(|text| crate::parse::size_bytes(text).ok());
    let max_files = option("max-file").and_then(|text| text.parse().ok());
    LogPlan::JsonFile {
        path,
        max_bytes: max_bytes.unwrap_or(monitor::logs::DEFAULT_MAX_BYTES),
        // Docker keeps one file when only a size is given.
        max_files: max_files.unwrap_or(match max_bytes {
            Some(_) => 1,
            None => monitor::logs::DEFAULT_MAX_FILES,
        }),
    }
}

fn health_plan(container: &Container) -> Option<HealthPlan> {
    let health = container.doc.spec.health.as_ref()?;
    let test = match health.test.as_ref()? {
        HealthCommand::Disabled => return None,
        HealthCommand::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        HealthCommand::Exec(argv) => [&["CMD".to_owned()][..], argv].concat(),
    };
    let mut plan = HealthPlan::new(health_command(&test, container.doc.shell.as_deref())?);
    let set = |field: &mut u64, value: Option<u64>| *field = value.filter(|ns| *ns > 0).unwrap_or(*field);
    set(&mut plan.interval_ns, health.interval_ns);
    set(&mut plan.timeout_ns, health.timeout_ns);
    set(&mut plan.start_period_ns, health.start_period_ns);
    set(&mut plan.start_interval_ns, health.start_interval_ns);
    plan.retries = health.retries.filter(|retries| *retries > 0).unwrap_or(plan.retries);
    Some(plan)
}

/// Whether the container has a UTS namespace, and thus a host name, of its own.
pub(crate) fn has_own_hostname(container: &Container) -> bool {
    container.doc.spec.isolation.uts != NamespaceMode::Host
}

/// Gives a process every capability its caller has (`exec --privileged`).
pub(crate) fn grant_everything(process: &mut oci::runtime::Process) {
    let own = sys::capability::bounding();
    process.capabilities = Some(runtime::capabilities(own.iter()));
    process.no_new_privileges = false;
}

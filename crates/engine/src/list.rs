//! Listing and inspecting containers.

use crate::create::argv;
use crate::engine::Engine;
use crate::launch::dns_names;
use crate::lookup::{LookupError, state_of};
use crate::model::{
    ContainerInspect, ContainerState, ContainerSummary, EndpointInfo, Filters, FiltersError, ListOptions,
    MountPoint, NetworkId, NetworkMode, Port, PublishedPort, Status,
};
use crate::record::{Container, MountSource, NetworkDoc, ResolvedMount};
use crate::view::{network_mode, propagation};
use diag::{Class, Diagnose};
use monitor::state::{Observed, State};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use store::DatabaseError;
use store::db::{containers, networks};

/// Why containers could not be listed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ListError {
    #[error(transparent)]
    Filter(#[from] FiltersError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for ListError {
    fn class(&self) -> Class {
        match self {
            Self::Filter(error) => error.class(),
            Self::Lookup(error) => error.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Filter(error) => error.hint(),
            Self::Lookup(error) => error.hint(),
            Self::Database(error) => error.hint(),
        }
    }
}

const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "label!", "name",
    "network", "publish", "since", "status", "volume",
];

impl Engine {
    /// The containers that match, newest first.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>, ListError> {
        let filters = &options.filters;
        filters.allow(FILTERS)?;
        for status in filters.values("status") {
            let known = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
            if !known.contains(&status.as_str()) {
                return Err(FiltersError::BadValue { key: "status".into(), value: status.clone() }.into());
            }
        }
        // As in Docker, a filter on the state asks about all states.
        let all = options.all || options.last.is_some() || filters.has("status") || filters.has("exited");
        let bounds = Bounds::new(self, filters)?;
        let rows = self.store().database().read(containers::list)?;
        self.sweep(&rows.iter().map(|row| row.id.as_str()).collect());
        let mut found = Vec::new();
        for row in rows {
            let container = Container::from_row(row).map_err(LookupError::from)?;
            if !bounds.contains(container.created_ns) || !matches_record(&container, filters) {
                continue;
            }
            let observed = match self.observe(&container) {
                // It has just removed itself.
                Err(LookupError::NotFound { .. }) => continue,
                observed => observed?,
            };
            let state = state_of(&observed.state);
            if !(all || state.status.is_running()) || !matches_state(&state, filters)? {
                continue;
            }
            let summary = self.summary(container, &observed, state);
            // As Docker has it, one is about the host's ports and the other about the container's.
            let published = |wanted: &str| {
                let on_host = |port: &PublishedPort| Port { number: port.host_port, ..port.container };
                summary.ports.iter().any(|port| port_matches(&on_host(port), wanted))
            };
            let exposed = |wanted: &str| {
                let ports = summary.ports.iter().map(|port| &port.container).chain(&summary.exposed);
                ports.into_iter().any(|port| port_matches(port, wanted))
            };
            if !filters.any("publish", published) || !filters.any("expose", exposed) {
                continue;
            }
            found.push(summary);
            if options.last.is_some_and(|last| found.len() >= last) {
                break;
            }
        }
        self.add_gateways(found.iter_mut().map(|summary| &mut summary.networks))?;
        if options.size {
            for summary in &mut found {
                // One that has been removed since has none any more.
                summary.size = match self.sizes(summary.id.as_str()) {
                    Err(LookupError::NotFound { .. }) => None,
                    sizes => Some(sizes?),
                };
            }
        }
        Ok(found)
    }

    fn summary(&self, container: Container, observed: &Observed, state: ContainerState) -> ContainerSummary {
        ContainerSummary {
            argv: argv(&container.doc.spec),
            ports: published(observed),
            exposed: container.doc.spec.network.expose.clone(),
            mounts: self.mount_points(&container),
            networks: self.endpoint_infos(&container, &observed.state),
            network_mode: network_mode(&container.doc.spec.network.mode),
            annotations: container.doc.spec.annotations.clone(),
            image_id: container.image_id(),
            image: container.doc.spec.image.clone(),
            labels: container.doc.spec.labels.clone(),
            created_ns: container.created_ns,
            name: container.name,
            id: container.id,
            state,
            size: None,
        }
    }

    /// Everything about one container.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn inspect(&self, name: &str) -> Result<ContainerInspect, LookupError> {
        let container = self.find(name)?;
        let observed = self.observe(&container)?;
        let state = state_of(&observed.state);
        let (run_dir, data_dir) = (self.run_dir(&container.id), self.data_dir(&container.id));
        let mut networks = self.endpoint_infos(&container, &observed.state);
        self.add_gateways([&mut networks])?;
        let own_users = (observed.state.pid != 0).then_some(observed.state.first_id.is_some());
        let log = container.doc.spec.log.driver.as_deref() != Some("none");
        Ok(ContainerInspect {
            argv: argv(&container.doc.spec),
            image_id: container.image_id(),
            restart_count: observed.state.restart_count,
            mounts: self.mount_points(&container),
            networks,
            ports: published(&observed),
            log_path: log.then(|| data_dir.join("container.log")),
            overlay: (
                self.store().snapshots().lower_dirs(&container.layers),
                data_dir.join("upper"),
                data_dir.join("work"),
            ),
            given_up: self.given_up(&container, own_users),
            execs: self.exec_ids(&container.id),
            spec: container.doc.spec,
            id: container.id,
            name: container.name,
            created_ns: container.created_ns,
            state,
            data_dir,
            run_dir,
            size: None,
        })
    }

    /// As [`Engine::inspect`], with the container's sizes.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn inspect_sized(&self, name: &str) -> Result<ContainerInspect, LookupError> {
        let mut inspect = self.inspect(name)?;
        inspect.size = Some(self.sizes(inspect.id.as_str())?);
        Ok(inspect)
    }

    /// Bytes a container wrote, and bytes of its whole root.
    fn sizes(&self, id: &str) -> Result<(u64, u64), LookupError> {
        let container = self.find(id)?;
        let written = store::file_bytes(&self.data_dir(&container.id).join("upper"));
        let image = match &container.image {
            Some(image) => self.store().database().read(|reader| store::db::images::get(reader, image))?,
            None => None,
        };
        Ok((written, written + image.map_or(0, |image| image.size)))
    }

    pub(crate) fn mount_points(&self, container: &Container) -> Vec<MountPoint> {
        let mounts = container.doc.mounts.iter();
        mounts.filter(|m| !is_tmpfs_flag(m)).map(|mount| self.mount_point(mount)).collect()
    }

    fn mount_point(&self, mount: &ResolvedMount) -> MountPoint {
        let point = |kind| MountPoint {
            kind,
            name: None,
            source: None,
            target: mount.target.clone(),
            driver: None,
            mode: mount.mode.clone(),
            read_only: mount.read_only,
            propagation: String::new(),
        };
        match &mount.source {
            MountSource::Bind { path, propagation: spread, .. } => MountPoint {
                source: Some(path.clone()),
                propagation: spread.map_or("rprivate", propagation).into(),
                ..point("bind")
            },
            MountSource::Volume { name, .. } => MountPoint {
                name: Some(name.clone()),
                source: Some(self.store().volume_dir(name)),
                driver: Some("local".into()),
                ..point("volume")
            },
            MountSource::Tmpfs { .. } => point("tmpfs"),
        }
    }

    /// A container's endpoints by network name; ids and addresses only while it runs, as in Docker.
    pub(crate) fn endpoint_infos(
        &self,
        container: &Container,
        state: &State,
    ) -> BTreeMap<String, EndpointInfo> {
        let running = state.status.is_active();
        let mut infos = BTreeMap::new();
        for endpoint in &container.doc.endpoints {
            let is_default = endpoint.network_name == crate::network::DEFAULT_NETWORK;
            let info = EndpointInfo {
                network_id: NetworkId::from_string(endpoint.network_id.clone()),
                address: running.then_some(endpoint.address),
                prefix: 0,
                gateway: None,
                endpoint_id: state.endpoints.get(&endpoint.network_name).cloned().unwrap_or_default(),
                mac: if running { endpoint.mac.to_string() } else { String::new() },
                aliases: endpoint.aliases.clone(),
                links: endpoint.links.clone(),
                dns_names: if is_default { Vec::new() } else { dns_names(container, endpoint) },
                wanted_address: endpoint.wanted,
                gateway_priority: endpoint.gateway_priority,
            };
            infos.insert(endpoint.network_name.clone(), info);
        }
        if let mode @ (NetworkMode::Host | NetworkMode::None) = &container.doc.spec.network.mode {
            let name = network_mode(mode);
            let info = EndpointInfo { network_id: self.predefined_id(&name), ..EndpointInfo::default() };
            infos.insert(name, info);
        }
        infos
    }

    /// Completes the endpoints of containers by what is known of their networks.
    fn add_gateways<'i>(
        &self,
        containers: impl IntoIterator<Item = &'i mut BTreeMap<String, EndpointInfo>>,
    ) -> Result<(), LookupError> {
        let endpoints = containers.into_iter().flatten().filter(|(_, info)| info.address.is_some());
        let mut endpoints = endpoints.peekable();
        if endpoints.peek().is_none() {
            return Ok(());
        }
        let mut known = HashMap::new();
        for row in self.store().database().read(networks::list)? {
            let doc = NetworkDoc::from_json(&row.name, &row.record)?;
            known.insert(row.name, (doc.subnet.prefix(), doc.gateway));
        }
        for (name, info) in endpoints {
            if let Some((prefix, gateway)) = known.get(name) {
                (info.prefix, info.gateway) = (*prefix, Some(*gateway));
            }
        }
        Ok(())
    }
}

/// `--tmpfs` is in `HostConfig.Tmpfs` only; Docker lists such mounts nowhere else.
fn is_tmpfs_flag(mount: &ResolvedMount) -> bool {
    mount.syntax == crate::model::MountSyntax::Tmpfs
}

fn published(observed: &Observed) -> Vec<PublishedPort> {
    let mut ports: Vec<PublishedPort> = observed
        .state
        .ports
        .iter()
        .map(|port| PublishedPort {
            container: Port { number: port.container_port, protocol: port.protocol },
            host_ip: port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            host_port: port.host_port,
        })
        .collect();
    ports.sort();
    ports
}

/// `before=` and `since=`: creation times of other containers.
struct Bounds {
    before: Option<i64>,
    since: Option<i64>,
}

impl Bounds {
    fn new(engine: &Engine, filters: &Filters) -> Result<Self, LookupError> {
        let time = |key: &str| match filters.values(key).first() {
            Some(name) => engine.find(name).map(|container| Some(container.created_ns)),
            None => Ok(None),
        };
        Ok(Self { before: time("before")?, since: time("since")? })
    }

    fn contains(&self, created_ns: i64) -> bool {
        self.before.is_none_or(|before| created_ns < before)
            && self.since.is_none_or(|since| created_ns > since)
    }
}

/// The filters that need no look at the process.
fn matches_record(container: &Container, filters: &Filters) -> bool {
    let spec = &container.doc.spec;
    filters.any("id", |wanted| container.id.as_str().starts_with(wanted))
        && filters.any("name", |wanted| name_matches(&container.name, wanted))
        && filters.labels(&spec.labels)
        && filters.any("ancestor", |wanted| {
            let id = container.image_id();
            let tagged = spec.image == wanted
                || spec.image.split_once(':').is_some_and(|(n, t)| n == wanted && t == "latest");
            tagged
                || id == wanted
                || id.strip_prefix("sha256:").is_some_and(|hex| wanted.len() >= 4 && hex.starts_with(wanted))
        })
        && filters.any("network", |wanted| {
            container
                .doc
                .endpoints
                .iter()
                .any(|endpoint| endpoint.network_name == wanted || endpoint.network_id.starts_with(wanted))
                || network_mode(&spec.network.mode) == wanted
        })
        && filters.any("volume", |wanted| {
            container.doc.mounts.iter().any(|mount| match &mount.source {
                MountSource::Volume { name, .. } => name == wanted || mount.target == wanted,
                _ => mount.target == wanted,
            })
        })
        && filters.any("is-task", |wanted| wanted == "false" || wanted == "0")
}

/// Docker takes a regular expression; this understands anchors, and otherwise looks for the text.
pub(crate) fn name_matches(name: &str, pattern: &str) -> bool {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    let (start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest.strip_prefix('/').unwrap_or(rest)),
        None => (false, pattern),
    };
    match (start, rest.strip_suffix('$')) {
        (true, Some(exact)) => name == exact,
        (true, None) => name.starts_with(rest),
        (false, Some(end)) => name.ends_with(end),
        (false, None) => name.contains(rest),
    }
}

fn matches_state(state: &ContainerState, filters: &Filters) -> Result<bool, FiltersError> {
    for code in filters.values("exited") {
        if code.parse::<i32>().is_err() {
            return Err(FiltersError::BadValue { key: "exited".into(), value: code.clone() });
        }
    }
    let health = state.health.as_ref().map_or("none", |health| health.status.as_str());
    Ok(filters.any("status", |wanted| state.status.as_str() == wanted)
        && filters
            .any("exited", |code| state.status == Status::Exited && code.parse() == Ok(state.exit_code))
        && filters.any("health", |wanted| health == wanted))
}

/// `80`, `80/tcp` or `8000-8080[/tcp]`.
fn port_matches(port: &Port, wanted: &str) -> bool {
    crate::parse::expose(wanted).is_ok_and(|ports| ports.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_patterns() {
        fn check(pattern: &str, expected: bool) {
            assert_eq!(name_matches("web-1", pattern), expected, "{pattern}");
        }
        check("web", true);
        check("^/web-1$", true);
        check("^web$", false);
        check("1$", true);
        check("eb-", true);
        check("db", false);
    }
}

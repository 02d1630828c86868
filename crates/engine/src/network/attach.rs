//! Connecting existing containers to networks and taking them off.

use super::{NetworkError, find_row, plan};
use crate::create::{self, validate};
use crate::engine::Engine;
use crate::model::{ContainerId, EndpointSpec, NetworkMode};
use crate::record::{Container, Endpoint, NetworkDoc};
use crate::{events, launch};
use store::Durability;
use store::db::{containers, leases, networks};

impl Engine {
    /// Attaches a container, running or not, to one more network.
    ///
    /// # Errors
    /// [`NetworkError`]; the container's networks are then as before.
    pub fn network_connect(&self, network: &str, name: &str, spec: EndpointSpec) -> Result<(), NetworkError> {
        validate::endpoint(&spec)?;
        if network == super::DEFAULT_NETWORK {
            self.ensure_default_network()?;
        }
        let (mut container, lock) = self.find_locked(name)?;
        if matches!(
            container.doc.spec.network.mode,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_)
        ) || matches!(network, "host" | "none")
        {
            let mode = crate::view::network_mode(&container.doc.spec.network.mode);
            return Err(NetworkError::ForeignMode { container: container.name, mode });
        }
        let running = self.observe_locked(&container, &lock)?.state.status.is_active();
        let (network_plan, endpoint) = self.store().database().write(Durability::Full, |writer| {
            let row = find_row(writer, network)?;
            if container.doc.endpoints.iter().any(|endpoint| endpoint.network_id == row.id) {
                return Err(NetworkError::AlreadyAttached {
                    container: container.name.clone(),
                    network: row.name,
                });
            }
            let doc = NetworkDoc::from_json(&row.name, &row.record)?;
            let interface = free_interface(&container.doc.endpoints);
            let endpoint = create::lease(writer, &container.id, &spec, &row.id, &row.name, &doc, interface)?;
            container.doc.endpoints.push(endpoint.clone());
            containers::update(writer, container.id.as_str(), &container.doc.to_json())?;
            Ok((plan(&row.id, &row.name, &doc), endpoint))
        })?;
        if running {
            let connected = self.connect_running(&container, &network_plan, &endpoint);
            if let Err(error) = connected {
                self.forget_endpoint(&mut container, &endpoint.network_id)?;
                return Err(error);
            }
            // One that does not run is on its networks from its start on, and then its monitor tells of it.
            let event = events::network(&endpoint.network_id, &endpoint.network_name, "connect");
            self.emit(&event.with("container", container.id.as_str()));
        }
        Ok(())
    }

    fn connect_running(
        &self,
        container: &Container,
        network: &net::NetworkPlan,
        endpoint: &Endpoint,
    ) -> Result<(), NetworkError> {
        let plan = launch::endpoint_plan(container, network.clone(), endpoint, false)
            .map_err(NetworkError::Random)?;
        monitor::client::connect(&self.run_dir(&container.id))?.connect_network(plan)?;
        launch::files::rewrite_resolv_conf(self, container).map_err(|source| NetworkError::File {
            container: container.name.clone(),
            file: "resolv.conf",
            source,
        })
    }

    /// Takes a container off a network. `force` is content when it is not on it.
    ///
    /// # Errors
    /// [`NetworkError::NotAttached`].
    pub fn network_disconnect(&self, network: &str, name: &str, force: bool) -> Result<(), NetworkError> {
        let (mut container, lock) = self.find_locked(name)?;
        let row = match self.store().database().read(|reader| find_row(reader, network)) {
            Err(NetworkError::NotFound { .. }) => {
                // Removed while the container was stopped: what is left is the wish to join it again.
                let mut endpoints = container.doc.endpoints.iter();
                let left = endpoints.find(|left| left.network_name == network || left.network_id == network);
                let Some(id) = left.map(|left| left.network_id.clone()) else {
                    return Err(NetworkError::NotFound { name: network.to_owned() });
                };
                return self.forget_endpoint(&mut container, &id);
            }
            found => found?,
        };
        if !container.doc.endpoints.iter().any(|endpoint| endpoint.network_id == row.id) {
            let container = container.name;
            return if force {
                Ok(())
            } else {
                Err(NetworkError::NotAttached { container, network: row.name })
            };
        }
        if self.observe_locked(&container, &lock)?.state.status.is_active() {
            monitor::client::connect(&self.run_dir(&container.id))?.disconnect_network(&row.id)?;
        }
        self.forget_endpoint(&mut container, &row.id)?;
        let event = events::network(&row.id, &row.name, "disconnect");
        self.emit(&event.with("container", container.id.as_str()));
        Ok(())
    }

    /// Takes a place on those of a stopped container's networks that were removed, and made anew under their names, meanwhile.
    ///
    /// # Errors
    /// [`NetworkError::NotFound`] for one that was not made anew.
    pub(crate) fn rejoin_networks(&self, container: &mut Container) -> Result<(), NetworkError> {
        let gone: Vec<usize> = self.store().database().read(|reader| {
            let mut gone = Vec::new();
            for (at, endpoint) in container.doc.endpoints.iter().enumerate() {
                if networks::by_id(reader, &endpoint.network_id)?.is_none() {
                    gone.push(at);
                }
            }
            Ok::<_, NetworkError>(gone)
        })?;
        if gone.is_empty() {
            return Ok(());
        }
        let mut document = container.doc.clone();
        self.store().database().write(Durability::Full, |writer| {
            for at in gone {
                let old = &mut document.endpoints[at];
                let row = networks::by_name(writer, &old.network_name)?
                    .ok_or_else(|| NetworkError::NotFound { name: old.network_name.clone() })?;
                let doc = NetworkDoc::from_json(&row.name, &row.record)?;
                let spec = EndpointSpec {
                    network: row.name.clone(),
                    aliases: old.aliases.clone(),
                    links: old.links.clone(),
                    ipv4: old.wanted,
                    // One that was made from the address goes with the address.
                    mac: Some(old.mac).filter(|mac| *mac != net::Mac::for_address(old.address)),
                    gateway_priority: old.gateway_priority,
                    ..EndpointSpec::default()
                };
                let interface = old.interface.clone();
                *old = create::lease(writer, &container.id, &spec, &row.id, &row.name, &doc, interface)?;
            }
            containers::update(writer, container.id.as_str(), &document.to_json())?;
            Ok::<_, NetworkError>(())
        })?;
        container.doc = document;
        Ok(())
    }

    fn forget_endpoint(&self, container: &mut Container, network_id: &str) -> Result<(), NetworkError> {
        container.doc.endpoints.retain(|endpoint| endpoint.network_id != network_id);
        let (id, document): (&ContainerId, _) = (&container.id, container.doc.to_json());
        self.store().database().write(Durability::Full, |writer| {
            leases::release(writer, network_id, id.as_str())?;
            containers::update(writer, id.as_str(), &document)?;
            Ok(())
        })
    }
}

/// The first `eth<n>` that no endpoint has.
fn free_interface(endpoints: &[Endpoint]) -> String {
    (0..)
        .map(|n| format!("eth{n}"))
        .find(|name| !endpoints.iter().any(|endpoint| endpoint.interface == *name))
        .expect("there are more numbers than endpoints")
}

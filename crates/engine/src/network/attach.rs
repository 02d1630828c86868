//! Connecting existing containers to networks and taking them off.

use super::{NetworkError, find_row, plan};
use crate::create;
use crate::engine::Engine;
use crate::model::{ContainerId, EndpointSpec, NetworkMode};
use crate::record::{Container, Endpoint, NetworkDoc};
use crate::{events, launch};
use store::Durability;
use store::db::{containers, leases};

impl Engine {
    /// Attaches a container, running or not, to one more network.
    ///
    /// # Errors
    /// [`NetworkError`]; the container's networks are then as before.
    pub fn network_connect(&self, network: &str, name: &str, spec: EndpointSpec) -> Result<(), NetworkError> {
        if network == super::DEFAULT_NETWORK {
            self.ensure_default_network()?;
        }
        let (mut container, _lock) = self.find_locked(name)?;
        if matches!(
            container.doc.spec.network.mode,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_)
        ) || matches!(network, "host" | "none")
        {
            let mode = crate::view::network_mode(&container.doc.spec.network.mode);
            return Err(NetworkError::ForeignMode { container: container.name, mode });
        }
        let running = self.observe(&container)?.state.status.is_active();
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
        }
        let event = events::network(&endpoint.network_id, &endpoint.network_name, "connect");
        self.emit(&event.with("container", container.id.as_str()));
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
        let (mut container, _lock) = self.find_locked(name)?;
        let row = self.store().database().read(|reader| find_row(reader, network))?;
        if !container.doc.endpoints.iter().any(|endpoint| endpoint.network_id == row.id) {
            let container = container.name;
            return if force {
                Ok(())
            } else {
                Err(NetworkError::NotAttached { container, network: row.name })
            };
        }
        if self.observe(&container)?.state.status.is_active() {
            monitor::client::connect(&self.run_dir(&container.id))?.disconnect_network(&row.id)?;
        }
        self.forget_endpoint(&mut container, &row.id)?;
        let event = events::network(&row.id, &row.name, "disconnect");
        self.emit(&event.with("container", container.id.as_str()));
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

//! Listing, inspecting and pruning networks.

use super::{DEFAULT_NETWORK, NetworkError, find_row};
use crate::engine::Engine;
use crate::events;
use crate::list::name_matches;
use crate::lookup::LookupError;
use crate::model::{EndpointInfo, Filters, NetworkId, NetworkInfo, Pruned};
use crate::record::{Container, NetworkDoc};
use crate::time;
use std::collections::HashMap;
use store::db::networks::{self, NetworkRecord as Row};
use store::db::{Reader, containers, leases};

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until"];

/// A row as callers see it.
pub(super) fn info(row: &Row, doc: &NetworkDoc) -> Result<NetworkInfo, NetworkError> {
    Ok(NetworkInfo {
        id: NetworkId::from_string(row.id.clone()),
        name: row.name.clone(),
        driver: "bridge".into(),
        created_ns: row.created_ns,
        subnet: Some(doc.subnet),
        gateway: Some(doc.gateway),
        ip_range: doc.spec.ip_range,
        aux_addresses: doc.spec.aux_addresses.clone(),
        internal: doc.spec.internal,
        attachable: doc.spec.attachable,
        options: doc.spec.options.clone(),
        labels: doc.spec.labels.clone(),
        containers: Vec::new(),
    })
}

impl Engine {
    /// The networks that match: the predefined ones, then the user's, oldest first.
    ///
    /// # Errors
    /// [`NetworkError::Filter`] for filters networks do not have.
    pub fn networks(&self, filters: &Filters) -> Result<Vec<NetworkInfo>, NetworkError> {
        filters.allow(FILTERS)?;
        let dangling = filters.flag("dangling")?;
        let (rows, used) = self.store().database().read(|reader| {
            let mut used: HashMap<String, usize> = HashMap::new();
            for lease in leases::list(reader)? {
                *used.entry(lease.network).or_default() += 1;
            }
            Ok::<_, NetworkError>((networks::list(reader)?, used))
        })?;
        let mut all = vec![self.predefined("host"), self.predefined("none")];
        if !rows.iter().any(|row| row.name == DEFAULT_NETWORK) {
            // The first container that needs it makes it.
            all.push(self.predefined(DEFAULT_NETWORK));
        }
        for row in &rows {
            all.push(info(row, &NetworkDoc::from_json(&row.name, &row.record)?)?);
        }
        all.retain(|network| {
            let kind = if network.is_predefined() { "builtin" } else { "custom" };
            filters.any("name", |wanted| name_matches(&network.name, wanted))
                && filters.any("id", |wanted| network.id.as_str().starts_with(wanted))
                && filters.any("driver", |wanted| network.driver == wanted)
                && filters.any("type", |wanted| kind == wanted)
                && filters.any("scope", |wanted| wanted == "local")
                && filters.labels(&network.labels)
                && dangling.is_none_or(|wanted| {
                    wanted != (network.is_predefined() || used.contains_key(network.id.as_str()))
                })
        });
        all.sort_by_key(|network| {
            // The predefined ones by name, whether the bridge is there yet or not.
            let since_ns = if network.is_predefined() { 0 } else { network.created_ns };
            (!network.is_predefined(), since_ns, network.name.clone())
        });
        Ok(all)
    }

    /// One network with the containers that run on it.
    ///
    /// # Errors
    /// [`NetworkError::NotFound`].
    pub fn network_inspect(&self, name: &str) -> Result<NetworkInfo, NetworkError> {
        if matches!(name, "host" | "none") {
            return Ok(self.predefined(name));
        }
        if name == DEFAULT_NETWORK {
            self.ensure_default_network()?;
        }
        for predefined in ["host", "none"] {
            let id = self.predefined_id(predefined);
            if name.len() >= 12 && id.as_str().starts_with(name) {
                return Ok(self.predefined(predefined));
            }
        }
        let (row, members) = self.store().database().read(|reader| {
            let row = find_row(reader, name)?;
            let members = members(reader, &row.id)?;
            Ok::<_, NetworkError>((row, members))
        })?;
        let doc = NetworkDoc::from_json(&row.name, &row.record)?;
        let mut network = info(&row, &doc)?;
        for container in members {
            let state = match self.observe(&container) {
                // It has just removed itself.
                Err(LookupError::NotFound { .. }) => continue,
                observed => observed?.state,
            };
            if !state.status.is_active() {
                continue;
            }
            let endpoints = self.endpoint_infos(&container, &state);
            if let Some(endpoint) =
                endpoints.into_values().find(|e: &EndpointInfo| e.network_id == network.id)
            {
                let endpoint =
                    EndpointInfo { prefix: doc.subnet.prefix(), gateway: Some(doc.gateway), ..endpoint };
                network.containers.push((container.id.clone(), container.name.clone(), endpoint));
            }
        }
        Ok(network)
    }

    /// Removes the user's networks that no container is attached to.
    ///
    /// # Errors
    /// [`NetworkError`]; what was removed before it stays removed.
    pub fn network_prune(&self, filters: &Filters) -> Result<Pruned, NetworkError> {
        filters.allow(&["label", "label!", "until"])?;
        let until = filters.until(time::now_ns())?;
        let mut pruned = Pruned::default();
        // A container that has ended keeps its network here: removing that one is a decision, not a clean-up.
        let mut unused = Filters::default();
        unused.add("dangling", "true");
        for network in self.networks(&unused)? {
            if network.is_predefined()
                || !filters.labels(&network.labels)
                || until.is_some_and(|until| network.created_ns >= until)
            {
                continue;
            }
            match self.network_remove(network.id.as_str()) {
                Ok(_) => pruned.networks.push(network.name),
                Err(NetworkError::InUse { .. } | NetworkError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.emit(&events::prune("network", 0));
        Ok(pruned)
    }

    /// Names of those that hold an address on a network, without the containers that `ended`.
    pub(super) fn holders(
        &self,
        reader: &Reader<'_>,
        network_id: &str,
        ended: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, NetworkError> {
        let mut holders = Vec::new();
        for lease in leases::of_network(reader, network_id)? {
            if ended(&lease.container) {
                continue;
            }
            match containers::by_id(reader, &lease.container)? {
                Some(row) => holders.push(row.name),
                None => holders.push(lease.container),
            }
        }
        Ok(holders)
    }

    fn predefined(&self, name: &str) -> NetworkInfo {
        NetworkInfo {
            id: self.predefined_id(name),
            name: name.to_owned(),
            driver: if name == "none" { "null".into() } else { name.to_owned() },
            created_ns: 0,
            subnet: None,
            gateway: None,
            ip_range: None,
            aux_addresses: Default::default(),
            internal: false,
            attachable: false,
            options: Default::default(),
            labels: Default::default(),
            containers: Vec::new(),
        }
    }
}

/// The containers that hold an address on a network.
pub(super) fn members(reader: &Reader<'_>, network_id: &str) -> Result<Vec<Container>, NetworkError> {
    let mut members = Vec::new();
    for lease in leases::of_network(reader, network_id)? {
        if let Some(row) = containers::by_id(reader, &lease.container)? {
            members.push(Container::from_row(row)?);
        }
    }
    Ok(members)
}

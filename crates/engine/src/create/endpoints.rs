//! Leases a container's addresses, inside the transaction that creates it.

use crate::create::CreateError;
use crate::model::{ContainerId, EndpointSpec, NetworkMode};
use crate::network::{self, DEFAULT_NETWORK, NetworkError};
use crate::record::{Endpoint, NetworkDoc};
use store::db::Writer;
use store::db::leases;

/// The endpoints a network mode asks for; none when the container has no bridge network.
pub fn wanted(mode: &NetworkMode) -> Vec<EndpointSpec> {
    match mode {
        NetworkMode::Default => vec![EndpointSpec { network: DEFAULT_NETWORK.into(), ..Default::default() }],
        NetworkMode::Networks(endpoints) => endpoints.clone(),
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => Vec::new(),
    }
}

/// Leases an address for each of `specs`, which become `eth0`, `eth1`, …
///
/// # Errors
/// A network that does not exist, an address outside of it or taken, or an option the network does not have.
pub fn lease_all(
    writer: &Writer<'_>,
    id: &ContainerId,
    specs: &[EndpointSpec],
) -> Result<Vec<Endpoint>, CreateError> {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(specs.len());
    for spec in specs {
        let row = network::find_row(writer, &spec.network)?;
        if endpoints.iter().any(|endpoint| endpoint.network_id == row.id) {
            return Err(
                NetworkError::AlreadyAttached { container: id.short().into(), network: row.name }.into()
            );
        }
        let doc = NetworkDoc::from_json(&row.name, &row.record).map_err(NetworkError::from)?;
        let interface = format!("eth{}", endpoints.len());
        endpoints.push(lease(writer, id, spec, &row.id, &row.name, &doc, interface)?);
    }
    Ok(endpoints)
}

/// Leases one address on one network.
///
/// # Errors
/// As [`lease_all`].
pub fn lease(
    writer: &Writer<'_>,
    id: &ContainerId,
    spec: &EndpointSpec,
    network_id: &str,
    network_name: &str,
    doc: &NetworkDoc,
    interface: String,
) -> Result<Endpoint, NetworkError> {
    let is_default = network_name == DEFAULT_NETWORK;
    if is_default && !spec.aliases.is_empty() {
        return Err(NetworkError::AliasOnDefault);
    }
    if is_default && !spec.links.is_empty() {
        return Err(NetworkError::LinkOnDefault);
    }
    if let Some(address) = spec.ipv4 {
        if is_default || doc.spec.subnet.is_none() {
            return Err(NetworkError::AddressNotConfigurable);
        }
        let usable = doc.subnet.contains(address)
            && address != doc.subnet.network()
            && address != doc.subnet.broadcast()
            && address != doc.gateway;
        if !usable {
            return Err(NetworkError::AddressOutside { address, network: network_name.to_owned() });
        }
    }
    let range = doc.spec.ip_range.unwrap_or(doc.subnet);
    let mut hosts = range.hosts();
    let first = hosts.next().unwrap_or(range.network());
    let last = hosts.last().unwrap_or(first);
    let mut reserved = vec![doc.gateway, doc.subnet.network(), doc.subnet.broadcast()];
    reserved.extend(doc.spec.aux_addresses.values());
    let mac = spec.mac.map(|mac| mac.to_string());
    let lease = leases::allocate(
        writer,
        &leases::LeaseRequest {
            network: network_id,
            container: id.as_str(),
            range: first..=last,
            reserved: &reserved,
            wanted: spec.ipv4,
            mac: mac.as_deref(),
        },
    )?;
    Ok(Endpoint {
        network_id: network_id.to_owned(),
        network_name: network_name.to_owned(),
        address: lease.address,
        mac: spec.mac.unwrap_or_else(|| net::Mac::for_address(lease.address)),
        interface,
        aliases: spec.aliases.clone(),
        links: spec.links.clone(),
        wanted: spec.ipv4,
        gateway_priority: spec.gateway_priority,
    })
}

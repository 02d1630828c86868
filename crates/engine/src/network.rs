//! Networks: the predefined `bridge`, `host` and `none`, and bridges of the user's own.
//!
//! A bridge network is a row with a document; the bridge in the kernel is made with it and repaired whenever a container needs it
//! (after a reboot it is not there). Addresses are leases in the database, kept from a container's creation to its removal.

mod attach;
mod build;
mod create;
mod error;
mod list;

pub use build::BuildEndpoints;
pub use error::NetworkError;

use crate::engine::Engine;
use crate::model::NetworkId;
use crate::record::NetworkDoc;
use store::db::networks::{self, NetworkRecord as Row};
use store::db::{Reader, containers::Found};

/// Name of the network containers join unless told otherwise.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// Finds the row of a bridge network by id, name or the beginning of its id.
pub(crate) fn find_row(reader: &Reader<'_>, key: &str) -> Result<Row, NetworkError> {
    match networks::find(reader, key)? {
        Found::One(row) => Ok(row),
        Found::None => Err(NetworkError::NotFound { name: key.to_owned() }),
        Found::Ambiguous => Err(NetworkError::Ambiguous { name: key.to_owned() }),
    }
}

/// What `net` needs to know about a network.
pub(crate) fn plan(id: &str, name: &str, doc: &NetworkDoc) -> net::NetworkPlan {
    let option = |key: &str| doc.spec.options.get(key).map(String::as_str);
    let is_off = |key: &str| option(key).is_some_and(|value| matches!(value, "false" | "0"));
    net::NetworkPlan {
        id: id.to_owned(),
        name: name.to_owned(),
        bridge: doc.bridge.clone(),
        subnet: doc.subnet,
        gateway: doc.gateway,
        mtu: doc.mtu,
        internal: doc.spec.internal,
        icc: !is_off("com.docker.network.bridge.enable_icc"),
        masquerade: !is_off("com.docker.network.bridge.enable_ip_masquerade"),
        dns: name != DEFAULT_NETWORK,
    }
}

impl Engine {
    /// The id that `bridge`, `host` and `none` have under these roots.
    pub(crate) fn predefined_id(&self, name: &str) -> NetworkId {
        NetworkId::from_string(oci::Digest::of(format!("{}/{name}", self.instance()).as_bytes()).hex())
    }
}

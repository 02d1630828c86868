//! What the database keeps of containers, networks and volumes: the engine's own documents, versioned.
//!
//! A document is the resolved request. Volatile facts (pid, exit code, ports) are the monitor's and never appear here, so that
//! nothing here can go stale when a process is killed.

use crate::model::{
    BindPropagation, ContainerId, ContainerSpec, Mac, MountSyntax, NetworkSpec, Owners, Subnet, VolumeSpec,
};
use oci::{DiffId, Digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use store::db::containers::ContainerRecord as Row;

/// The version written; readers accept it and older ones.
const VERSION: u32 = 1;

/// A document that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the record of {what} {name} cannot be read")]
pub struct RecordError {
    what: &'static str,
    name: String,
    source: Unreadable,
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("it has version {0}, this program knows versions up to {VERSION}")]
    TooNew(u32),
    #[error(transparent)]
    Json(serde_json::Error),
}

impl diag::Diagnose for RecordError {
    fn class(&self) -> diag::Class {
        match self.source {
            Unreadable::TooNew(_) => diag::Class::Unsupported,
            Unreadable::Json(_) => diag::Class::Internal,
        }
    }
}

/// Only the version, so that a document of the future is refused as such.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn write<T: Serialize>(document: &T) -> String {
    serde_json::to_string(&WriteVersioned { version: VERSION, document })
        .expect("strings, numbers and maps with string keys always have a JSON form")
}

#[derive(Serialize)]
struct WriteVersioned<'a, T> {
    version: u32,
    document: &'a T,
}

#[derive(Deserialize)]
struct ReadVersioned<T> {
    document: T,
}

fn read<T: DeserializeOwned>(what: &'static str, name: &str, text: &str) -> Result<T, RecordError> {
    let error = |source| RecordError { what, name: name.to_owned(), source };
    match serde_json::from_str::<ReadVersioned<T>>(text) {
        Ok(read) => Ok(read.document),
        Err(json) => Err(error(match serde_json::from_str::<Version>(text) {
            Ok(Version { version }) if version > VERSION => Unreadable::TooNew(version),
            _ => Unreadable::Json(json),
        })),
    }
}

/// The document of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerDoc {
    /// The request, completed from the image; names of other containers in it are ids.
    pub spec: ContainerSpec,
    /// For healthchecks in shell form: the request's, or else the image's SHELL.
    pub shell: Option<Vec<String>>,
    /// Everything that is mounted besides the defaults, parents before children.
    pub mounts: Vec<ResolvedMount>,
    /// Attachments to bridge networks, in the order of their interfaces.
    pub endpoints: Vec<Endpoint>,
}

/// One mount with its source settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolvedMount {
    pub target: String,
    pub source: MountSource,
    pub read_only: bool,
    pub syntax: MountSyntax,
    /// The mode column of `-v`, for inspect.
    pub mode: String,
}

/// Where a mount comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountSource {
    Bind {
        path: PathBuf,
        propagation: Option<BindPropagation>,
        recursive: bool,
        #[serde(default)]
        owners: Owners,
    },
    Volume {
        name: String,
        no_copy: bool,
        #[serde(default)]
        owners: Owners,
    },
    Tmpfs {
        size_bytes: Option<u64>,
        mode: Option<u32>,
        options: Vec<String>,
    },
}

/// A leased place on a bridge network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub network_id: String,
    pub network_name: String,
    pub address: Ipv4Addr,
    pub mac: Mac,
    /// `eth0`, `eth1`, …
    pub interface: String,
    pub aliases: Vec<String>,
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    pub wanted: Option<Ipv4Addr>,
    pub gateway_priority: i64,
}

/// A container as the database knows it.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub created_ns: i64,
    pub image: Option<Digest>,
    pub layers: Vec<DiffId>,
    pub doc: ContainerDoc,
}

impl Container {
    /// Reads a row.
    pub fn from_row(row: Row) -> Result<Self, RecordError> {
        Ok(Self {
            doc: read("container", &row.name, &row.record)?,
            id: ContainerId::from_string(row.id),
            name: row.name,
            created_ns: row.created_ns,
            image: row.image,
            layers: row.layers,
        })
    }

    /// The row to insert.
    pub fn to_row(&self) -> Row {
        Row {
            id: self.id.to_string(),
            name: self.name.clone(),
            created_ns: self.created_ns,
            image: self.image,
            layers: self.layers.clone(),
            record: self.doc.to_json(),
        }
    }

    /// `sha256:…` of the image, empty when the image is unknown.
    pub fn image_id(&self) -> String {
        self.image.map(|id| id.to_string()).unwrap_or_default()
    }

    /// The volumes it mounts.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.doc.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }
}

impl ContainerDoc {
    /// As the database keeps it.
    pub fn to_json(&self) -> String {
        write(self)
    }
}

/// The document of a bridge network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkDoc {
    /// The request.
    pub spec: NetworkSpec,
    pub subnet: Subnet,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    /// Interface name of the bridge.
    pub bridge: String,
}

impl NetworkDoc {
    /// Reads the document of the network `name`.
    pub fn from_json(name: &str, text: &str) -> Result<Self, RecordError> {
        read("network", name, text)
    }

    /// As the database keeps it.
    pub fn to_json(&self) -> String {
        write(self)
    }
}

/// The document of a volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VolumeDoc {
    /// The request.
    pub spec: VolumeSpec,
    /// Where its files are when not in the volume's own directory.
    pub place: VolumePlace,
}

/// Where a volume's files are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum VolumePlace {
    /// `volumes/<name>/_data` of the data root.
    #[default]
    Own,
    /// A directory of the host (`type=none,o=bind,device=…`).
    Directory(PathBuf),
    /// `volumes/<name>` of the run root: memory, empty after a reboot (`type=tmpfs`).
    Memory,
}

impl VolumeDoc {
    /// Reads the document of the volume `name`.
    pub fn from_json(name: &str, text: &str) -> Result<Self, RecordError> {
        read("volume", name, text)
    }

    /// As the database keeps it.
    pub fn to_json(&self) -> String {
        write(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_survive_and_versions_count() {
        let mut doc = ContainerDoc::default();
        doc.spec.image = "busybox".into();
        let text = doc.to_json();
        let read_back: ContainerDoc = read("container", "x", &text).unwrap();
        assert_eq!(read_back.spec, doc.spec);
        let old: ContainerDoc = read("container", "x", r#"{"version":1,"document":{}}"#).unwrap();
        assert_eq!(old.spec, ContainerSpec::default());
        let new = read::<VolumeDoc>("volume", "x", r#"{"version":9,"document":{"other":1}}"#).unwrap_err();
        assert_eq!(diag::Diagnose::class(&new), diag::Class::Unsupported);
    }
}

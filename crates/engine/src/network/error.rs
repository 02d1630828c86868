//! Why an operation on a network failed.

use crate::create::InvalidSpec;
use crate::lookup::LookupError;
use crate::model::FiltersError;
use crate::record::RecordError;
use diag::{Class, Diagnose};
use monitor::client::RequestError;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use store::DatabaseError;
use store::db::leases::LeaseError;
use store::db::networks::NetworkInsertError;

/// Why an operation on a network failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NetworkError {
    #[error("network {name} not found")]
    NotFound { name: String },
    #[error("network {name} is ambiguous: several ids begin like that")]
    Ambiguous { name: String },
    #[error("{name} is a pre-defined network and cannot be removed")]
    Predefined { name: String },
    #[error("operation is not permitted on predefined {name} network")]
    PredefinedCreate { name: String },
    #[error("invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Name { name: String },
    #[error("plugin {driver:?} not found")]
    Driver { driver: String },
    #[error("network option {option} is not supported yet")]
    Option { option: String },
    #[error("invalid value {value:?} for network option {option}")]
    OptionValue { option: String, value: String },
    #[error("invalid network config: {problem}")]
    Config { problem: String },
    #[error("error while removing network: network {name} has active endpoints ({})", holders.join(", "))]
    InUse { name: String, holders: Vec<String> },
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyAttached { container: String, network: String },
    #[error("container {container} is not connected to network {network}")]
    NotAttached { container: String, network: String },
    #[error("container {container} uses the network mode {mode} and cannot be connected to other networks")]
    ForeignMode { container: String, mode: String },
    #[error("network-scoped alias is supported only for containers in user defined networks")]
    AliasOnDefault,
    #[error("links are supported only for containers in user defined networks")]
    LinkOnDefault,
    #[error(
        "user specified IP address is supported only when connecting to networks with user configured subnets"
    )]
    AddressNotConfigurable,
    #[error("no configured subnet contains IP address {address} on network {network}")]
    AddressOutside { address: Ipv4Addr, network: String },
    #[error("cannot get random bytes for an id")]
    Random(#[source] io::Error),
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot rewrite {file} of container {container}")]
    File { container: String, file: &'static str, source: io::Error },
    #[error(transparent)]
    Endpoint(#[from] InvalidSpec),
    #[error(transparent)]
    Insert(NetworkInsertError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Kernel(#[from] net::NetworkError),
    #[error(transparent)]
    Container(#[from] LookupError),
    #[error(transparent)]
    Monitor(#[from] RequestError),
    #[error(transparent)]
    Filter(#[from] FiltersError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<NetworkInsertError> for NetworkError {
    fn from(error: NetworkInsertError) -> Self {
        Self::Insert(error)
    }
}

impl Diagnose for NetworkError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::Driver { .. } => Class::NotFound,
            Self::InUse { .. } | Self::AlreadyAttached { .. } | Self::NotAttached { .. } => Class::Conflict,
            Self::Predefined { .. } | Self::PredefinedCreate { .. } => Class::Denied,
            Self::Ambiguous { .. }
            | Self::Name { .. }
            | Self::OptionValue { .. }
            | Self::Config { .. }
            | Self::ForeignMode { .. }
            | Self::AliasOnDefault
            | Self::LinkOnDefault
            | Self::AddressNotConfigurable
            | Self::AddressOutside { .. } => Class::Invalid,
            Self::Option { .. } => Class::Unsupported,
            Self::Random(source) | Self::Lock { source, .. } | Self::File { source, .. } => {
                Class::of_io(source)
            }
            Self::Endpoint(error) => error.class(),
            Self::Insert(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Kernel(error) => error.class(),
            Self::Container(error) => error.class(),
            Self::Monitor(error) => error.class(),
            Self::Filter(error) => error.class(),
            Self::Record(error) => error.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { name } => Some(format!("create it with `network create {name}`")),
            Self::InUse { .. } => Some("stop or disconnect these containers first".into()),
            Self::AddressNotConfigurable => Some("create the network with --subnet".into()),
            Self::AliasOnDefault | Self::LinkOnDefault => {
                Some("create a network with `network create` and join that".into())
            }
            Self::Lease(error) => error.hint(),
            Self::Kernel(error) => error.hint(),
            Self::Container(error) => error.hint(),
            Self::Monitor(error) => error.hint(),
            Self::Filter(error) => error.hint(),
            Self::Database(error) => error.hint(),
            _ => None,
        }
    }
}

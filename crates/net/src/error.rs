//! One error per operation; each names its object and what the kernel refused.

use std::io;
use std::net::Ipv4Addr;

use diag::{Class, Diagnose};

use crate::addr::Ipv4Net;
use crate::names::RegisterError;
use crate::plan::Protocol;

/// Why a network could not be made, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot {action} network `{network}`")]
    Kernel { action: &'static str, network: String, source: io::Error },
    #[error("cannot set {setting} for network `{network}`")]
    Setting { setting: String, network: String, source: io::Error },
    #[error("cannot read the host's {what}")]
    Host { what: &'static str, source: io::Error },
    #[error("cannot {action} the packet filter table `{table}`")]
    Filter { action: &'static str, table: String, source: io::Error },
    #[error("interface `{bridge}` exists and is not a bridge of this hull")]
    Foreign { bridge: String },
    #[error("invalid bridge name `{bridge}`")]
    BridgeName { bridge: String },
    #[error("gateway {gateway} is not an address of {subnet}")]
    Gateway { gateway: Ipv4Addr, subnet: Ipv4Net },
    #[error("Pool overlaps with other one on this address space: {subnet} and {other}")]
    Overlap { subnet: Ipv4Net, other: Ipv4Net },
    #[error("all predefined address pools have been fully subnetted")]
    Exhausted,
}

/// Why an endpoint could not be realised or taken down.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Names(#[from] RegisterError),
    #[error("cannot enter the network namespace of endpoint `{endpoint}`")]
    Namespace { endpoint: String, source: io::Error },
    #[error("cannot {action} interface `{interface}` of network `{network}`")]
    Kernel { action: &'static str, interface: String, network: String, source: io::Error },
    #[error("cannot bring up the loopback interface")]
    Loopback { source: io::Error },
}

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("Bind for {host_ip}:{port} failed: port is already allocated")]
    InUse { host_ip: Ipv4Addr, port: u16, protocol: Protocol, source: io::Error },
    #[error("cannot publish {host_ip}:{port}/{protocol}")]
    Bind { host_ip: Ipv4Addr, port: u16, protocol: Protocol, source: io::Error },
    #[error(
        "cannot expose privileged port {port}, you can add 'net.ipv4.ip_unprivileged_port_start={port}' to /etc/sysctl.conf \
         (currently {free_from}), or choose a larger port number (>= {free_from}): listen {protocol} {host_ip}:{port}"
    )]
    Privileged { host_ip: Ipv4Addr, port: u16, protocol: Protocol, free_from: u16, source: io::Error },
    #[error("cannot serve the published ports")]
    Forward { source: io::Error },
    #[error("cannot add published ports to the packet filter table `{table}`")]
    Filter { table: String, source: io::Error },
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The class of a kernel's refusal.
fn class_of(source: &io::Error) -> Class {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Class::Denied,
        io::ErrorKind::Unsupported => Class::Unsupported,
        _ => Class::Internal,
    }
}

fn hint_for(source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Some("networks need root (CAP_NET_ADMIN)".to_owned()),
        io::ErrorKind::Unsupported => Some(
            "the kernel needs bridge, veth and nf_tables with nat (modules may have to be loaded)".to_owned(),
        ),
        _ => None,
    }
}

impl NetworkError {
    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Kernel { source, .. }
            | Self::Setting { source, .. }
            | Self::Host { source, .. }
            | Self::Filter { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Diagnose for NetworkError {
    fn class(&self) -> Class {
        match self {
            Self::Foreign { .. } | Self::Overlap { .. } => Class::Conflict,
            Self::BridgeName { .. } | Self::Gateway { .. } => Class::Invalid,
            Self::Exhausted => Class::Unavailable,
            _ => self.io().map_or(Class::Internal, class_of),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some("remove it, or name another bridge".to_owned()),
            Self::BridgeName { .. } => {
                Some("an interface name has 1 to 15 characters and no slash".to_owned())
            }
            Self::Gateway { .. } => Some("choose an address inside the subnet".to_owned()),
            Self::Overlap { .. } => Some("choose another `--subnet`".to_owned()),
            Self::Exhausted => {
                Some("remove unused networks (`network prune`), or name a `--subnet`".to_owned())
            }
            _ => self.io().and_then(hint_for),
        }
    }
}

impl Diagnose for AttachError {
    fn class(&self) -> Class {
        match self {
            Self::Network(error) => error.class(),
            Self::Names(error) => error.class(),
            Self::Namespace { source, .. } | Self::Kernel { source, .. } | Self::Loopback { source } => {
                class_of(source)
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Network(error) => error.hint(),
            Self::Names(error) => error.hint(),
            Self::Namespace { source, .. } | Self::Kernel { source, .. } | Self::Loopback { source } => {
                hint_for(source)
            }
        }
    }
}

impl Diagnose for PublishError {
    fn class(&self) -> Class {
        match self {
            Self::InUse { .. } => Class::Conflict,
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => Class::Invalid,
            Self::Privileged { .. } => Class::Denied,
            Self::Bind { source, .. } | Self::Filter { source, .. } | Self::Forward { source } => {
                class_of(source)
            }
            Self::Network(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { port, protocol, .. } => {
                let flag = if *protocol == Protocol::Tcp { "-ltnp" } else { "-lunp" };
                Some(format!(
                    "find the holder with `ss {flag}` or `ps`, or publish another host port than {port}"
                ))
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("publish on an address that the host has".to_owned())
            }
            Self::Privileged { port, .. } => Some(format!(
                "root can allow it until the next boot: `sysctl net.ipv4.ip_unprivileged_port_start={port}`"
            )),
            Self::Bind { source, .. } | Self::Filter { source, .. } | Self::Forward { source } => {
                hint_for(source)
            }
            Self::Network(error) => error.hint(),
        }
    }
}

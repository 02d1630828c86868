//! What to realise: networks, endpoints and published ports, resolved by the engine and carried to the monitor.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::addr::{Ipv4Net, Mac};

/// Whose networks these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Eight hexadecimal digits that tell this data root from every other one on the host.
    pub instance: String,
    /// `<run root>/networks`, where the name service keeps its directories.
    pub run: PathBuf,
}

impl Context {
    /// The nf_tables table, the alias of every bridge, and the prefix of whatever else is global on the host.
    pub fn owner(&self) -> String {
        format!("hull-{}", self.instance)
    }

    /// The directory of `network`'s names; see [`crate::names`].
    pub fn network_dir(&self, network: &str) -> PathBuf {
        Path::new(&self.run).join(network)
    }
}

/// One bridge network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// The network's id: 64 hexadecimal digits.
    pub id: String,
    /// What the user calls it; also the suffix in `web.frontend`.
    pub name: String,
    /// The bridge's interface name; [`bridge_name`] of the id unless the user chose one.
    pub bridge: String,
    pub subnet: Ipv4Net,
    /// The bridge's own address, and the default route of its containers.
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    /// No way in or out: containers of the network reach each other and the bridge, nothing else.
    pub internal: bool,
    /// Whether containers of this network may talk to each other (Docker's `enable_icc`).
    pub icc: bool,
    /// Whether containers reach the outside under the host's address (Docker's `enable_ip_masquerade`).
    pub masquerade: bool,
    /// Whether names are resolved by the embedded server: all networks but the default bridge.
    pub dns: bool,
}

/// One container's attachment to one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPlan {
    pub network: NetworkPlan,
    /// At least eleven hexadecimal digits, fresh for every start: the veth's name is made from it.
    pub id: String,
    pub address: Ipv4Addr,
    pub mac: Mac,
    /// The interface's name inside the container, such as `eth0`.
    pub interface: String,
    /// What resolves to this endpoint; the first is its primary name, which reverse look-ups answer.
    pub names: Vec<String>,
    /// Names of this container's own for names of the network.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Whether this endpoint's gateway is the container's default route; ignored on internal networks.
    pub default_route: bool,
    /// Whether it may send under addresses that are not its own: for who was given the right to configure its network.
    #[serde(default)]
    pub may_forge: bool,
}

impl EndpointPlan {
    /// The veth's name on the host.
    pub fn host_interface(&self) -> String {
        veth_name(&self.id)
    }
}

/// `hb-` and eleven digits of the network's id: what IFNAMSIZ leaves room for.
pub fn bridge_name(network_id: &str) -> String {
    format!("hb-{:.11}", network_id)
}

/// `hv-` and eleven digits of the endpoint's id.
pub fn veth_name(endpoint_id: &str) -> String {
    format!("hv-{:.11}", endpoint_id)
}

/// A transport protocol whose ports can be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A protocol hull cannot publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid proto: {text}")]
pub struct ParseProtocolError {
    text: String,
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, ParseProtocolError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ParseProtocolError { text: text.to_owned() }),
        }
    }
}

/// A wish to reach `container_port` under a port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// The one address of the host to listen on; `None` for all of them.
    pub host_ip: Option<Ipv4Addr>,
    /// `None` lets the kernel choose.
    pub host_port: Option<u16>,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// A published port as it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// `None` means every address of the host.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        write!(f, "{ip}:{}->{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

/// Where build steps get their network from; the engine implements it, so that leases are recorded in one place.
pub trait EndpointSource: Send + Sync {
    /// An endpoint for one step, its network ensured and its address leased.
    fn acquire(&self) -> Result<EndpointPlan, diag::Failure>;

    /// Returns the lease. The veth has died with its namespace.
    fn release(&self, endpoint: &EndpointPlan);
}

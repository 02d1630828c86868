//! Networks, and a container's place in them.

use super::{EndpointInfo, Labels, NetworkId, Subnet};
use net::{Mac, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A container's networking as asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Networking {
    /// Which network namespace, and which networks in it.
    pub mode: NetworkMode,
    /// `-p`.
    pub publish: Vec<PortMapping>,
    /// `-P`: every exposed port on a free host port.
    pub publish_all: bool,
    /// `--expose`; the image's are added.
    pub expose: Vec<Port>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--add-host`: name and address; `host-gateway` is resolved by the engine.
    pub extra_hosts: Vec<(String, String)>,
}

/// Which network namespace a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// Its own, on the default bridge.
    #[default]
    Default,
    /// Its own, with loopback only.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// Its own, on these networks; the first one is `NetworkMode` to Docker, and gives the default route unless another has a
    /// higher `gateway_priority`.
    Networks(Vec<EndpointSpec>),
}

/// A container's attachment to one network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// Network name, id or id prefix.
    pub network: String,
    /// `--network-alias`; user-defined networks only.
    pub aliases: Vec<String>,
    /// `--link`: names that the container, and nobody else, calls others of the network by, each for one of theirs; user-defined
    /// networks only.
    pub links: BTreeMap<String, String>,
    /// `--ip`; networks with a configured subnet only.
    pub ipv4: Option<Ipv4Addr>,
    /// `--mac-address`.
    pub mac: Option<Mac>,
    /// Driver options of the endpoint; none is supported yet.
    pub driver_opts: Labels,
    /// The network with the highest value gives the default route.
    pub gateway_priority: i64,
}

/// A container port, `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Port number in the container.
    pub number: u16,
    /// Transport.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// `-p [ip:][host:]container[/proto]`; ranges are expanded by the parser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Port in the container.
    pub container: Port,
    /// Host address; every address when absent.
    pub host_ip: Option<Ipv4Addr>,
    /// First host port allowed; the kernel chooses when absent.
    pub host_port: Option<u16>,
    /// Last host port allowed, when a range was given for one container port.
    pub host_port_end: Option<u16>,
}

/// The request to create a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Unique name.
    pub name: String,
    /// Driver; only `bridge`.
    pub driver: Option<String>,
    /// `--subnet`; a free one is chosen when absent.
    pub subnet: Option<Subnet>,
    /// `--gateway`; the subnet's first address when absent.
    pub gateway: Option<Ipv4Addr>,
    /// `--ip-range`: where addresses are taken from.
    pub ip_range: Option<Subnet>,
    /// `--aux-address`: addresses never given out.
    pub aux_addresses: BTreeMap<String, Ipv4Addr>,
    /// `--internal`: no way out.
    pub internal: bool,
    /// `--attachable`; shown only.
    pub attachable: bool,
    /// `-o`: `com.docker.network.driver.mtu`, `com.docker.network.bridge.enable_icc`, ….
    pub options: Labels,
    /// Labels.
    pub labels: Labels,
}

/// A network as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkInfo {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Driver: `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was made.
    pub created_ns: i64,
    /// Its subnet; none for `host` and `none`.
    pub subnet: Option<Subnet>,
    /// Gateway address.
    pub gateway: Option<Ipv4Addr>,
    /// Address range, when one was asked for.
    pub ip_range: Option<Subnet>,
    /// Addresses never given out.
    pub aux_addresses: BTreeMap<String, Ipv4Addr>,
    /// No way out.
    pub internal: bool,
    /// Shown only.
    pub attachable: bool,
    /// Driver options.
    pub options: Labels,
    /// Labels.
    pub labels: Labels,
    /// Running containers on it: container id, name and endpoint (filled by inspect, empty in lists).
    pub containers: Vec<(super::ContainerId, String, EndpointInfo)>,
}

impl NetworkInfo {
    /// Whether it is one of `bridge`, `host` and `none`, which always exist.
    pub fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }
}

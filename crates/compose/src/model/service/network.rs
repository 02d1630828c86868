//! Networks, names and ports of a service's containers.

use std::net::Ipv4Addr;

use engine::model::{ContainerSpec, EndpointSpec, NetworkMode, Networking, Port, PortMapping};

use super::super::Project;
use super::super::section::Section;
use super::container::container_of;
use crate::canon::port_range;
use crate::error::LoadError;

/// Fills `container.network`; returns the keys of the networks joined.
pub(super) fn read(
    section: &Section,
    name: &str,
    project: &Project,
    container: &mut ContainerSpec,
) -> Result<Vec<String>, LoadError> {
    let mut keys = Vec::new();
    let mac = section.parsed("mac_address", str::parse)?;
    let mut mode = match section.text("network_mode")? {
        Some(mode) => {
            if section.node("networks").is_some() {
                return Err(section.invalid("network_mode", "and `networks` exclude each other"));
            }
            match mode.split_once(':') {
                None if mode == "none" => NetworkMode::None,
                None if mode == "host" => NetworkMode::Host,
                None if mode == "bridge" || mode == "default" => NetworkMode::Default,
                Some(("service", other)) => NetworkMode::Container(container_of(project, other)),
                Some(("container", other)) => NetworkMode::Container(other.to_owned()),
                _ => {
                    let message = "must be none, host, bridge, service:NAME or container:NAME";
                    return Err(section.invalid("network_mode", format!("{message}, not {mode:?}")));
                }
            }
        }
        None => {
            let mut endpoints = Vec::new();
            for entry in section.children("networks")? {
                let item = Section::new(&entry.value, section.path("networks") + "." + &entry.key)?;
                let Some(network) = project.networks.get(&entry.key) else {
                    return Err(LoadError::Inconsistent {
                        at: entry.key_at.clone(),
                        message: format!("service {name:?} refers to undefined network {}", entry.key),
                    });
                };
                let (priority, endpoint) = endpoint(&item, name, &network.spec.name)?;
                endpoints.push((-priority, entry.key.clone(), endpoint));
            }
            // The network with the highest priority comes first, equal ones by name.
            endpoints.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            if let Some((_, _, first)) = endpoints.first_mut()
                && first.mac.is_none()
            {
                first.mac = mac;
            }
            keys.extend(endpoints.iter().map(|(_, key, _)| key.clone()));
            NetworkMode::Networks(endpoints.into_iter().map(|(_, _, endpoint)| endpoint).collect())
        }
    };
    if mac.is_some() && !matches!(mode, NetworkMode::Networks(_)) {
        return Err(section.invalid("mac_address", "needs a network of the project"));
    }
    let mut links = section.parsed_list("links", engine::parse::link)?;
    links.extend(section.parsed_list("external_links", engine::parse::link)?);
    match &mut mode {
        NetworkMode::Networks(endpoints) => {
            // Without an alias they are names of the network anyhow.
            links.retain(|(alias, name)| alias != name);
            endpoints.iter_mut().for_each(|endpoint| endpoint.links.extend(links.iter().cloned()));
        }
        _ if links.is_empty() => {}
        _ => return Err(section.invalid("links", "need a network of the project")),
    }
    container.network = Networking {
        mode,
        publish: ports(section)?,
        publish_all: false,
        expose: section.parsed_list("expose", engine::parse::expose)?.into_iter().flatten().collect(),
        dns: section.parsed_list("dns", str::parse)?,
        dns_search: section.texts("dns_search")?,
        dns_options: section.texts("dns_opt")?,
        extra_hosts: section.parsed_list("extra_hosts", engine::parse::extra_host)?,
    };
    Ok(keys)
}

fn endpoint(item: &Section, service: &str, network: &str) -> Result<(i64, EndpointSpec), LoadError> {
    for (key, reason) in [
        ("ipv6_address", "hull's networks are IPv4"),
        ("link_local_ips", "interfaces have one address"),
        ("interface_name", "interfaces are named eth0, eth1, ..."),
    ] {
        item.unsupported(key, reason)?;
    }
    let mut aliases = vec![service.to_owned()];
    aliases.extend(item.texts("aliases")?);
    let any = i64::MIN..=i64::MAX;
    let priority = item.int("priority", -1_000_000_000..=1_000_000_000)?.unwrap_or(0);
    let endpoint = EndpointSpec {
        network: network.to_owned(),
        aliases,
        ipv4: item.parsed("ipv4_address", str::parse::<Ipv4Addr>)?,
        mac: item.parsed("mac_address", str::parse)?,
        driver_opts: item.dictionary("driver_opts")?,
        gateway_priority: item.int("gw_priority", any)?.unwrap_or(0),
        ..EndpointSpec::default()
    };
    item.finish()?;
    Ok((priority, endpoint))
}

fn ports(section: &Section) -> Result<Vec<PortMapping>, LoadError> {
    let mut out = Vec::new();
    for item in section.sections("ports")? {
        item.text("name")?;
        item.text("app_protocol")?;
        if item.text("mode")?.is_some_and(|mode| !matches!(mode.as_str(), "ingress" | "host")) {
            return Err(item.invalid("mode", "must be `ingress` or `host`"));
        }
        let Some(target) = item.int("target", 1..=65535)? else {
            return Err(item.invalid("target", "is missing"));
        };
        let protocol = item.parsed("protocol", |text| match text {
            "tcp" => Ok(net::Protocol::Tcp),
            "udp" => Ok(net::Protocol::Udp),
            other => Err(format!("must be tcp or udp, not {other:?}")),
        })?;
        let host_ip = item.parsed("host_ip", |text| {
            text.parse::<Ipv4Addr>().map_err(|_| format!("{text:?} is no IPv4 address"))
        })?;
        let published = item.parsed("published", |text| match text {
            "" | "0" => Ok(None),
            text => {
                port_range(text).map(Some).ok_or_else(|| format!("{text:?} is no port or range of ports"))
            }
        })?;
        item.finish()?;
        let published = published.flatten();
        out.push(PortMapping {
            container: Port {
                number: u16::try_from(target).unwrap_or_default(),
                protocol: protocol.unwrap_or_default(),
            },
            host_ip,
            host_port: published.map(|(first, _)| first),
            host_port_end: published.filter(|(first, last)| first != last).map(|(_, last)| last),
        });
    }
    Ok(out)
}

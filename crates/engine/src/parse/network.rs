//! `--network`, `--add-host` and subnets.

use super::FlagError;
use crate::model::{EndpointSpec, NetworkMode, Subnet};
use std::net::{IpAddr, Ipv4Addr};

/// `none`, `host`, `container:NAME`, a network's name, or `name=…,alias=…,ip=…,mac-address=…`.
pub fn network(text: &str) -> Result<NetworkMode, FlagError> {
    Ok(match text {
        "" | "default" => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        _ => match text.split_once(':') {
            Some(("container", "")) => {
                return Err(FlagError::new("invalid container format container:<name|id>"));
            }
            Some(("container", name)) => NetworkMode::Container(name.to_owned()),
            _ if text.contains('=') => NetworkMode::Networks(vec![endpoint(text)?]),
            _ => NetworkMode::Networks(vec![EndpointSpec { network: text.to_owned(), ..Default::default() }]),
        },
    })
}

fn endpoint(text: &str) -> Result<EndpointSpec, FlagError> {
    let mut spec = EndpointSpec::default();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| FlagError::new(format!("invalid field {field}")))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => spec.network = value.to_owned(),
            "alias" => spec.aliases.push(value.to_owned()),
            "ip" => {
                spec.ipv4 = Some(
                    value.parse().map_err(|_| FlagError::new(format!("invalid IPv4 address: {value}")))?,
                );
            }
            "mac-address" => {
                spec.mac =
                    Some(value.parse().map_err(|_| FlagError::new(format!("invalid MAC address: {value}")))?);
            }
            "gw-priority" => {
                spec.gateway_priority =
                    value.parse().map_err(|_| FlagError::new(format!("invalid gw-priority: {value}")))?;
            }
            other => return Err(FlagError::new(format!("invalid field key {other}"))),
        }
    }
    if spec.network.is_empty() {
        return Err(FlagError::new(format!("network name is missing in {text:?}")));
    }
    Ok(spec)
}

/// `name` or `name:alias`: the alias, and the name it stands for.
pub fn link(text: &str) -> Result<(String, String), FlagError> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    match [name, alias].map(|part| part.trim_start_matches('/')) {
        [name, alias] if !name.is_empty() && !alias.is_empty() && !alias.contains(':') => {
            Ok((alias.to_owned(), name.to_owned()))
        }
        _ => Err(FlagError::new(format!("bad format for links: {text}"))),
    }
}

/// `name:address`, `name=address`; the address may be `host-gateway`.
pub fn extra_host(text: &str) -> Result<(String, String), FlagError> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| FlagError::new(format!("bad format for add-host: {text:?}")))?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(FlagError::new(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok((name.to_owned(), bare.to_owned()))
}

/// `172.20.0.0/16`; bits beyond the prefix are an error, as in Docker.
pub fn subnet(text: &str) -> Result<Subnet, FlagError> {
    let invalid = || FlagError::new(format!("invalid CIDR address: {text}"));
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    if address.contains(':') {
        return Err(FlagError::new(format!("IPv6 subnets are not supported yet: {text}")));
    }
    let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
    let prefix: u8 = prefix.parse().ok().filter(|p| (1..=30).contains(p)).ok_or_else(invalid)?;
    let subnet = Subnet::containing(address, prefix).ok_or_else(invalid)?;
    if subnet.network() != address {
        return Err(FlagError::new(format!("invalid subnet {text}: it should be {subnet}")));
    }
    Ok(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_names_for_names() {
        let pair = |alias: &str, name: &str| Ok((alias.to_owned(), name.to_owned()));
        assert_eq!(link("db"), pair("db", "db"));
        assert_eq!(link("/shop-db-1:db"), pair("db", "shop-db-1"));
        for wrong in ["", ":db", "db:", "/", "shop:db:x"] {
            assert!(link(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn network_modes() {
        assert_eq!(network("host"), Ok(NetworkMode::Host));
        assert_eq!(network("container:web"), Ok(NetworkMode::Container("web".into())));
        assert!(network("container:").is_err());
        assert_eq!(
            network("name=back,alias=db,ip=10.0.0.7"),
            Ok(NetworkMode::Networks(vec![EndpointSpec {
                network: "back".into(),
                aliases: vec!["db".into()],
                ipv4: Some(Ipv4Addr::new(10, 0, 0, 7)),
                ..Default::default()
            }]))
        );
        assert!(network("name=back,wat=1").is_err());
    }

    #[test]
    fn hosts_and_subnets() {
        assert_eq!(extra_host("db:10.0.0.1"), Ok(("db".into(), "10.0.0.1".into())));
        assert_eq!(extra_host("db=[::1]"), Ok(("db".into(), "::1".into())));
        assert_eq!(extra_host("h:host-gateway"), Ok(("h".into(), "host-gateway".into())));
        assert!(extra_host("db").is_err() && extra_host("db:x").is_err());
        assert_eq!(subnet("10.1.0.0/16").map(|s| s.to_string()), Ok("10.1.0.0/16".into()));
        assert!(
            subnet("10.1.0.1/16").is_err() && subnet("10.1.0.0").is_err() && subnet("10.0.0.0/31").is_err()
        );
    }
}

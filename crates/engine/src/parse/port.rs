//! `-p` and `--expose`.

use super::FlagError;
use crate::model::{Port, PortMapping, Protocol};
use std::net::{IpAddr, Ipv4Addr};

/// `[ip:][host[-host]:]container[-container][/proto]`, one mapping per container port.
pub fn ports(text: &str) -> Result<Vec<PortMapping>, FlagError> {
    let (body, protocol) = split_protocol(text)?;
    let (address, host, container) = match body.rsplitn(3, ':').collect::<Vec<_>>()[..] {
        [container] => ("", "", container),
        [container, host] => ("", host, container),
        [container, host, address] => (address, host, container),
        _ => ("", "", body),
    };
    if container.is_empty() {
        return Err(FlagError::new(format!("no port specified: {text}<empty>")));
    }
    let host_ip = match address.trim_start_matches('[').trim_end_matches(']') {
        "" => None,
        ip => match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => None,
            Ok(IpAddr::V4(ip)) => Some(ip),
            Ok(IpAddr::V6(_)) => {
                return Err(FlagError::new(format!(
                    "publishing on an IPv6 address is not supported yet: {ip}"
                )));
            }
            Err(_) => return Err(FlagError::new(format!("invalid IP address: {ip}"))),
        },
    };
    let (first, last) =
        range(container, 1).ok_or_else(|| FlagError::new(format!("invalid containerPort: {container}")))?;
    let host = match host {
        "" | "0" => None,
        host => Some(range(host, 1).ok_or_else(|| FlagError::new(format!("invalid hostPort: {host}")))?),
    };
    let count = last - first;
    if let Some((low, high)) = host {
        // One container port may take any host port of a range; otherwise both ranges pair up.
        if count != 0 && high - low != count {
            return Err(FlagError::new(format!(
                "invalid ranges specified for container and host Ports: {container} and {low}-{high}"
            )));
        }
    }
    Ok((0..=count)
        .map(|offset| {
            let (host_port, host_port_end) = match host {
                None => (None, None),
                Some((low, high)) if count == 0 && high > low => (Some(low), Some(high)),
                Some((low, _)) => (Some(low + offset), None),
            };
            let container = Port { number: first + offset, protocol };
            PortMapping { container, host_ip, host_port, host_port_end }
        })
        .collect())
}

/// `port[-port][/proto]`.
pub fn expose(text: &str) -> Result<Vec<Port>, FlagError> {
    let (body, protocol) = split_protocol(text)?;
    let (first, last) =
        range(body, 1).ok_or_else(|| FlagError::new(format!("invalid range format for --expose: {text}")))?;
    Ok((first..=last).map(|number| Port { number, protocol }).collect())
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), FlagError> {
    let (body, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Ok((body, Protocol::Tcp)),
        "udp" => Ok((body, Protocol::Udp)),
        "sctp" => Err(FlagError::new(format!("protocol sctp is not supported: {text}"))),
        _ => Err(FlagError::new(format!("invalid proto: {protocol}"))),
    }
}

fn range(text: &str, minimum: u16) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|n| digits && *n >= minimum)
    };
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (number(low)?, number(high)?),
        None => (number(text)?, number(text)?),
    };
    (low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match ports(text) {
            Err(error) => error.to_string(),
            Ok(all) => all
                .iter()
                .map(|p| {
                    let ip = p.host_ip.map_or("*".into(), |ip| ip.to_string());
                    let host = p.host_port.map_or("?".into(), |n| n.to_string());
                    let end = p.host_port_end.map_or(String::new(), |n| format!("-{n}"));
                    format!("{ip}:{host}{end}->{}", p.container)
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn publish_syntax() {
        check("80", "*:?->80/tcp");
        check("8080:80", "*:8080->80/tcp");
        check("127.0.0.1:53:53/udp", "127.0.0.1:53->53/udp");
        check("127.0.0.1::80", "127.0.0.1:?->80/tcp");
        check("0.0.0.0:1:2", "*:1->2/tcp");
        check("8000-8001:80-81", "*:8000->80/tcp *:8001->81/tcp");
        check("8000-8009:80", "*:8000-8009->80/tcp");
        check(
            "8000-8001:80-82",
            "invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
        );
        check("x:80", "invalid hostPort: x");
        check("80:x", "invalid containerPort: x");
        check("80:70000", "invalid containerPort: 70000");
        check("300.0.0.1:80:80", "invalid IP address: 300.0.0.1");
        check("80/icmp", "invalid proto: icmp");
        check("8080:", "no port specified: 8080:<empty>");
        check("80:+80", "invalid containerPort: +80");
    }
}

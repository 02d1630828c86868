//! `ports:` in short syntax, `[ip:][published:]target[/protocol]` with ranges.

use super::{Result, invalid, wrong_type};
use crate::yaml::{Map, Node, Span, Value};

/// Rewrites the list; a range of targets becomes one element per port.
pub(super) fn list(node: &mut Node, path: &str) -> Result {
    let Value::Seq(items) = &mut node.value else { return Err(wrong_type(node, path, "a list")) };
    let mut out = Vec::with_capacity(items.len());
    for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
        let path = format!("{path}.{index}");
        match &mut item.value {
            Value::Scalar(scalar) => {
                let text = scalar.as_text();
                out.extend(short(&text, &item.at).map_err(|why| invalid(&item, &path, why))?);
                continue;
            }
            Value::Map(map) => long(map, &item.at),
            _ => return Err(wrong_type(&item, &path, "a port or a mapping")),
        }
        out.push(item);
    }
    *items = out;
    Ok(())
}

fn long(map: &mut Map, at: &Span) {
    if let Some(published) = map.get_mut("published")
        && let Some(text) = published.as_text()
    {
        *published = Node::text(text, published.at.clone());
    }
    for (key, default) in [("mode", "ingress"), ("protocol", "tcp")] {
        if !map.contains(key) {
            map.set(key, Node::text(default, at.clone()));
        }
    }
}

fn short(text: &str, at: &Span) -> std::result::Result<Vec<Node>, String> {
    let bad = |why: &str| format!("is not a port: {text:?}: {why}");
    let (address, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (host, target) = match address.rsplit_once(':') {
        Some((host, target)) => (Some(host), target),
        None => (None, address),
    };
    let (ip, published) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            Some((ip, published)) => {
                (Some(ip.trim_start_matches('[').trim_end_matches(']')), Some(published))
            }
            // `127.0.0.1::80` leaves the host port to the kernel; `127.0.0.1:80` is not a thing.
            None => (None, Some(host)),
        },
    };
    let published = published.filter(|text| !text.is_empty());
    let (first, last) =
        range(target).ok_or_else(|| bad("the container port must be 1 to 65535 or a range"))?;
    let published = published
        .map(|text| range(text).ok_or_else(|| bad("the host port must be 1 to 65535 or a range")))
        .transpose()?;
    let count = last - first;
    let mut out = Vec::new();
    for offset in 0..=count {
        let mut map = Map::default();
        let mut set = |key: &str, node: Node| map.set(key, node);
        set("mode", Node::text("ingress", at.clone()));
        if let Some(ip) = ip.filter(|ip| !ip.is_empty()) {
            set("host_ip", Node::text(ip, at.clone()));
        }
        set("target", Node::plain(first + offset, at.clone()));
        match published {
            None => {}
            Some((low, high)) if high - low == count => {
                set("published", Node::text((low + offset).to_string(), at.clone()));
            }
            Some((low, high)) if count == 0 => {
                set("published", Node::text(format!("{low}-{high}"), at.clone()));
            }
            Some(_) => return Err(bad("the two ranges have different lengths")),
        }
        set("protocol", Node::text(protocol.to_ascii_lowercase(), at.clone()));
        out.push(Node::new(Value::Map(map), at.clone()));
    }
    Ok(out)
}

/// `80` or `80-90`.
pub(crate) fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        text.parse::<u16>().ok().filter(|port| *port > 0 && text.starts_with(|c: char| c.is_ascii_digit()))
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((low, high)) => port(low).zip(port(high)).filter(|(low, high)| low <= high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{emit, parse};

    fn check(text: &str, expected: &str) {
        let mut node = parse(&format!("[{text}]"), "c").unwrap();
        let out = match list(&mut node, "ports") {
            Ok(()) => emit(&node).replace("mode: ingress\n  ", "").replace("\n  ", " "),
            Err(error) => error.to_string(),
        };
        assert_eq!(out.trim(), expected.trim(), "{text}");
    }

    #[test]
    fn short_forms() {
        check("80", "- target: 80 protocol: tcp");
        check("'8080:80'", "- target: 80 published: \"8080\" protocol: tcp");
        check("8080:80/udp", "- target: 80 published: \"8080\" protocol: udp");
        check("'127.0.0.1:8080:80'", "- host_ip: 127.0.0.1 target: 80 published: \"8080\" protocol: tcp");
        check("'127.0.0.1::80'", "- host_ip: 127.0.0.1 target: 80 protocol: tcp");
        check("'[::1]:8080:80'", "- host_ip: ::1 target: 80 published: \"8080\" protocol: tcp");
        check("'8000-8010:80'", "- target: 80 published: 8000-8010 protocol: tcp");
        check(
            "'8000-8001:80-81'",
            "- target: 80 published: \"8000\" protocol: tcp\n- target: 81 published: \"8001\" protocol: tcp",
        );
        check(
            "'{target: 80}'",
            "c:1:2: ports.0 is not a port: \"{target: 80}\": the container port must be 1 to 65535 or a range",
        );
        check("{target: 80, published: 8080}", "- target: 80 published: \"8080\" protocol: tcp");
    }

    #[test]
    fn bad_ports_say_why() {
        check("0", "c:1:2: ports.0 is not a port: \"0\": the container port must be 1 to 65535 or a range");
        check(
            "70000:80",
            "c:1:2: ports.0 is not a port: \"70000:80\": the host port must be 1 to 65535 or a range",
        );
        check(
            "1-3:80-81",
            "c:1:2: ports.0 is not a port: \"1-3:80-81\": the two ranges have different lengths",
        );
        check("[80]", "c:1:2: ports.0 must be a port or a mapping, not a list");
    }
}

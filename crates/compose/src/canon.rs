//! Short syntax to long: after this pass every element has one shape, so that merging and reading need to know only that one.
//!
//! Labels and environments are mappings, ports and mounts lists of mappings, commands lists of words, sizes numbers of bytes,
//! durations in Go's spelling. Nothing is resolved against the host here.

mod ports;
pub(crate) mod volumes;

pub(crate) use ports::range as port_range;

use crate::error::LoadError;
use crate::words;
use crate::yaml::{Entry, Map, Node, Span, Value};

type Result<T = ()> = std::result::Result<T, LoadError>;

/// The error for a value that cannot be what its key needs.
pub(crate) fn invalid(node: &Node, path: &str, message: impl Into<String>) -> LoadError {
    LoadError::Value { at: node.at.clone(), path: path.to_owned(), message: message.into() }
}

fn wrong_type(node: &Node, path: &str, wanted: &str) -> LoadError {
    invalid(node, path, format!("must be {wanted}, not {}", node.kind()))
}

/// Rewrites one file's tree.
pub fn file(root: &mut Node) -> Result {
    if root.is_null() {
        *root = Node::map(root.at.clone());
    }
    if root.as_map().is_none() {
        return Err(invalid(root, "top-level object", format!("must be a mapping, not {}", root.kind())));
    }
    each_in(root, "services", service)?;
    for section in ["networks", "volumes", "secrets", "configs"] {
        each_in(root, section, resource)?;
    }
    Ok(())
}

/// Runs `step` on every element of the mapping `section`.
fn each_in(root: &mut Node, section: &str, step: fn(&mut Map, &str) -> Result) -> Result {
    let Some(node) = root.as_map_mut().and_then(|map| map.get_mut(section)) else { return Ok(()) };
    if node.is_null() {
        *node = Node { tag: node.tag, ..Node::map(node.at.clone()) };
    }
    let Value::Map(map) = &mut node.value else { return Err(wrong_type(node, section, "a mapping")) };
    for entry in map.iter_mut() {
        let path = format!("{section}.{}", entry.key);
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if entry.key.is_empty() || !entry.key.chars().all(valid) {
            return Err(LoadError::Value {
                at: entry.key_at.clone(),
                path,
                message: "is not a valid name: only letters, digits, `.`, `_` and `-`".into(),
            });
        }
        match &mut entry.value.value {
            Value::Map(map) => step(map, &path)?,
            Value::Null if section != "services" || entry.value.tag != Default::default() => {}
            _ => return Err(wrong_type(&entry.value, &path, "a mapping")),
        }
    }
    Ok(())
}

/// Runs `step` on the value of `key`, unless it is absent, null or taken back with `!reset`.
fn at(map: &mut Map, path: &str, key: &str, step: impl FnOnce(&mut Node, &str) -> Result) -> Result {
    match map.get_mut(key) {
        Some(node) if !node.is_null() => {
            let tag = node.tag;
            step(node, &format!("{path}.{key}"))?;
            node.tag = tag;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn inside(map: &mut Map, path: &str, key: &str, step: impl FnOnce(&mut Map, &str) -> Result) -> Result {
    at(map, path, key, |node, path| match &mut node.value {
        Value::Map(map) => step(map, path),
        _ => Err(wrong_type(node, path, "a mapping")),
    })
}

fn resource(map: &mut Map, path: &str) -> Result {
    at(map, path, "labels", dictionary)?;
    at(map, path, "driver_opts", dictionary)?;
    // `external: {name: x}` is the old spelling of `external: true` and `name: x`.
    if let Some(name) = map.get("external").and_then(|external| external.get("name")).cloned() {
        let at = name.at.clone();
        map.set("name", name);
        map.set("external", Node::plain(true, at));
    }
    Ok(())
}

fn service(map: &mut Map, path: &str) -> Result {
    for key in ["labels", "annotations", "environment", "sysctls", "storage_opt"] {
        at(map, path, key, dictionary)?;
    }
    for key in ["dns", "dns_search", "tmpfs", "label_file"] {
        at(map, path, key, string_list)?;
    }
    for key in ["command", "entrypoint"] {
        at(map, path, key, command)?;
    }
    for key in ["mem_limit", "mem_reservation", "memswap_limit", "shm_size"] {
        at(map, path, key, bytes)?;
    }
    at(map, path, "stop_grace_period", duration)?;
    at(map, path, "extra_hosts", extra_hosts)?;
    at(map, path, "extends", |node, _| long_form(node, "service"))?;
    at(map, path, "build", |node, _| long_form(node, "context"))?;
    inside(map, path, "build", build)?;
    at(map, path, "depends_on", depends_on)?;
    at(map, path, "networks", |node, path| keyed(node, path, |at| Node::null(at.clone())))?;
    at(map, path, "env_file", env_file)?;
    at(map, path, "ports", ports::list)?;
    at(map, path, "expose", texts)?;
    at(map, path, "volumes", volumes::list)?;
    at(map, path, "devices", |node, path| items(node, path, volumes::device))?;
    for key in ["secrets", "configs"] {
        at(map, path, key, |node, path| items(node, path, |item, _| long_form(item, "source")))?;
    }
    inside(map, path, "healthcheck", |map, path| {
        at(map, path, "test", health_test)?;
        ["interval", "timeout", "start_period", "start_interval"]
            .iter()
            .try_for_each(|key| at(map, path, key, duration))
    })?;
    inside(map, path, "logging", |map, path| at(map, path, "options", dictionary))?;
    inside(map, path, "deploy", deploy)
}

fn build(map: &mut Map, path: &str) -> Result {
    for key in ["args", "labels", "additional_contexts", "ssh"] {
        at(map, path, key, dictionary)?;
    }
    at(map, path, "shm_size", bytes)?;
    at(map, path, "extra_hosts", extra_hosts)?;
    at(map, path, "secrets", |node, path| items(node, path, |item, _| long_form(item, "source")))
}

fn deploy(map: &mut Map, path: &str) -> Result {
    at(map, path, "labels", dictionary)?;
    inside(map, path, "restart_policy", |map, path| {
        at(map, path, "delay", duration)?;
        at(map, path, "window", duration)
    })?;
    inside(map, path, "resources", |map, path| {
        ["limits", "reservations"]
            .iter()
            .try_for_each(|key| inside(map, path, key, |map, path| at(map, path, "memory", bytes)))
    })
}

/// A scalar that stands for `{key: scalar}`.
fn long_form(node: &mut Node, key: &str) -> Result {
    if let Value::Scalar(_) = node.value {
        let inner = node.clone();
        let mut map = Map::default();
        map.set(key, inner);
        node.value = Value::Map(map);
    }
    Ok(())
}

fn items(node: &mut Node, path: &str, step: fn(&mut Node, &str) -> Result) -> Result {
    let Value::Seq(items) = &mut node.value else { return Err(wrong_type(node, path, "a list")) };
    items.iter_mut().enumerate().try_for_each(|(index, item)| step(item, &format!("{path}.{index}")))
}

/// A list whose numbers are meant as text.
fn texts(node: &mut Node, path: &str) -> Result {
    items(node, path, |item, _| {
        if let Some(text) = item.as_text() {
            *item = Node::text(text, item.at.clone());
        }
        Ok(())
    })
}

/// `[KEY=value, KEY]` or `{KEY: value}` to the latter, values as text or null.
fn dictionary(node: &mut Node, path: &str) -> Result {
    let mut out = Map::default();
    match &mut node.value {
        Value::Map(map) => {
            for entry in map.iter_mut() {
                match &entry.value.value {
                    Value::Null => {}
                    Value::Scalar(scalar) => {
                        let text = scalar.as_text();
                        entry.value =
                            Node { tag: entry.value.tag, ..Node::text(text, entry.value.at.clone()) };
                    }
                    _ => {
                        let path = format!("{path}.{}", entry.key);
                        return Err(wrong_type(&entry.value, &path, "a string, number, boolean or null"));
                    }
                }
            }
            return Ok(());
        }
        Value::Seq(items) => {
            for (index, item) in items.iter().enumerate() {
                let Some(text) = item.as_text() else {
                    return Err(wrong_type(item, &format!("{path}.{index}"), "a string"));
                };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Node::text(value, item.at.clone())),
                    None => (text.as_str(), Node::null(item.at.clone())),
                };
                out.set(key, value);
            }
        }
        _ => return Err(wrong_type(node, path, "a mapping or a list")),
    }
    node.value = Value::Map(out);
    Ok(())
}

fn string_list(node: &mut Node, path: &str) -> Result {
    match node.value {
        Value::Scalar(_) => {
            let item = Node::new(node.value.clone(), node.at.clone());
            node.value = Value::Seq(vec![item]);
            Ok(())
        }
        Value::Seq(_) => Ok(()),
        _ => Err(wrong_type(node, path, "a string or a list")),
    }
}

fn command(node: &mut Node, path: &str) -> Result {
    match &node.value {
        Value::Scalar(scalar) => {
            let words =
                words::split(&scalar.as_text()).map_err(|error| invalid(node, path, error.to_string()))?;
            let at = &node.at;
            node.value = Value::Seq(words.into_iter().map(|word| Node::text(word, at.clone())).collect());
            Ok(())
        }
        Value::Seq(_) => texts(node, path),
        _ => Err(wrong_type(node, path, "a string or a list")),
    }
}

fn health_test(node: &mut Node, path: &str) -> Result {
    match &node.value {
        Value::Scalar(scalar) => {
            let command = Node::text(scalar.as_text(), node.at.clone());
            node.value = Value::Seq(vec![Node::text("CMD-SHELL", node.at.clone()), command]);
            Ok(())
        }
        Value::Seq(_) => texts(node, path),
        _ => Err(wrong_type(node, path, "a string or a list")),
    }
}

fn bytes(node: &mut Node, path: &str) -> Result {
    let Some(text) = node.as_text() else { return Err(wrong_type(node, path, "a size")) };
    if text == "-1" {
        return Ok(());
    }
    let bytes = engine::parse::size_bytes(&text)
        .map_err(|_| invalid(node, path, format!("must be a size such as `512m`, not {text:?}")))?;
    *node = Node::text(bytes.to_string(), node.at.clone());
    Ok(())
}

fn duration(node: &mut Node, path: &str) -> Result {
    let Some(text) = node.as_text() else { return Err(wrong_type(node, path, "a duration")) };
    let ns = engine::parse::duration_ns(&text)
        .map_err(|_| invalid(node, path, format!("must be a duration such as `1m30s`, not {text:?}")))?;
    *node = Node::text(format_duration(ns), node.at.clone());
    Ok(())
}

/// `{host: address}`, `{host: [addresses]}`, `host:address` or `host=address` to a list of the last.
fn extra_hosts(node: &mut Node, path: &str) -> Result {
    let mut out = Vec::new();
    let mut push = |host: &str, address: &str, at: &Span| {
        let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        out.push(Node::text(format!("{host}={address}"), at.clone()));
    };
    match &node.value {
        Value::Seq(items) => {
            for item in items {
                let text = item.as_text().unwrap_or_default();
                let Some((host, address)) = text.split_once('=').or_else(|| text.split_once(':')) else {
                    return Err(invalid(item, path, format!("must be `host=address`, not {text:?}")));
                };
                push(host, address, &item.at);
            }
        }
        Value::Map(map) => {
            for entry in map.iter() {
                let addresses = match &entry.value.value {
                    Value::Seq(items) => items.as_slice(),
                    _ => std::slice::from_ref(&entry.value),
                };
                for address in addresses {
                    let Some(text) = address.as_text() else {
                        return Err(wrong_type(address, &format!("{path}.{}", entry.key), "an address"));
                    };
                    push(&entry.key, &text, &address.at);
                }
            }
        }
        _ => return Err(wrong_type(node, path, "a mapping or a list")),
    }
    node.value = Value::Seq(out);
    Ok(())
}

/// A list of names, or a mapping, to the mapping; `value` is what a listed name stands for.
fn keyed(node: &mut Node, path: &str, value: impl Fn(&Span) -> Node) -> Result {
    match &node.value {
        Value::Map(_) => Ok(()),
        Value::Seq(items) => {
            let mut map = Map::default();
            for (index, item) in items.iter().enumerate() {
                let Some(key) = item.as_text() else {
                    return Err(wrong_type(item, &format!("{path}.{index}"), "a string"));
                };
                map.push(Entry { key, key_at: item.at.clone(), value: value(&item.at) });
            }
            node.value = Value::Map(map);
            Ok(())
        }
        _ => Err(wrong_type(node, path, "a mapping or a list")),
    }
}

fn depends_on(node: &mut Node, path: &str) -> Result {
    keyed(node, path, |at| Node::map(at.clone()))?;
    let Value::Map(map) = &mut node.value else { return Ok(()) };
    for entry in map.iter_mut() {
        let at = entry.value.at.clone();
        let Some(dependency) = entry.value.as_map_mut() else {
            return Err(wrong_type(&entry.value, &format!("{path}.{}", entry.key), "a mapping"));
        };
        for (key, default) in
            [("condition", Node::text("service_started", at.clone())), ("required", Node::plain(true, at))]
        {
            if !dependency.contains(key) {
                dependency.set(key, default);
            }
        }
    }
    Ok(())
}

fn env_file(node: &mut Node, path: &str) -> Result {
    if !matches!(node.value, Value::Seq(_)) {
        node.value = Value::Seq(vec![Node::new(node.value.clone(), node.at.clone())]);
    }
    items(node, path, |item, path| {
        long_form(item, "path")?;
        let at = item.at.clone();
        match item.as_map_mut() {
            Some(map) if !map.contains("required") => map.set("required", Node::plain(true, at)),
            Some(_) => {}
            None => return Err(wrong_type(item, path, "a string or a mapping")),
        }
        Ok(())
    })
}

/// `ns` as Go prints a duration.
fn format_duration(ns: u64) -> String {
    let short = |value: f64, unit: &str| format!("{value}{unit}");
    match ns {
        0 => return "0s".into(),
        1..1_000 => return short(ns as f64, "ns"),
        1_000..1_000_000 => return short(ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => return short(ns as f64 / 1e6, "ms"),
        _ => {}
    }
    let minutes = ns / 60_000_000_000;
    let seconds = short((ns % 60_000_000_000) as f64 / 1e9, "s");
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::format_duration;

    #[test]
    fn durations_are_spelled_as_go_does() {
        for (ns, text) in [
            (0, "0s"),
            (10_000, "10µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_duration(ns), text);
        }
    }
}

//! How a later file changes what earlier ones said.
//!
//! Mappings merge key by key, scalars are replaced, lists grow; a list whose elements have an identity (a port, a mount target,
//! a file) keeps one element per identity, the latest. Commands and health tests are replaced whole. Works on canonical trees.
//!
//! Spec: Compose specification, "Merge".

use crate::error::LoadError;
use crate::yaml::{Map, MergeTag, Node, Value};

/// Merges `other` over `base`; `path` is where both stand.
pub fn merge(base: Node, other: Node, path: &mut Vec<String>) -> Result<Node, LoadError> {
    let replaced = other.tag == MergeTag::Override || replaces(path);
    if replaced && !other.is_null() {
        return Ok(other);
    }
    let at = other.at.clone();
    let value = match (base.value, other.value) {
        (Value::Map(base), Value::Map(other)) => Value::Map(merge_maps(base, other, path)?),
        (Value::Seq(mut base), Value::Seq(other)) => {
            base.extend(other);
            Value::Seq(base)
        }
        // A key written without a value takes nothing away from a collection.
        (base @ (Value::Map(_) | Value::Seq(_)), Value::Null) => base,
        (Value::Null | Value::Scalar(_), other) => other,
        (Value::Map(_) | Value::Seq(_), _) => {
            return Err(LoadError::Value {
                at,
                path: path.join("."),
                message: "cannot override a value of another type".into(),
            });
        }
    };
    Ok(Node::new(value, at))
}

fn merge_maps(mut base: Map, other: Map, path: &mut Vec<String>) -> Result<Map, LoadError> {
    if is(path, &["services", "*", "logging"]) && changed(&base, &other, "driver") {
        return Ok(other);
    }
    for entry in other {
        if entry.value.tag == MergeTag::Reset {
            base.remove(&entry.key);
            continue;
        }
        path.push(entry.key.clone());
        match base.get_mut(&entry.key) {
            Some(old) => {
                let taken = std::mem::replace(old, Node::null(entry.key_at.clone()));
                let merged = merge(taken, entry.value, path)?;
                base.set(entry.key, merged);
            }
            None => base.push(entry),
        }
        path.pop();
    }
    Ok(base)
}

/// Removes what is left of `!reset`, and all but the latest of list elements with the same identity.
pub fn settle(node: &mut Node, path: &mut Vec<String>) {
    node.tag = MergeTag::None;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|entry| entry.value.tag != MergeTag::Reset);
            for entry in map.iter_mut() {
                path.push(entry.key.clone());
                settle(&mut entry.value, path);
                path.pop();
            }
        }
        Value::Seq(items) => {
            items.retain(|item| item.tag != MergeTag::Reset);
            path.push("*".into());
            items.iter_mut().for_each(|item| settle(item, path));
            path.pop();
            unique(items, path);
        }
        _ => {}
    }
}

fn unique(items: &mut Vec<Node>, path: &[String]) {
    if replaces(path) || !is(path, &["services", "*"]) {
        return;
    }
    let mut kept: Vec<(String, Node)> = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        let identity = identity(&item, path);
        let old = identity.as_ref().and_then(|identity| kept.iter().position(|(kept, _)| kept == identity));
        match (identity, old) {
            // The place of the first, the content of the last.
            (Some(identity), Some(index)) => kept[index] = (identity, item),
            (identity, _) => kept.push((identity.unwrap_or_default(), item)),
        }
    }
    items.extend(kept.into_iter().map(|(_, item)| item));
}

/// What makes an element of the list at `path` the same as another one; none when every element stands for itself.
fn identity(item: &Node, path: &[String]) -> Option<String> {
    let field = |key: &str| item.get(key).and_then(Node::as_text).unwrap_or_default();
    match &item.value {
        Value::Scalar(scalar) => Some(scalar.as_text()),
        Value::Map(_) => match path.last()?.as_str() {
            "ports" => Some(format!(
                "{}:{}:{}/{}",
                field("host_ip"),
                field("published"),
                field("target"),
                field("protocol")
            )),
            "volumes" => Some(field("target")),
            "devices" => Some(if item.get("target").is_some() { field("target") } else { field("source") }),
            "env_file" => Some(field("path")),
            "secrets" | "configs" => {
                Some(if item.get("target").is_some() { field("target") } else { field("source") })
            }
            _ => None,
        },
        _ => None,
    }
}

/// Lists that mean one thing as a whole.
fn replaces(path: &[String]) -> bool {
    match path {
        [services, _, key] => services == "services" && matches!(key.as_str(), "command" | "entrypoint"),
        [services, _, section, key] => {
            services == "services"
                && matches!((section.as_str(), key.as_str()), ("healthcheck", "test") | ("ulimits", _))
        }
        _ => false,
    }
}

fn is(path: &[String], pattern: &[&str]) -> bool {
    path.len() >= pattern.len()
        && path.iter().zip(pattern).all(|(have, wanted)| *wanted == "*" || have == wanted)
}

fn changed(base: &Map, other: &Map, key: &str) -> bool {
    let text = |map: &Map| map.get(key).and_then(Node::as_text);
    text(base).zip(text(other)).is_some_and(|(base, other)| base != other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon;
    use crate::yaml::{emit, parse};

    fn merged(base: &str, other: &str) -> Result<String, LoadError> {
        let read = |text: &str, name: &str| {
            let indented = text.lines().map(|line| format!("    {line}\n")).collect::<String>();
            let mut node = parse(&format!("services:\n  s:\n{indented}"), name).unwrap();
            canon::file(&mut node)?;
            Ok::<_, LoadError>(node)
        };
        let mut node = merge(read(base, "a.yaml")?, read(other, "b.yaml")?, &mut Vec::new())?;
        settle(&mut node, &mut Vec::new());
        Ok(emit(node.get("services").and_then(|services| services.get("s")).unwrap()))
    }

    fn check(base: &str, other: &str, expected: &str) {
        assert_eq!(merged(base, other).unwrap(), expected);
    }

    #[test]
    fn scalars_and_commands_are_replaced() {
        check("image: a\ncommand: x y", "image: b\ncommand: [z]", "image: b\ncommand:\n  - z\n");
        check("image: a\ncommand: x y", "command:", "image: a\ncommand:\n  - x\n  - \"y\"\n");
    }

    #[test]
    fn environments_merge_whatever_their_syntax() {
        check(
            "environment: [A=1, B=2]",
            "environment: {B: 3, C: }",
            "environment:\n  A: \"1\"\n  B: \"3\"\n  C: null\n",
        );
    }

    #[test]
    fn lists_grow_and_elements_with_an_identity_are_replaced() {
        check("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", "dns:\n  - 1.1.1.1\n  - 8.8.8.8\n");
        check(
            "volumes: ['a:/x', 'b:/y']",
            "volumes: ['c:/x:ro']",
            "volumes:\n  - type: volume\n    source: c\n    target: /x\n    read_only: true\n    volume: {}\n  - type: volume\n    source: b\n    target: /y\n    volume: {}\n",
        );
        check(
            "ports: ['80:80']",
            "ports: ['80:80', '81:80']",
            "ports:\n  - mode: ingress\n    target: 80\n    published: \"80\"\n    protocol: tcp\n  - mode: ingress\n    target: 80\n    published: \"81\"\n    protocol: tcp\n",
        );
    }

    #[test]
    fn reset_and_override() {
        check("image: a\nports: ['80:80']", "ports: !reset []", "image: a\n");
        check("dns: [1.1.1.1]", "dns: !override [8.8.8.8]", "dns:\n  - 8.8.8.8\n");
        check("environment: {A: 1, B: 2}", "environment: {A: !reset null}", "environment:\n  B: \"2\"\n");
        check("image: a", "hostname: !reset null", "image: a\n");
    }

    #[test]
    fn logging_of_another_driver_starts_afresh() {
        check(
            "logging: {driver: json-file, options: {max-size: 1m}}",
            "logging: {driver: none}",
            "logging:\n  driver: none\n",
        );
        check(
            "logging: {driver: json-file, options: {max-size: 1m}}",
            "logging: {options: {max-file: 2}}",
            "logging:\n  driver: json-file\n  options:\n    max-size: 1m\n    max-file: \"2\"\n",
        );
    }

    #[test]
    fn types_must_agree() {
        let error = merged("hostname: x", "healthcheck: 3").unwrap_err();
        assert_eq!(error.to_string(), "b.yaml:3:18: services.s.healthcheck must be a mapping, not a number");
    }
}

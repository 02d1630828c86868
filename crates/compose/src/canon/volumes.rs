//! `volumes:` and `devices:` in short syntax.

use super::{Result, at, bytes, invalid, items, wrong_type};
use crate::yaml::{Map, Node, Span, Value};

pub(super) fn list(node: &mut Node, path: &str) -> Result {
    items(node, path, |item, path| {
        match &mut item.value {
            Value::Scalar(scalar) => {
                let text = scalar.as_text();
                let map = short(&text, &item.at).map_err(|why| invalid(item, path, why))?;
                item.value = Value::Map(map);
            }
            Value::Map(map) => {
                if let Some(Value::Map(tmpfs)) = map.get_mut("tmpfs").map(|node| &mut node.value) {
                    at(tmpfs, path, "size", bytes)?;
                }
            }
            _ => return Err(wrong_type(item, path, "a string or a mapping")),
        }
        Ok(())
    })
}

fn set(map: &mut Map, key: &str, value: &str, at: &Span) {
    map.set(key, Node::text(value, at.clone()));
}

/// The long form of `idmap`, which is hull's own: in an extension field, which other programs pass over.
pub(crate) const ID_MAP: &str = "x-hull-idmap";

/// `target`, `source:target` or `source:target:mode`.
fn short(text: &str, at: &Span) -> std::result::Result<Map, String> {
    let bad = |why: &str| format!("is not a volume: {text:?}: {why}");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(bad("too many colons")),
    };
    if target.is_empty() || source == Some("") {
        return Err(bad("empty section between colons"));
    }
    let is_path = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let mut map = Map::default();
    let mut options = Map::default();
    set(&mut map, "type", if is_path { "bind" } else { "volume" }, at);
    if let Some(source) = source {
        set(&mut map, "source", source, at);
    }
    set(&mut map, "target", target, at);
    if is_path {
        options.set("create_host_path", Node::plain(true, at.clone()));
    }
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        if let ("idmap", owners) = word.split_once('=').unwrap_or((word, "")) {
            set(&mut options, ID_MAP, owners, at);
            continue;
        }
        match word {
            "rw" => {}
            "ro" => map.set("read_only", Node::plain(true, at.clone())),
            "nocopy" if !is_path => options.set("nocopy", Node::plain(true, at.clone())),
            "z" | "Z" if is_path => set(&mut options, "selinux", word, at),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if is_path => {
                set(&mut options, "propagation", word, at);
            }
            "cached" | "delegated" | "consistent" => set(&mut map, "consistency", word, at),
            _ => return Err(bad(&format!("unknown mode {word:?}"))),
        }
    }
    map.set(if is_path { "bind" } else { "volume" }, Node::new(Value::Map(options), at.clone()));
    Ok(map)
}

/// `host`, `host:container` or `host:container:rwm`.
pub(super) fn device(node: &mut Node, path: &str) -> Result {
    let Value::Scalar(scalar) = &node.value else { return Ok(()) };
    let text = scalar.as_text();
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return Err(invalid(node, path, format!("is not a device: {text:?}"))),
    };
    let mut map = Map::default();
    set(&mut map, "source", source, &node.at);
    set(&mut map, "target", target, &node.at);
    set(&mut map, "permissions", permissions, &node.at);
    node.value = Value::Map(map);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{emit, parse};

    fn check(text: &str, expected: &str) {
        let mut node = parse(&format!("['{text}']"), "c").unwrap();
        let out = match list(&mut node, "v") {
            Ok(()) => emit(&node).split_whitespace().skip(1).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn short_forms() {
        check("/x", "type: volume target: /x volume: {}");
        check("data:/x", "type: volume source: data target: /x volume: {}");
        check(
            "data:/x:ro,nocopy",
            "type: volume source: data target: /x read_only: true volume: nocopy: true",
        );
        check("./a:/x", "type: bind source: ./a target: /x bind: create_host_path: true");
        check(
            "/a:/x:ro,z",
            "type: bind source: /a target: /x read_only: true bind: create_host_path: true selinux: z",
        );
        check(
            "data:/x:ro,idmap=owner",
            "type: volume source: data target: /x read_only: true volume: x-hull-idmap: owner",
        );
        check(
            "~/a:/x:rslave",
            "type: bind source: ~/a target: /x bind: create_host_path: true propagation: rslave",
        );
    }

    #[test]
    fn bad_volumes_say_why() {
        check("a:b:c:d", "c:1:2: v.0 is not a volume: \"a:b:c:d\": too many colons");
        check(":/x", "c:1:2: v.0 is not a volume: \":/x\": empty section between colons");
        check("a:/x:zz", "c:1:2: v.0 is not a volume: \"a:/x:zz\": unknown mode \"zz\"");
    }
}

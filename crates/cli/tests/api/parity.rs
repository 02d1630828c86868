//! The same requests and the same commands to hull and to dockerd: what is answered may differ where that is meant, and nowhere else.

mod bodies;
mod commands;
mod images;
mod refusals;

use std::collections::BTreeSet;

use serde_json::Value;

/// Documents compared field by field.
///
/// A pattern is the end of a path, `HostConfig/Memory`; `*` stands for any one piece of it, `#` for a place in a list.
struct Comparison {
    /// Values that are each engine's own: only their types are the same, and whether texts and lists are empty.
    own: &'static [&'static str],
    /// What is meant to differ, and why.
    meant: &'static [(&'static str, &'static str)],
    differed: BTreeSet<&'static str>,
    found: Vec<String>,
}

impl Comparison {
    fn new(own: &'static [&'static str], meant: &'static [(&'static str, &'static str)]) -> Self {
        Self { own, meant, differed: BTreeSet::new(), found: Vec::new() }
    }

    /// Compares hull's document with dockerd's; `path` says which it is.
    fn compare(&mut self, path: &str, ours: Option<&Value>, theirs: Option<&Value>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) if self.is_own(path) && shape(ours) == shape(theirs) => {}
            // Whoever reads null has no trouble with an empty list.
            (Some(ours), Some(Value::Null)) if matches!(shape(ours), ("array" | "object", true)) => {}
            _ if self.is_meant(path) => {}
            (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
                let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
                for key in keys {
                    self.compare(&format!("{path}/{key}"), ours.get(key), theirs.get(key));
                }
            }
            (Some(Value::Array(ours)), Some(Value::Array(theirs))) if ours.len() == theirs.len() => {
                for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    self.compare(&format!("{path}/{index}"), Some(ours), Some(theirs));
                }
            }
            _ => {
                let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                self.found.push(format!("{path}: {} and not {}", text(ours), text(theirs)));
            }
        }
    }

    fn is_own(&self, path: &str) -> bool {
        self.own.iter().any(|pattern| ends_with(path, pattern))
    }

    fn is_meant(&mut self, path: &str) -> bool {
        let meant = self.meant.iter().find(|(pattern, _)| ends_with(path, pattern));
        self.differed.extend(meant.map(|(pattern, _)| *pattern));
        meant.is_some()
    }

    /// Nothing else differs than what is meant to, and that does.
    #[track_caller]
    fn finish(self) {
        assert!(self.found.is_empty(), "{:#?}", self.found);
        let same: Vec<&str> =
            self.meant.iter().map(|(path, _)| *path).filter(|path| !self.differed.contains(path)).collect();
        assert!(same.is_empty(), "these do not differ any more: {same:?}");
    }
}

/// What values of an engine's own have in common with the other's.
fn shape(value: &Value) -> (&'static str, bool) {
    match value {
        Value::Null => ("null", true),
        Value::Bool(_) => ("bool", false),
        Value::Number(_) => ("number", false),
        Value::String(text) => ("string", text.is_empty()),
        Value::Array(list) => ("array", list.is_empty()),
        Value::Object(map) => ("object", map.is_empty()),
    }
}

fn ends_with(path: &str, pattern: &str) -> bool {
    let mut pieces = path.rsplit('/');
    pattern.rsplit('/').all(|wanted| {
        pieces.next().is_some_and(|piece| match wanted {
            "*" => true,
            "#" => piece.parse::<usize>().is_ok(),
            wanted => wanted == piece,
        })
    })
}

/// Sorts lists whose order says nothing by what names their members.
fn sort(document: &mut Value) {
    let name = |value: &Value| -> Option<String> {
        let value = value.as_object()?;
        let key = ["Destination", "Name", "Names", "PrivatePort", "Id", "ID", "Target"]
            .into_iter()
            .find_map(|key| value.get(key));
        Some(key?.to_string())
    };
    match document {
        Value::Array(list) => {
            list.iter_mut().for_each(sort);
            list.sort_by_cached_key(name);
        }
        Value::Object(map) => map.iter_mut().for_each(|(_, value)| sort(value)),
        _ => {}
    }
}

//! Reading one mapping: every key that is asked for is known, every other one is an error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::canon::invalid;
use crate::error::LoadError;
use crate::yaml::{Entry, Map, Node, Plain, Scalar, Value};

type Result<T> = std::result::Result<T, LoadError>;

pub(super) struct Section<'a> {
    node: &'a Node,
    map: Option<&'a Map>,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// `node` must be a mapping, or null for an empty one.
    pub fn new(node: &'a Node, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        if !node.is_null() && node.as_map().is_none() {
            return Err(wrong(node, &path, "a mapping"));
        }
        Ok(Self { node, map: node.as_map(), path, known: RefCell::default() })
    }

    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`, unless absent or null.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().push(key);
        self.map?.get(key).filter(|node| !node.is_null())
    }

    /// An error about the value of `key`.
    pub fn invalid(&self, key: &str, message: impl Into<String>) -> LoadError {
        let node = self.map.and_then(|map| map.get(key)).unwrap_or(self.node);
        invalid(node, &self.path(key), message)
    }

    fn scalar(&self, key: &'static str, wanted: &str) -> Result<Option<&'a Scalar>> {
        match self.node(key) {
            None => Ok(None),
            Some(Node { value: Value::Scalar(scalar), .. }) => Ok(Some(scalar)),
            Some(node) => Err(wrong(node, &self.path(key), wanted)),
        }
    }

    /// A string; a number must be quoted.
    pub fn text(&self, key: &'static str) -> Result<Option<String>> {
        match self.scalar(key, "a string")? {
            Some(scalar) if scalar.resolve() != Plain::Text => {
                let shown = scalar.as_text();
                let kind = self.node(key).map_or("", Node::kind);
                Err(self.invalid(key, format!("must be a string, not {kind}: write \"{shown}\" in quotes")))
            }
            scalar => Ok(scalar.map(|scalar| scalar.text.clone())),
        }
    }

    /// A string or number.
    pub fn loose(&self, key: &'static str) -> Result<Option<String>> {
        Ok(self.scalar(key, "a string or number")?.map(Scalar::as_text))
    }

    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>> {
        let Some(scalar) = self.scalar(key, "a boolean")? else { return Ok(None) };
        match scalar.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "n" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.invalid(key, format!("must be a boolean, not {:?}", scalar.text))),
        }
    }

    pub fn flag(&self, key: &'static str) -> Result<bool> {
        Ok(self.boolean(key)?.unwrap_or(false))
    }

    pub fn int(&self, key: &'static str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(scalar) = self.scalar(key, "a whole number")? else { return Ok(None) };
        let value = Scalar { plain: true, ..scalar.clone() };
        match value.resolve() {
            Plain::Int(value) if range.contains(&value) => Ok(Some(value)),
            Plain::Int(value) if *range.end() == i64::MAX => {
                Err(self.invalid(key, format!("must be at least {}, not {value}", range.start())))
            }
            Plain::Int(value) => {
                Err(self.invalid(key, format!("must be {} to {}, not {value}", range.start(), range.end())))
            }
            _ => Err(self.invalid(key, format!("must be a whole number, not {:?}", scalar.text))),
        }
    }

    /// A string or number that `parse` understands.
    pub fn parsed<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        let Some(text) = self.loose(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|error| self.invalid(key, format!("is wrong: {error}")))
    }

    pub fn list(&self, key: &'static str) -> Result<&'a [Node]> {
        match self.node(key) {
            None => Ok(&[]),
            Some(node) => node.as_seq().ok_or_else(|| wrong(node, &self.path(key), "a list")),
        }
    }

    /// A list of strings or numbers.
    pub fn texts(&self, key: &'static str) -> Result<Vec<String>> {
        let path = self.path(key);
        let items = self.list(key)?.iter().enumerate();
        items
            .map(|(index, item)| {
                item.as_text().ok_or_else(|| wrong(item, &format!("{path}.{index}"), "a string"))
            })
            .collect()
    }

    /// A list whose elements `parse` understands.
    pub fn parsed_list<T, E: Display>(
        &self,
        key: &'static str,
        mut parse: impl FnMut(&str) -> std::result::Result<T, E>,
    ) -> Result<Vec<T>> {
        let texts = self.texts(key)?;
        let nodes = self.list(key)?;
        texts
            .iter()
            .zip(nodes)
            .map(|(text, node)| {
                parse(text).map_err(|error| invalid(node, &self.path(key), format!("is wrong: {error}")))
            })
            .collect()
    }

    /// A mapping to strings; a key without a value has none.
    pub fn optional_dictionary(&self, key: &'static str) -> Result<BTreeMap<String, Option<String>>> {
        let path = self.path(key);
        self.children(key)?
            .map(|entry| match &entry.value.value {
                Value::Null => Ok((entry.key.clone(), None)),
                Value::Scalar(scalar) => Ok((entry.key.clone(), Some(scalar.as_text()))),
                _ => Err(wrong(&entry.value, &format!("{path}.{}", entry.key), "a string")),
            })
            .collect()
    }

    /// A mapping to strings; a key without a value has an empty one.
    pub fn dictionary(&self, key: &'static str) -> Result<BTreeMap<String, String>> {
        let map = self.optional_dictionary(key)?;
        Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }

    pub fn section(&self, key: &'static str) -> Result<Option<Section<'a>>> {
        self.node(key).map(|node| Section::new(node, self.path(key))).transpose()
    }

    /// The elements of a list of mappings.
    pub fn sections(&self, key: &'static str) -> Result<Vec<Section<'a>>> {
        let path = self.path(key);
        let items = self.list(key)?.iter().enumerate();
        items.map(|(index, item)| Section::new(item, format!("{path}.{index}"))).collect()
    }

    /// The entries of the mapping at `key`, without extensions.
    pub fn children(&self, key: &'static str) -> Result<impl Iterator<Item = &'a Entry> + use<'a>> {
        let entries: &[Entry] = match self.node(key) {
            None => &[],
            Some(node) => node.as_map().ok_or_else(|| wrong(node, &self.path(key), "a mapping"))?.entries(),
        };
        Ok(entries.iter().filter(|entry| !entry.key.starts_with("x-")))
    }

    /// Refuses `key` of the specification by name.
    pub fn unsupported(&self, key: &'static str, reason: &'static str) -> Result<()> {
        match self.node(key) {
            None => Ok(()),
            Some(node) => Err(LoadError::Unsupported { at: node.at.clone(), path: self.path(key), reason }),
        }
    }

    /// Refuses every key nobody asked for.
    pub fn finish(&self) -> Result<()> {
        let known = self.known.borrow();
        let strange = self.map.and_then(|map| {
            map.iter().find(|e| !e.key.starts_with("x-") && !known.contains(&e.key.as_str()))
        });
        match strange {
            None => Ok(()),
            Some(entry) => Err(LoadError::UnknownKey {
                at: entry.key_at.clone(),
                path: if self.path.is_empty() { "top-level object".into() } else { self.path.clone() },
                key: entry.key.clone(),
                similar: diag::similar(&entry.key, known.iter().copied()),
            }),
        }
    }
}

fn wrong(node: &Node, path: &str, wanted: &str) -> LoadError {
    invalid(node, path, format!("must be {wanted}, not {}", node.kind()))
}

//! YAML as Compose reads it: a tree that remembers where each node was written.
//!
//! Merging, interpolation and every error message need positions, tags and the difference between `80` and `"80"`, so scalars
//! keep their text and whether it was plain; what they mean is decided by whoever reads them.

mod emit;
mod parse;

use std::fmt;
use std::sync::Arc;

pub use emit::emit;
pub use parse::parse;

/// Where a node was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    pub file: Arc<str>,
    /// Counted from 1; 0 when the node was not written by anybody.
    pub line: u32,
    pub column: u32,
}

impl Span {
    /// The position of things that no file holds: defaults, flags.
    pub fn nowhere() -> Self {
        Self { file: Arc::from(""), line: 0, column: 0 }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            _ => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a later file asks for beyond merging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeTag {
    #[default]
    None,
    /// `!reset`: remove what earlier files said.
    Reset,
    /// `!override`: replace instead of merging.
    Override,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    pub at: Span,
    pub tag: MergeTag,
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Map),
}

/// A scalar's text; `plain` when unquoted and untouched by interpolation, so that its type may be guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub text: String,
    pub plain: bool,
}

/// The type YAML gives a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

impl Scalar {
    pub fn resolve(&self) -> Plain {
        if !self.plain {
            return Plain::Text;
        }
        match self.text.as_str() {
            "true" | "True" | "TRUE" => return Plain::Bool(true),
            "false" | "False" | "FALSE" => return Plain::Bool(false),
            _ => {}
        }
        if let Some(int) = parse_int(&self.text) {
            return Plain::Int(int);
        }
        let numeric = self.text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))
            && self.text.contains(|c: char| c.is_ascii_digit());
        match numeric.then(|| self.text.parse::<f64>()) {
            Some(Ok(float)) => Plain::Float(float),
            _ => Plain::Text,
        }
    }

    /// The text a program gets when the scalar is used as a string: numbers in their plain decimal form.
    pub fn as_text(&self) -> String {
        match self.resolve() {
            Plain::Bool(value) => value.to_string(),
            Plain::Int(value) => value.to_string(),
            Plain::Float(value) => value.to_string(),
            Plain::Text => self.text.clone(),
        }
    }
}

/// YAML 1.2 integers plus the leading-zero octal that Compose files use for file modes.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok().map(|value| if negative { -value } else { value })
}

impl Node {
    pub fn new(value: Value, at: Span) -> Self {
        Self { value, at, tag: MergeTag::None }
    }

    pub fn null(at: Span) -> Self {
        Self::new(Value::Null, at)
    }

    /// A string that is a string whatever it looks like.
    pub fn text(text: impl Into<String>, at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.into(), plain: false }), at)
    }

    /// A number or boolean.
    pub fn plain(value: impl fmt::Display, at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: value.to_string(), plain: true }), at)
    }

    pub fn map(at: Span) -> Self {
        Self::new(Value::Map(Map::default()), at)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The scalar's text as a program would get it.
    pub fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.as_text()),
            _ => None,
        }
    }

    /// The value at `key`, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// What the node is, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.resolve() {
                Plain::Bool(_) => "a boolean",
                Plain::Int(_) | Plain::Float(_) => "a number",
                Plain::Text => "a string",
            },
        }
    }
}

/// A mapping in the order it was written.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Span,
    pub value: Node,
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`, in its old place when it had one.
    pub fn set(&mut self, key: impl Into<String>, value: Node) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(old) => *old = value,
            None => self.entries.push(Entry { key, key_at: value.at.clone(), value }),
        }
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index).value)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Entry> {
        self.entries.iter_mut()
    }

    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&Entry) -> K) {
        self.entries.sort_by_key(key);
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Map {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

//! Parser events to tree: anchors, aliases, merge keys, tags, duplicate keys.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Entry, Map, MergeTag, Node, Scalar, Span, Value};
use crate::error::LoadError;

/// How many nodes a document may grow to once its aliases are expanded: far above any real file, far below a bomb.
const MAX_NODES: usize = 200_000;
/// How deep a document may nest; keeps every recursive walk over the tree within its stack.
const MAX_DEPTH: usize = 64;

/// Parses the single document `text` of `file`; an empty document is a null node.
pub fn parse(text: &str, file: &str) -> Result<Node, LoadError> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        file: Arc::from(file),
        anchors: HashMap::new(),
        nodes: 0,
        depth: 0,
    };
    let mut root = None;
    loop {
        let (event, at) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            _ if root.is_some() => return Err(syntax(at, "a Compose file holds one document")),
            event => root = Some(builder.node(event, at)?),
        }
    }
    Ok(root.unwrap_or_else(|| Node::null(Span { file: builder.file, line: 1, column: 1 })))
}

fn syntax(at: Span, message: impl Into<String>) -> LoadError {
    LoadError::Syntax { at, message: message.into() }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: Arc<str>,
    /// Finished anchored nodes with their size in nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn span(&self, mark: &Marker) -> Span {
        Span {
            file: self.file.clone(),
            line: u32::try_from(mark.line()).unwrap_or(u32::MAX),
            column: u32::try_from(mark.col()).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), LoadError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(&span.start))),
            Some(Err(error)) => Err(syntax(self.span(error.marker()), error.info().to_owned())),
            None => Ok((Event::StreamEnd, Span { file: self.file.clone(), line: 0, column: 0 })),
        }
    }

    fn count(&mut self, nodes: usize, at: &Span) -> Result<(), LoadError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(syntax(at.clone(), format!("the document has more than {MAX_NODES} nodes")));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, at: Span) -> Result<Node, LoadError> {
        let before = self.nodes;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(syntax(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (anchor, node) = match event {
            Event::Alias(id) => {
                // An anchor inside its own value is not finished yet, so a cycle cannot be written.
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err(syntax(at, "alias to an anchor that is not complete here"));
                };
                let (node, size) = (node.clone(), *size);
                self.count(size, &at)?;
                (0, node)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, &at)?;
                (anchor, scalar(&text, style, tag.as_deref(), at)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.count(1, &at)?;
                let tag = merge_tag(tag.as_deref(), &at)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at)?),
                    }
                }
                (anchor, Node { value: Value::Seq(items), at, tag })
            }
            Event::MappingStart(anchor, tag) => {
                self.count(1, &at)?;
                let tag = merge_tag(tag.as_deref(), &at)?;
                (anchor, Node { value: Value::Map(self.mapping()?), at, tag })
            }
            _ => return Err(syntax(at, "unexpected end of a collection")),
        };
        self.depth -= 1;
        if anchor != 0 {
            // The copy kept for aliases counts like any other.
            let size = self.nodes - before;
            self.count(size, &node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn mapping(&mut self) -> Result<Map, LoadError> {
        let mut map = Map::default();
        let mut inherited = Vec::new();
        loop {
            let (event, key_at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge_key = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = match self.node(event, key_at.clone())?.value {
                Value::Scalar(scalar) => scalar.text,
                Value::Null => "null".to_owned(),
                _ => return Err(syntax(key_at, "a key must be a string")),
            };
            let (event, at) = self.next()?;
            let value = self.node(event, at)?;
            if merge_key {
                inherited.push(value);
                continue;
            }
            if let Some(first) = map.entry(&key) {
                let line = first.key_at.line;
                return Err(syntax(key_at, format!("key \"{key}\" is already defined at line {line}")));
            }
            map.push(Entry { key, key_at, value });
        }
        for node in inherited {
            inherit(&mut map, node)?;
        }
        Ok(map)
    }
}

/// Applies one `<<` value: keys the mapping has itself win, earlier sources win over later ones.
fn inherit(map: &mut Map, node: Node) -> Result<(), LoadError> {
    match node.value {
        Value::Map(source) => {
            for entry in source {
                if !map.contains(&entry.key) {
                    map.push(entry);
                }
            }
            Ok(())
        }
        Value::Seq(items) => items.into_iter().try_for_each(|item| inherit(map, item)),
        _ => Err(syntax(node.at, "a merge key `<<` takes a mapping or a list of mappings")),
    }
}

fn merge_tag(tag: Option<&Tag>, at: &Span) -> Result<MergeTag, LoadError> {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Ok(MergeTag::Reset),
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Ok(MergeTag::Override),
        Some(tag) if !tag.is_yaml_core_schema() => Err(syntax(at.clone(), format!("unknown tag {tag}"))),
        _ => Ok(MergeTag::None),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Span) -> Result<Node, LoadError> {
    let mut plain = style == ScalarStyle::Plain;
    let merge = merge_tag(tag, &at)?;
    if let Some(tag) = tag.filter(|tag| tag.is_yaml_core_schema()) {
        plain = tag.suffix != "str";
    }
    let null = plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let value = if null { Value::Null } else { Value::Scalar(Scalar { text: text.to_owned(), plain }) };
    Ok(Node { value, at, tag: merge })
}

#[cfg(test)]
mod tests {
    use super::super::emit;
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(emit(&parse(text, "c.yaml").unwrap()), expected);
    }

    fn refuse(text: &str, expected: &str) {
        assert_eq!(parse(text, "c.yaml").unwrap_err().to_string(), expected);
    }

    #[test]
    fn anchors_and_merge_keys() {
        check("a: &x {p: 1, q: two}\nb: *x\n", "a:\n  p: 1\n  q: two\nb:\n  p: 1\n  q: two\n");
        check(
            "a: &x {p: 1}\nz: &y {p: 2, r: 3}\nb:\n  <<: [*x, *y]\n  q: 4\n",
            "a:\n  p: 1\nz:\n  p: 2\n  r: 3\nb:\n  q: 4\n  p: 1\n  r: 3\n",
        );
    }

    #[test]
    fn scalars_keep_their_quotes_where_they_matter() {
        check(
            "a: 80\nb: '80'\nc: ~\nd: yes\ne: 1.5\nf: ''\n",
            "a: 80\nb: \"80\"\nc: null\nd: \"yes\"\ne: 1.5\nf: \"\"\n",
        );
    }

    #[test]
    fn bad_documents_name_their_place() {
        refuse("a: 1\nb: 2\na: 3\n", "c.yaml:3:1: key \"a\" is already defined at line 1");
        refuse("a: !what 1\n", "c.yaml:1:4: unknown tag !what");
        refuse("a: 1\n---\nb: 2\n", "c.yaml:3:1: a Compose file holds one document");
        refuse("a:\n  <<: 3\n", "c.yaml:2:7: a merge key `<<` takes a mapping or a list of mappings");
        assert!(parse("a: [1, 2\nb: }", "c.yaml").unwrap_err().to_string().starts_with("c.yaml:"));
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let previous = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{previous}]\n");
        }
        refuse(&text, "c.yaml:5:5: the document has more than 200000 nodes");
        refuse(&"[".repeat(100), "c.yaml:1:65: nested deeper than 64 levels");
    }
}

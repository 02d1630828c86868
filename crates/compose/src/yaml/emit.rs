//! The tree as canonical YAML text: two-space indent, double quotes only where a reader would see something else.

use std::fmt::Write as _;

use super::{Map, Node, Plain, Scalar, Value};

/// Renders `node` as a block-style document.
pub fn emit(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Map(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Seq(items) if !items.is_empty() => sequence(&mut out, items, 0),
        _ => {
            inline(&mut out, node, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n(' ', level * 2));
}

fn mapping(out: &mut String, map: &Map, level: usize) {
    for (index, entry) in map.iter().enumerate() {
        // The first key of a mapping inside a list stands on the dash's line.
        if index > 0 || !out.ends_with("- ") {
            indent(out, level);
        }
        out.push_str(&quoted(&entry.key));
        out.push(':');
        child(out, &entry.value, level);
    }
}

fn child(out: &mut String, node: &Node, level: usize) {
    match &node.value {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, level + 1);
        }
        Value::Seq(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, items, level + 1);
        }
        _ => {
            out.push(' ');
            inline(out, node, level + 1);
            out.push('\n');
        }
    }
}

fn sequence(out: &mut String, items: &[Node], level: usize) {
    for item in items {
        indent(out, level);
        out.push_str("- ");
        match &item.value {
            Value::Map(map) if !map.is_empty() => mapping(out, map, level + 1),
            Value::Seq(inner) if !inner.is_empty() => {
                out.pop();
                out.push('\n');
                sequence(out, inner, level + 1);
            }
            _ => {
                inline(out, item, level + 1);
                out.push('\n');
            }
        }
    }
}

fn inline(out: &mut String, node: &Node, level: usize) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Seq(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
        Value::Scalar(scalar) if scalar.plain && scalar.resolve() != Plain::Text => {
            out.push_str(&scalar.as_text())
        }
        Value::Scalar(scalar) => text(out, &scalar.text, level),
    }
}

fn text(out: &mut String, text: &str, level: usize) {
    let block = text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    if !block {
        out.push_str(&quoted(text));
        return;
    }
    out.push_str(match (text.ends_with('\n'), text.ends_with("\n\n")) {
        (_, true) => "|+",
        (true, _) => "|",
        _ => "|-",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, level);
            out.push_str(line);
        }
    }
}

/// `text` as a YAML string, quoted when it would read back as anything else.
fn quoted(text: &str) -> String {
    let plain = Scalar { text: text.to_owned(), plain: true };
    let special = text.is_empty()
        || plain.resolve() != Plain::Text
        || text.starts_with([
            ' ', '-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@',
            '`',
        ]) && !starts_harmlessly(text)
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text.contains(|c: char| c.is_control())
        || matches!(
            text.to_ascii_lowercase().as_str(),
            "~" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "<<" | "="
        );
    if !special {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `-x`, `?x` and `:x` are ordinary text in block style.
fn starts_harmlessly(text: &str) -> bool {
    let mut chars = text.chars();
    matches!(chars.next(), Some('-' | '?' | ':'))
        && chars.next().is_some_and(|c| !c.is_whitespace())
        && !text.starts_with("---")
}

#[cfg(test)]
mod tests {
    use super::super::{Span, parse};
    use super::*;

    #[test]
    fn text_reads_back_as_itself() {
        for text in [
            "",
            "plain",
            "80",
            "0755",
            "true",
            "null",
            "~",
            "yes",
            "- a",
            "-a",
            "--",
            "---",
            "a: b",
            "a:b",
            "a #b",
            "#a",
            "*x",
            "\"",
            "'",
            "a\nb",
            "a\nb\n",
            "a\n\nb\n\n",
            " lead\nx",
            "tab\there",
            "\u{1}",
            "1.5",
            "1e3",
            "trail ",
            "x:",
            "?",
            "@a",
            "%a",
            "a\n  b\n",
            "é",
            "\r\n",
        ] {
            let mut out = Node::map(Span::nowhere());
            out.as_map_mut().unwrap().set("k", Node::text(text, Span::nowhere()));
            let yaml = emit(&out);
            let back = parse(&yaml, "x").unwrap();
            assert_eq!(back.get("k").and_then(Node::as_text).as_deref(), Some(text), "{yaml}");
        }
    }
}

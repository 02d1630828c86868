//! JSON text laid out anew, its members in the order they have.

/// `text`, which is JSON, with an item a line and `unit` before it for each level, as Go's `encoding/json` does it.
pub fn indented(text: &str, unit: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut begun, mut quoted, mut escaped) = (0_usize, false, false, false);
    for c in text.chars() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let ends = matches!(c, '}' | ']');
        depth = depth.saturating_sub(usize::from(ends));
        // An empty object or list stays on its line.
        if begun != ends {
            out.push('\n');
            out.push_str(&unit.repeat(depth));
        }
        begun = matches!(c, '{' | '[');
        depth += usize::from(begun);
        quoted = c == '"';
        out.push(c);
        match c {
            ':' => out.push(' '),
            ',' => {
                out.push('\n');
                out.push_str(&unit.repeat(depth));
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::indented;

    #[test]
    fn as_go_does_it() {
        let check = |text, expected: &str| assert_eq!(indented(text, " "), expected);
        check("7", "7");
        check("{ }", "{}");
        check(r#"{"b" :1,"a":[]}"#, "{\n \"b\": 1,\n \"a\": []\n}");
        check(r#"[{"a":{}},[ 1 ,2]]"#, "[\n {\n  \"a\": {}\n },\n [\n  1,\n  2\n ]\n]");
        check(r#"{"a":"{\"x\": [\\"}"#, "{\n \"a\": \"{\\\"x\\\": [\\\\\"\n}");
        check(&indented(r#"{"a":[1,{"b":null}]}"#, "\t"), &indented(r#"{"a":[1,{"b":null}]}"#, " "));
    }
}

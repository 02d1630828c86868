//! How the rest of a line falls into flags, words, name-value pairs and JSON arrays.

/// Splits leading `--name[=value]` words off `rest`; quotes and backslashes inside them are resolved.
pub fn flags(rest: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = rest.trim_start();
    while rest.starts_with("--") {
        let (word, after) = flag_word(rest);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

fn flag_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == '\\' => word.extend(chars.next().map(|(_, next)| next)),
            _ => word.push(c),
        }
    }
    (word, "")
}

/// Splits at blanks outside quotes; quotes and escapes stay in the words for the expansion to resolve.
pub fn quoted(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // A lone escape at the very end is dropped.
            if let Some(next) = chars.next() {
                word.push(c);
                word.push(next);
            }
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `k=v k2="v 2"`, or the legacy `k the rest` when the first word has no equals sign.
pub fn name_values(rest: &str, escape: char, what: &str) -> Result<Vec<(String, String)>, String> {
    let words = quoted(rest, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (name, value) = rest
            .trim()
            .split_once(|c: char| c.is_whitespace())
            .ok_or_else(|| format!("{what} must have two arguments"))?;
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{what} names can not be blank")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("can't find = in {word:?}: must be of the form name=value")),
        })
        .collect()
}

/// The strings of a JSON array; `None` when `rest` is not one and the shell form is meant.
pub fn json_array(rest: &str) -> Option<Result<Vec<String>, String>> {
    let rest = rest.trim();
    if !rest.starts_with('[') {
        return None;
    }
    let values: Vec<serde_json::Value> = serde_json::from_str(rest).ok()?;
    Some(
        values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Ok(text),
                _ => Err("when using JSON array syntax, arrays must be comprised of strings only".to_owned()),
            })
            .collect(),
    )
}

/// A JSON array or else words at blanks.
pub fn list(rest: &str) -> Result<Vec<String>, String> {
    json_array(rest).unwrap_or_else(|| Ok(rest.split_whitespace().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        let check = |text, expected: &[&str], rest| {
            let (flags, left) = flags(text);
            assert_eq!(
                (flags.iter().map(String::as_str).collect::<Vec<_>>(), left),
                (expected.to_vec(), rest)
            );
        };
        check("a --b", &[], "a --b");
        check(" --a=1 --b  c --d", &["--a=1", "--b"], "c --d");
        check("--a='1 2' \"x\"", &["--a=1 2"], "\"x\"");
        check("--a=1\\ 2 x", &["--a=1 2"], "x");
        check("-- --x", &[], "--x");
        check("--a", &["--a"], "");
        check("--a=\"", &["--a="], "");
    }

    #[test]
    fn pairs() {
        let check = |text, expected: &[(&str, &str)]| {
            let got = name_values(text, '\\', "ENV").unwrap();
            let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(got, expected, "{text}");
        };
        check("a=b", &[("a", "b")]);
        check("a=b c=d", &[("a", "b"), ("c", "d")]);
        check("a=\"b c\" d='e f'", &[("a", "\"b c\""), ("d", "'e f'")]);
        check("a=b\\ c d=", &[("a", "b\\ c"), ("d", "")]);
        check("a b=c d", &[("a", "b=c d")]);
        check("a   b  ", &[("a", "b")]);
        check("a=b=c", &[("a", "b=c")]);
        check("a=\"x\\\"y z\" b=1", &[("a", "\"x\\\"y z\""), ("b", "1")]);
        check("a='x\\' b=1", &[("a", "'x\\'"), ("b", "1")]);
        check("a=b\\", &[("a", "b")]);
        assert_eq!(name_values("a", '\\', "ENV").unwrap_err(), "ENV must have two arguments");
        assert!(name_values("a=b c", '\\', "ENV").unwrap_err().starts_with("can't find = in \"c\""));
        assert_eq!(name_values("=b", '\\', "LABEL").unwrap_err(), "LABEL names can not be blank");
    }

    #[test]
    fn json_or_shell() {
        assert_eq!(json_array("[\"a\", \"b c\"]").unwrap().unwrap(), ["a", "b c"]);
        assert_eq!(json_array("[]").unwrap().unwrap(), [""; 0]);
        assert!(json_array("[ -f x ] && y").is_none());
        assert!(json_array("['a']").is_none());
        assert!(json_array("[\"a\"] && b").is_none());
        assert!(json_array("[1]").unwrap().is_err());
        assert_eq!(list("a  b").unwrap(), ["a", "b"]);
    }
}

//! What a registry asks for in `WWW-Authenticate`.
//!
//! Spec: RFC 9110, 11.6.1; the token protocol of the distribution project.

use std::collections::HashMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// One way of saying who one is.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The challenge to answer: a token where tokens are given, otherwise a password.
pub fn of(headers: &HeaderMap) -> Option<Challenge> {
    let mut found: Vec<Challenge> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .flat_map(|value| parse(value.to_str().unwrap_or_default()))
        .collect();
    found.sort_by_key(|challenge| *challenge == Challenge::Basic);
    found.into_iter().next()
}

/// The challenges of one header, of which there may be several; those of unknown schemes are left out.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut scheme = "";
    let mut parameters = HashMap::new();
    for (word, value) in Words(header) {
        match value {
            Some(value) => {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            None => {
                found.extend(challenge(scheme, &mut parameters));
                scheme = word;
                parameters.clear();
            }
        }
    }
    found.extend(challenge(scheme, &mut parameters));
    found
}

fn challenge(scheme: &str, parameters: &mut HashMap<String, String>) -> Option<Challenge> {
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer {
        realm: parameters.remove("realm")?,
        service: parameters.remove("service"),
        scope: parameters.remove("scope"),
    })
}

/// Takes a header apart: `scheme` alone, or `key=value` whose quotes may hold commas and escaped quotes.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, Option<String>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return None;
        }
        let end = text.find([' ', '\t', ',', '=']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let Some(rest) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            self.0 = rest;
            return Some((word, None));
        };
        let (value, rest) = value(rest.trim_start_matches([' ', '\t']));
        self.0 = rest;
        Some((word, Some(value)))
    }
}

/// The value `text` begins with, and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
        return (value.trim_end().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            '"' => return (value, &quoted[at + 1..]),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges() {
        let check = |header: &str, expected: &[Challenge]| assert_eq!(parse(header), expected, "{header}");
        check("Basic realm=\"x\"", &[Challenge::Basic]);
        check("basic", &[Challenge::Basic]);
        check("Negotiate", &[]);
        check("", &[]);
        check(
            r#"bearer realm="https://a/t?x=1", service=reg,scope="repository:a:pull,push""#,
            &[bearer("https://a/t?x=1", Some("reg"), Some("repository:a:pull,push"))],
        );
        check("Bearer realm = \"a\\\"b\" , service=\"s\"", &[bearer("a\"b", Some("s"), None)]);
        check("Bearer service=\"no realm\"", &[]);
        check(
            "Negotiate, Basic realm=\"a, b\", Bearer realm=r",
            &[Challenge::Basic, bearer("r", None, None)],
        );
        check("Bearer realm=\"unfinished", &[bearer("unfinished", None, None)]);
    }

    #[test]
    fn tokens_come_before_passwords() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=x".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Bearer realm=y".parse().unwrap());
        assert_eq!(of(&headers), Some(bearer("y", None, None)));
        assert_eq!(of(&HeaderMap::new()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_an_answer(text in ".*", header in r#"(bearer|basic|realm|scope|[= ,"\\\t a])*"#) {
            let _ = parse(&format!("Bearer {text}"));
            let _ = parse(&header);
        }
    }
}

//! `.env` and `env_file` files as Docker Compose reads them.
//!
//! `KEY=value`, `export KEY=value`, `KEY: value`; `KEY` alone takes the value from the caller's environment. Single quotes are
//! literal, double quotes know escapes and variables, both may span lines; unquoted values end at ` #`.

use std::path::Path;
use std::sync::Arc;

use crate::error::LoadError;
use crate::interpolate::Interpolator;
use crate::yaml::Span;

/// The variables of one file, in its order.
pub type Variables = Vec<(String, String)>;

/// Reads the file at `path`; `lookup` is what `$NAME` means besides the file's own earlier variables, and wins over them.
pub fn read(path: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Variables, LoadError> {
    let text = read_text(path)?;
    parse(&text, &path.to_string_lossy(), lookup)
}

pub(crate) fn read_text(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::Read {
        what: "env file",
        path: path.to_owned(),
        source,
    })
}

/// Reads `KEY=value` lines without quotes or expansion: `env_file` with `format: raw`.
pub fn parse_raw(text: &str) -> Variables {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .collect()
}

/// Reads `text`; `file` is its name in errors.
pub fn parse(
    text: &str,
    file: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Variables, LoadError> {
    let mut parser = Parser {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        file: Arc::from(file),
        lookup,
        out: Vec::new(),
    };
    while parser.assignment()? {}
    Ok(parser.out)
}

struct Parser<'a> {
    rest: &'a str,
    line: u32,
    file: Arc<str>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    out: Variables,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, line: u32, message: impl Into<String>) -> Result<T, LoadError> {
        Err(LoadError::EnvFile {
            at: Span { file: self.file.clone(), line, column: 1 },
            message: message.into(),
        })
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += u32::try_from(taken.matches('\n').count()).unwrap_or(0);
        self.rest = rest;
        taken
    }

    /// Takes one assignment; false at the end of the file.
    fn assignment(&mut self) -> Result<bool, LoadError> {
        loop {
            self.advance(self.rest.len() - self.rest.trim_start().len());
            if !self.rest.starts_with('#') {
                break;
            }
            self.advance(self.line_end());
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        if let Some(tail) = self.rest.strip_prefix("export").filter(|tail| tail.starts_with([' ', '\t'])) {
            self.rest = tail.trim_start_matches([' ', '\t']);
        }
        let line = self.line;
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let key = self.advance(end).trim().to_owned();
        if key.is_empty() {
            return self.fail(line, "a line starts with `=`: the variable's name is missing");
        }
        if let Some(bad) = key.chars().find(|c| !(c.is_alphanumeric() || "_.-[]".contains(*c))) {
            return self.fail(line, format!("unexpected character {bad:?} in variable name {key:?}"));
        }
        if !self.rest.starts_with(['=', ':']) {
            if let Some(value) = (self.lookup)(&key) {
                self.out.push((key, value));
            }
            return Ok(true);
        }
        self.advance(1);
        self.advance(self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len());
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, &key)?,
            _ => {
                let text = self.advance(self.line_end());
                let text =
                    text.find(" #").or_else(|| text.find("\t#")).map_or(text, |comment| &text[..comment]);
                let text = if text.starts_with('#') { "" } else { text.trim_end() };
                self.expand(text, line)?
            }
        };
        self.out.push((key, value));
        Ok(true)
    }

    fn line_end(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    fn quoted(&mut self, quote: char, key: &str) -> Result<String, LoadError> {
        let line = self.line;
        self.advance(1);
        let mut escaped = false;
        let end = self.rest.char_indices().find(|&(_, c)| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let Some((end, _)) = end else {
            return self.fail(line, format!("unterminated quoted value of {key}"));
        };
        let text = self.advance(end);
        self.advance(1);
        let tail = self.advance(self.line_end()).trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return self.fail(line, format!("unexpected text after the quoted value of {key}"));
        }
        if quote == '\'' {
            return Ok(text.replace("\\'", "'"));
        }
        self.expand(&unescape(text), line)
    }

    fn expand(&self, text: &str, line: u32) -> Result<String, LoadError> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let lookup = |name: &str| {
            let own = || self.out.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            (self.lookup)(name).or_else(own)
        };
        let mut interpolator = Interpolator::new(&lookup);
        interpolator.text(text).or_else(|error| self.fail(line, error.to_string()))
    }
}

/// Escapes inside double quotes; `\$` stays a dollar sign through the expansion that follows.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\' | '\'')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_here(text: &str) -> Result<Variables, LoadError> {
        parse(text, ".env", &|name| (name == "HOME").then(|| "/root".to_owned()))
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse_here(text).unwrap(), expected, "{text}");
    }

    fn refuse(text: &str, expected: &str) {
        assert_eq!(parse_here(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn values_quotes_and_comments() {
        check("A=1\n# no\n\nexport B = two \nC: three\n", &[("A", "1"), ("B", "two"), ("C", "three")]);
        check("A=a b # c\nB=a#b\nC=\nD=#x\n", &[("A", "a b"), ("B", "a#b"), ("C", ""), ("D", "")]);
        check("A='$HOME # \"x\"' # c\n", &[("A", "$HOME # \"x\"")]);
        check("A=\"a\\nb\\t\\\"q\\\" \\$HOME\"\r\nB=2\r\n", &[("A", "a\nb\t\"q\" $HOME"), ("B", "2")]);
        check("A=\"one\ntwo\"\nB='x\ny'\n", &[("A", "one\ntwo"), ("B", "x\ny")]);
    }

    #[test]
    fn expansion_sees_the_environment_and_earlier_lines() {
        check(
            "A=1\nB=${A}2$HOME\nC=${X:-d}\nHOME\nNOT_SET\n",
            &[("A", "1"), ("B", "12/root"), ("C", "d"), ("HOME", "/root")],
        );
    }

    #[test]
    fn errors_name_the_line() {
        refuse("A=1\nB=\"open\n", ".env:2:1: unterminated quoted value of B");
        refuse("\n=x\n", ".env:2:1: a line starts with `=`: the variable's name is missing");
        refuse("A B=1\n", ".env:1:1: unexpected character ' ' in variable name \"A B\"");
        refuse("A='x' y\n", ".env:1:1: unexpected text after the quoted value of A");
    }
}

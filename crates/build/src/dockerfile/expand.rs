//! Quotes, escapes and `$variables` in a word, as BuildKit's shell lexer resolves them.

use std::iter::Peekable;
use std::str::Chars;

use super::pattern::Pattern;

/// Looks a variable up; `None` when it is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Resolves quotes, escapes and variables in `word`.
///
/// # Errors
/// The message says what is wrong with the word: an unmatched quote, a bad substitution, a variable required by `${v:?}`.
pub fn word(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expansion =
        Expansion { chars: word.chars().peekable(), escape, lookup, keep_quotes: false, depth: 0 };
    expansion.until(None, false).map_err(|error| format!("failed to process {word:?}: {error}"))
}

/// As [`word`], then splits at the blanks that were neither quoted nor escaped, also inside expanded values.
pub fn words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for part in super::words::quoted(text, escape) {
        let quoted = part.contains(['"', '\'']) || part.contains(escape);
        let expanded = word(&part, escape, lookup)?;
        if quoted {
            all.push(expanded);
        } else {
            all.extend(expanded.split_whitespace().map(str::to_owned));
        }
    }
    Ok(all)
}

/// Resolves variables only, leaving quotes alone: the body of an unquoted heredoc.
pub fn text(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expansion =
        Expansion { chars: text.chars().peekable(), escape, lookup, keep_quotes: true, depth: 0 };
    expansion.until(None, false)
}

/// `ENV a=$a$a`, repeated, would grow without end; no process could be given a longer value anyway.
const MAX_LENGTH: usize = 128 << 10;

/// Matching tries every position: long values take quadratic time.
const MAX_MATCHED: usize = 8 << 10;

/// `${a:-${b:-...}}` nests; deeper than this is an attack on the stack.
const MAX_DEPTH: usize = 100;

struct Expansion<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    keep_quotes: bool,
    depth: usize,
}

impl Expansion<'_> {
    /// Reads up to `stop`, which is consumed, or to the end; `raw_escapes` keeps escape characters for a pattern.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<String, String> {
        let mut out = String::new();
        loop {
            let Some(&c) = self.chars.peek() else {
                return match stop {
                    Some('}') => Err("syntax error: missing '}'".into()),
                    Some(stop) => Err(format!("syntax error: missing '{stop}' in substitution")),
                    None => Ok(out),
                };
            };
            if Some(c) == stop {
                self.chars.next();
                return Ok(out);
            }
            match c {
                '\'' if !self.keep_quotes => self.single_quoted(&mut out)?,
                '"' if !self.keep_quotes => self.double_quoted(&mut out)?,
                '$' => self.dollar(&mut out)?,
                _ if c == self.escape => {
                    self.chars.next();
                    let next = self.chars.next();
                    // In a heredoc only an escaped dollar or escape loses its escape character.
                    if raw_escapes || (self.keep_quotes && next != Some('$') && next != Some(self.escape)) {
                        out.push(c);
                    }
                    out.extend(next);
                }
                _ => {
                    self.chars.next();
                    out.push(c);
                }
            }
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        self.chars.next();
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => {
                    return Err("unexpected end of statement while looking for matching single-quote".into());
                }
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        self.chars.next();
        let unmatched = || "unexpected end of statement while looking for matching double-quote".to_owned();
        loop {
            match *self.chars.peek().ok_or_else(unmatched)? {
                '"' => {
                    self.chars.next();
                    return Ok(());
                }
                '$' => self.dollar(out)?,
                c => {
                    self.chars.next();
                    if c != self.escape {
                        out.push(c);
                        continue;
                    }
                    let next = self.chars.next().ok_or_else(unmatched)?;
                    if !(next == '"' || next == '$' || next == self.escape) {
                        out.push(c);
                    }
                    out.push(next);
                }
            }
        }
    }

    fn dollar(&mut self, out: &mut String) -> Result<(), String> {
        self.variable(out)?;
        if out.len() > MAX_LENGTH {
            return Err(format!("the value is longer than {MAX_LENGTH} bytes"));
        }
        Ok(())
    }

    fn variable(&mut self, out: &mut String) -> Result<(), String> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            match self.name() {
                name if name.is_empty() => out.push('$'),
                name => out.extend((self.lookup)(&name)),
            }
            return Ok(());
        }
        self.chars.next();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("substitutions are nested too deeply".into());
        }
        let value = self.substitution()?;
        self.depth -= 1;
        out.push_str(&value);
        Ok(())
    }

    fn substitution(&mut self) -> Result<String, String> {
        match self.chars.peek() {
            None => return Err("syntax error: missing '}'".into()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".into()),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.lookup)(&name);
        let modifier = self.chars.next().ok_or("syntax error: missing '}'")?;
        match modifier {
            '}' => Ok(value.unwrap_or_default()),
            ':' => match self.chars.next() {
                Some(kind @ ('-' | '+' | '?')) => {
                    let value = value.filter(|value| !value.is_empty());
                    self.conditional(&name, value, kind, "is not allowed to be empty")
                }
                Some(other) => Err(format!("unsupported modifier (:{other}) in substitution")),
                None => Err("syntax error: missing '}'".into()),
            },
            '-' | '+' | '?' => self.conditional(&name, value, modifier, "is not allowed to be unset"),
            '#' | '%' => {
                let word = self.until(Some('}'), true)?;
                let longest = word.starts_with(modifier);
                let pattern = Pattern::parse(&word[usize::from(longest)..]);
                let value = matched(&name, value)?;
                Ok(if modifier == '#' {
                    pattern.trim_prefix(&value, longest).to_owned()
                } else {
                    pattern.trim_suffix(&value, longest).to_owned()
                })
            }
            '/' => {
                let all = self.chars.next_if_eq(&'/').is_some();
                let pattern = Pattern::parse(&self.until(Some('/'), true)?);
                let replacement = self.until(Some('}'), false)?;
                Ok(pattern.replace(&matched(&name, value)?, &replacement, all))
            }
            other => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    fn conditional(
        &mut self,
        name: &str,
        value: Option<String>,
        kind: char,
        complaint: &str,
    ) -> Result<String, String> {
        let word = self.until(Some('}'), false)?;
        match (kind, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) if word.is_empty() => Err(format!("{name}: {complaint}")),
            (_, None) => Err(format!("{name}: {word}")),
        }
    }

    /// A variable's name, or one special or positional parameter; those are never set.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(c) = self.chars.next_if(|c| c.is_ascii_digit() || "@*#?-$!".contains(*c)) {
            name.push(c);
            if c.is_ascii_digit() {
                while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
                    name.push(c);
                }
            }
            return name;
        }
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

/// A value that a pattern may be tried on.
fn matched(name: &str, value: Option<String>) -> Result<String, String> {
    let value = value.unwrap_or_default();
    if value.len() > MAX_MATCHED {
        return Err(format!("{name}: a value longer than {MAX_MATCHED} bytes cannot be matched"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "foo" => Some("bar".into()),
            "empty" => Some(String::new()),
            "path" => Some("/usr/local/lib/a.tar.gz".into()),
            "two" => Some("a b".into()),
            "tricky" => Some("$foo 'x'".into()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(word(input, '\\', &lookup).as_deref(), Ok(expected), "{input}");
    }

    #[track_caller]
    fn fails(input: &str, expected: &str) {
        let error = word(input, '\\', &lookup).unwrap_err();
        assert!(error.contains(expected), "{input}: {error}");
    }

    #[test]
    fn quotes_and_escapes() {
        check("hello", "hello");
        check("he'll'o", "hello");
        check("\"he'llo\"", "he'llo");
        check("'a\\b'", "a\\b");
        check("a\\ b", "a b");
        check("\"a\\\"b\\$c\\\\d\\e\"", "a\"b$c\\d\\e");
        check("a\\", "a");
        check("\\'x\\'", "'x'");
        check("''", "");
        check("é'ü'", "éü");
        fails("'abc", "single-quote");
        fails("\"abc", "double-quote");
        fails("\"abc\\", "double-quote");
    }

    #[test]
    fn variables() {
        check("$foo", "bar");
        check("${foo}x", "barx");
        check("$foox", "");
        check("$foo/x", "bar/x");
        check("a$", "a$");
        check("$ a", "$ a");
        check("\\$foo", "$foo");
        check("'$foo'", "$foo");
        check("\"$foo\"", "bar");
        check("\\${foo}", "${foo}");
        check("$1x$10$@", "x");
        check("${unset}", "");
        check("$tricky", "$foo 'x'");
        check("\\\\$foo", "\\bar");
        check("$foo$foo", "barbar");
    }

    #[test]
    fn modifiers() {
        check("${foo:-x}", "bar");
        check("${unset:-x}", "x");
        check("${empty:-x}", "x");
        check("${empty-x}", "");
        check("${unset-x}", "x");
        check("${foo:+x}", "x");
        check("${empty:+x}", "");
        check("${empty+x}", "x");
        check("${unset+x}", "");
        check("${foo:?no}", "bar");
        check("${unset:-$foo}", "bar");
        check("${unset:-${foo}}", "bar");
        check("${unset:-${nope:-${foo}}y}", "bary");
        check("${unset:-'a b'}", "a b");
        check("${unset:-\"}\"}", "}");
        check("${unset:-}", "");
        fails("${unset:?}", "unset: is not allowed to be empty");
        fails("${unset?}", "unset: is not allowed to be unset");
        fails("${unset:?gone}", "unset: gone");
        fails("${", "missing '}'");
        fails("${}", "bad substitution");
        fails("${:x}", "bad substitution");
        fails("${foo", "missing '}'");
        fails("${foo:-x", "missing '}'");
        fails("${foo:=x}", "unsupported modifier (:=)");
        fails("${foo:#x}", "unsupported modifier (:#)");
        fails("${foo^}", "unsupported modifier (^)");
        fails("${foo/x}", "missing '/'");
    }

    #[test]
    fn patterns() {
        check("${path#*/}", "usr/local/lib/a.tar.gz");
        check("${path##*/}", "a.tar.gz");
        check("${path%.*}", "/usr/local/lib/a.tar");
        check("${path%%.*}", "/usr/local/lib/a");
        check("${path%/*}", "/usr/local/lib");
        check("${foo#b?}", "r");
        check("${foo#x}", "bar");
        check("${foo%$foo}", "");
        check("${path/local/opt}", "/usr/opt/lib/a.tar.gz");
        check("${foo//[ar]/x}", "bar");
        check("${path//\\//-}", "-usr-local-lib-a.tar.gz");
        check("${foo/a/}", "br");
        check("${foo/*/x}", "x");
        check("${unset/a/b}", "");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        fails(&"${a:-".repeat(10_000), "nested too deeply");
    }

    #[test]
    fn growth_ends() {
        let big = "x".repeat(100_000);
        let lookup = |_: &str| Some(big.clone());
        assert!(word("$a", '\\', &lookup).is_ok());
        assert!(word("$a$a", '\\', &lookup).unwrap_err().contains("longer than"));
        assert!(word("${a%x*}", '\\', &lookup).unwrap_err().contains("cannot be matched"));
        assert!(word("${a:-${a}${a}}", '\\', &lookup).is_err());
    }

    #[test]
    fn word_lists_and_bodies() {
        assert_eq!(words("80 $two \"$two\" c\\ d", '\\', &lookup).unwrap(), ["80", "a", "b", "a b", "c d"]);
        assert_eq!(text("it's \"$foo\" \\$foo \\n", '\\', &lookup).unwrap(), "it's \"bar\" $foo \\n");
        assert_eq!(word("a`$foo\\b", '`', &lookup).unwrap(), "a$foo\\b");
    }
}

//! Path patterns: Go's `filepath.Match` for COPY's sources, and `**` besides for `.dockerignore` and `--exclude`.

/// A parsed pattern; it always matches a whole path.
#[derive(Debug)]
pub struct Glob {
    tokens: Vec<Token>,
    /// Set when the pattern has no special character.
    literal: Option<String>,
}

#[derive(Debug)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `**/`: nothing, or any directories with their slash. The state after it is inside such a directory.
    Dirs,
    InDirs,
    /// `**` at the end.
    Rest,
}

/// Whether `**` crosses directories or is just two stars.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stars {
    Single,
    Double,
}

impl Glob {
    /// Parses `pattern`; slashes are literal.
    ///
    /// # Errors
    /// A bracket that does not close, or a backslash at the end.
    pub fn parse(pattern: &str, stars: Stars) -> Result<Self, String> {
        let bad = || format!("syntax error in pattern: {pattern}");
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if stars == Stars::Double && chars.next_if_eq(&'*').is_some() => {
                    while chars.next_if_eq(&'*').is_some() {}
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() {
                        tokens.push(Token::Rest);
                    } else {
                        tokens.extend([Token::Dirs, Token::InDirs]);
                    }
                }
                '*' if matches!(tokens.last(), Some(Token::Any)) => {}
                '*' => tokens.push(Token::Any),
                '?' => tokens.push(Token::One),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let mut member = || match chars.next() {
                            Some('\\') => chars.next(),
                            other => other,
                        };
                        let low = member().ok_or_else(bad)?;
                        if low == ']' && !ranges.is_empty() {
                            break;
                        }
                        let high = if chars.next_if_eq(&'-').is_some() {
                            match chars.next() {
                                Some('\\') => chars.next(),
                                other => other,
                            }
                            .ok_or_else(bad)?
                        } else {
                            low
                        };
                        ranges.push((low, high));
                    }
                    tokens.push(Token::Class { negated, ranges });
                }
                '\\' => tokens.push(Token::Literal(chars.next().ok_or_else(bad)?)),
                c => tokens.push(Token::Literal(c)),
            }
        }
        let literal = tokens
            .iter()
            .map(|token| if let Token::Literal(c) = token { Some(*c) } else { None })
            .collect::<Option<String>>();
        Ok(Self { tokens, literal })
    }

    /// The path the pattern means when it has no special character.
    pub fn literal(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == path;
        }
        let end = self.tokens.len();
        let mut states = vec![false; end + 1];
        states[0] = true;
        self.skip(&mut states);
        for c in path.chars() {
            let mut next = vec![false; end + 1];
            for (state, token) in self.tokens.iter().enumerate().filter(|(state, _)| states[*state]) {
                match token {
                    Token::Literal(l) => next[state + 1] |= *l == c,
                    Token::One => next[state + 1] |= c != '/',
                    Token::Any => next[state] |= c != '/',
                    Token::Class { negated, ranges } => {
                        let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[state + 1] |= within != *negated && c != '/';
                    }
                    Token::Dirs => {
                        next[state + 1] = true;
                        next[state + 2] |= c == '/';
                    }
                    Token::InDirs => {
                        next[state] = true;
                        next[state + 1] |= c == '/';
                    }
                    Token::Rest => next[state] = true,
                }
            }
            self.skip(&mut next);
            states = next;
        }
        states[end]
    }

    /// Follows what matches nothing at all.
    fn skip(&self, states: &mut [bool]) {
        for (state, token) in self.tokens.iter().enumerate() {
            if states[state] {
                match token {
                    Token::Any | Token::Rest => states[state + 1] = true,
                    Token::Dirs => states[state + 2] = true,
                    _ => {}
                }
            }
        }
    }
}

/// Whether `text` has a character that is special in a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_stars_stay_in_their_directory() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let glob = Glob::parse(pattern, Stars::Single).unwrap();
            assert_eq!(glob.matches(path), expected, "{pattern} {path}");
        };
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check("*", "abc", true);
        check("*", "a/b", false);
        check("*c", "abc", true);
        check("a*/b", "abc/b", true);
        check("a*/b", "a/c/b", false);
        check("a?c", "abc", true);
        check("a?c", "a/c", false);
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("[^a-c]x", "dx", true);
        check("[\\]]", "]", true);
        check("a\\*b", "a*b", true);
        check("a\\*b", "axb", false);
        check("*.go", ".go", true);
        check("**", "a/b", false);
        assert!(Glob::parse("[a", Stars::Single).is_err());
        assert!(Glob::parse("a\\", Stars::Single).is_err());
    }

    #[test]
    fn double_stars_cross() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let glob = Glob::parse(pattern, Stars::Double).unwrap();
            assert_eq!(glob.matches(path), expected, "{pattern} {path}");
        };
        check("**", "a/b/c", true);
        check("**/x", "x", true);
        check("**/x", "a/b/x", true);
        check("**/x", "ax", false);
        check("a/**", "a/b/c", true);
        check("a/**/b", "a/b", true);
        check("a/**/b", "a/x/y/b", true);
        check("a/**/b", "a/x/yb", false);
        check("**/*.o", "a/b.o", true);
        check("**/*.o", "b.o", true);
        check("a**/b", "ax/b", true);
        check("**file", "dir/file", true);
    }
}

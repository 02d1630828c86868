//! Shell patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and backslash to mean a character itself.

/// A parsed pattern.
pub struct Pattern(Vec<Token>);

enum Token {
    Literal(char),
    One,
    Any,
}

impl Pattern {
    /// Parses `text`; every text is a pattern.
    pub fn parse(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' if matches!(tokens.last(), Some(Token::Any)) => {}
                '*' => tokens.push(Token::Any),
                '?' => tokens.push(Token::One),
                '\\' => tokens.push(Token::Literal(chars.next().unwrap_or('\\'))),
                c => tokens.push(Token::Literal(c)),
            }
        }
        Self(tokens)
    }

    /// `text` without the shortest or longest prefix that matches.
    pub fn trim_prefix<'t>(&self, text: &'t str, longest: bool) -> &'t str {
        let ends = self.ends(text);
        let end = if longest { ends.last() } else { ends.first() };
        end.map_or(text, |&end| &text[end..])
    }

    /// `text` without the shortest or longest suffix that matches.
    pub fn trim_suffix<'t>(&self, text: &'t str, longest: bool) -> &'t str {
        let matches = |&start: &usize| self.ends(&text[start..]).last() == Some(&(text.len() - start));
        let starts = || text.char_indices().map(|(at, _)| at).chain([text.len()]);
        let start = if longest { starts().find(matches) } else { starts().rev().find(matches) };
        start.map_or(text, |start| &text[..start])
    }

    /// Replaces the first or every longest match.
    pub fn replace(&self, text: &str, replacement: &str, all: bool) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            match self.ends(&text[at..]).last() {
                Some(&len) if len > 0 => {
                    out.push_str(replacement);
                    at += len;
                    if !all {
                        break;
                    }
                }
                _ => {
                    let c = text[at..].chars().next().map_or(1, char::len_utf8);
                    out.push_str(&text[at..at + c]);
                    at += c;
                }
            }
        }
        out.push_str(&text[at..]);
        out
    }

    /// Every length of a prefix of `text` that matches, ascending: the states of the pattern, one character at a time.
    fn ends(&self, text: &str) -> Vec<usize> {
        let mut states = vec![false; self.0.len() + 1];
        states[0] = true;
        self.skip_stars(&mut states);
        let mut ends = Vec::new();
        let mut note = |states: &[bool], at| {
            if states[states.len() - 1] {
                ends.push(at);
            }
        };
        note(&states, 0);
        for (at, c) in text.char_indices() {
            let mut next = vec![false; states.len()];
            for (state, token) in self.0.iter().enumerate().filter(|(state, _)| states[*state]) {
                match token {
                    Token::Any => next[state] = true,
                    Token::One => next[state + 1] = true,
                    Token::Literal(l) if *l == c => next[state + 1] = true,
                    Token::Literal(_) => {}
                }
            }
            self.skip_stars(&mut next);
            states = next;
            if !states.contains(&true) {
                break;
            }
            note(&states, at + c.len_utf8());
        }
        ends
    }

    fn skip_stars(&self, states: &mut [bool]) {
        for (state, token) in self.0.iter().enumerate() {
            if states[state] && matches!(token, Token::Any) {
                states[state + 1] = true;
            }
        }
    }
}

//! Parser directives, comments, continuations and heredoc bodies: from text to logical lines.

use super::heredoc::{self, Heredoc};
use super::{ParseError, Span};

/// One instruction as written, continuations joined, with the bodies of its heredocs.
#[derive(Debug)]
pub struct Line {
    pub span: Span,
    pub text: String,
    pub heredocs: Vec<Heredoc>,
}

/// The `# name=value` lines that may open a Dockerfile.
#[derive(Debug)]
pub struct Directives {
    pub syntax: Option<String>,
    pub check: Option<String>,
    pub escape: char,
}

/// Splits `text` into its directives and logical lines.
pub fn split(text: &str) -> Result<(Directives, Vec<Line>), ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.split_inclusive('\n').collect();
    let directives = directives(&physical)?;
    let mut reader = Reader { physical: &physical, next: 0, escape: directives.escape };
    let mut lines = Vec::new();
    while let Some(line) = reader.logical_line()? {
        lines.push(line);
    }
    Ok((directives, lines))
}

fn directives(physical: &[&str]) -> Result<Directives, ParseError> {
    let mut found = Directives { syntax: None, check: None, escape: '\\' };
    let mut escape_seen = false;
    for (index, line) in physical.iter().enumerate() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        let error = |message: String| ParseError::at(Span::line(index + 1), message);
        let value = value.trim();
        let seen_twice = match name.trim().to_ascii_lowercase().as_str() {
            "syntax" => found.syntax.replace(value.to_owned()).is_some(),
            "check" => found.check.replace(value.to_owned()).is_some(),
            "escape" => {
                found.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        return Err(error(format!("invalid escape token '{other}' does not match ` or \\")));
                    }
                };
                std::mem::replace(&mut escape_seen, true)
            }
            // Any other comment, even one with an equals sign, ends the directives.
            _ => break,
        };
        if seen_twice {
            return Err(error(format!("only one {} parser directive can be used", name.trim())));
        }
    }
    Ok(found)
}

struct Reader<'a> {
    physical: &'a [&'a str],
    next: usize,
    escape: char,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let line = self.physical.get(self.next)?;
        self.next += 1;
        Some(line)
    }

    fn logical_line(&mut self) -> Result<Option<Line>, ParseError> {
        loop {
            let Some(first) = self.take() else { return Ok(None) };
            let first = first.trim_start();
            if first.is_empty() || first.starts_with('#') {
                continue;
            }
            let start = self.next;
            let (part, mut more) = self.strip_continuation(chomp(first));
            let mut text = part.to_owned();
            while more {
                let Some(line) = self.take() else { break };
                // Comments and empty lines inside a continued instruction vanish without ending it.
                if line.trim().is_empty() || line.trim_start().starts_with('#') {
                    continue;
                }
                let (part, continues) = self.strip_continuation(chomp(line));
                text.push_str(part);
                more = continues;
            }
            if text.trim().is_empty() {
                continue;
            }
            let heredocs = self.heredocs(&text, start)?;
            return Ok(Some(Line { span: Span { line: start, end_line: self.next }, text, heredocs }));
        }
    }

    /// Cuts a trailing escape character; an escaped one does not continue the line.
    fn strip_continuation<'t>(&self, line: &'t str) -> (&'t str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => (rest, true),
            _ => (line, false),
        }
    }

    fn heredocs(&mut self, text: &str, start: usize) -> Result<Vec<Heredoc>, ParseError> {
        if !text.contains("<<") || !heredoc::allowed_in(text) {
            return Ok(Vec::new());
        }
        let mut found = heredoc::find_all(text, self.escape);
        for heredoc in &mut found {
            loop {
                let Some(line) = self.take() else {
                    return Err(ParseError::at(
                        Span { line: start, end_line: self.physical.len() },
                        format!("unterminated heredoc: no line {} follows", heredoc.name),
                    ));
                };
                let bare = chomp(line);
                let bare = if heredoc.strip_tabs { bare.trim_start_matches('\t') } else { bare };
                if bare == heredoc.name {
                    break;
                }
                heredoc.content.push_str(line);
            }
        }
        Ok(found)
    }
}

fn chomp(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, usize, &str)]) {
        let (_, lines) = split(text).unwrap();
        let got: Vec<_> =
            lines.iter().map(|line| (line.span.line, line.span.end_line, line.text.as_str())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn lines_join_and_comments_vanish() {
        check("FROM a\nRUN b", &[(1, 1, "FROM a"), (2, 2, "RUN b")]);
        check("\n  # c\n\n  FROM a  \n", &[(4, 4, "FROM a  ")]);
        check("RUN a \\\n  b \\  \n c\nUSER x", &[(1, 3, "RUN a   b  c"), (4, 4, "USER x")]);
        check("RUN a \\\n# no\n\n   # no\n b\nUSER x", &[(1, 5, "RUN a  b"), (6, 6, "USER x")]);
        check("RUN a \\\\\nUSER x", &[(1, 1, "RUN a \\\\"), (2, 2, "USER x")]);
        check("RUN a\\", &[(1, 1, "RUN a")]);
        check("RUN a # not a comment\r\nRUN b\r\n", &[(1, 1, "RUN a # not a comment"), (2, 2, "RUN b")]);
        check("\u{feff}FROM a", &[(1, 1, "FROM a")]);
        check("\\\nFROM a", &[(1, 2, "FROM a")]);
        check("", &[]);
        check("# only\n", &[]);
    }

    #[test]
    fn directives_lead() {
        let escape = |text| split(text).unwrap().0.escape;
        assert_eq!(escape("# escape=`\nFROM a"), '`');
        assert_eq!(escape("#EsCaPe = `\n"), '`');
        assert_eq!(escape("# syntax=docker/dockerfile:1\n# escape=`\nFROM a"), '`');
        assert_eq!(escape("# about\n# escape=`\nFROM a"), '\\');
        assert_eq!(escape("\n# escape=`\nFROM a"), '\\');
        assert_eq!(escape("# a=b\n# escape=`\nFROM a"), '\\');
        check("# escape=`\nRUN a `\n b\\\nUSER x", &[(2, 3, "RUN a  b\\"), (4, 4, "USER x")]);
        assert_eq!(split("# syntax=x/y\nFROM a").unwrap().0.syntax.as_deref(), Some("x/y"));
        assert_eq!(
            split("# escape=x\n").unwrap_err().message,
            "invalid escape token 'x' does not match ` or \\"
        );
        assert_eq!(split("# escape=`\n#escape=`\n").unwrap_err().span.line, 2);
    }

    #[test]
    fn heredoc_bodies_are_collected() {
        let (_, lines) = split("RUN <<A cat <<-'B'\n one\nA\n\ttwo\n\tB\nUSER x").unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].span.line, lines[0].span.end_line), (1, 5));
        let bodies: Vec<_> = lines[0].heredocs.iter().map(|doc| doc.content.as_str()).collect();
        assert_eq!(bodies, [" one\n", "\ttwo\n"]);
        let error = split("FROM a\nRUN <<A\nx\n").unwrap_err();
        assert_eq!((error.span.line, error.span.end_line), (2, 3));
        // Only RUN, COPY and ADD take heredocs.
        check("CMD a <<b\nUSER x", &[(1, 1, "CMD a <<b"), (2, 2, "USER x")]);
        let (_, lines) = split("ONBUILD RUN <<A\nx\nA\n").unwrap();
        assert_eq!(lines[0].heredocs.len(), 1);
    }
}

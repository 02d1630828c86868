//! A command line as a POSIX shell would split it into words, without expanding anything.

/// A command line that cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    #[error("has a quote that is not closed")]
    OpenQuote,
    #[error("ends in a backslash")]
    TrailingBackslash,
}

/// Splits `line` at blanks outside quotes.
pub fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(WordsError::TrailingBackslash),
            },
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(WordsError::OpenQuote),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(WordsError::OpenQuote),
                        },
                        Some(c) => word.push(c),
                        None => return Err(WordsError::OpenQuote),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        assert_eq!(split(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn quotes_and_escapes() {
        check("", &[]);
        check("  a  b\tc\n", &["a", "b", "c"]);
        check("sh -c 'echo \"$X\" | cat'", &["sh", "-c", "echo \"$X\" | cat"]);
        check(r#"a"b c"d "\"q\" \n" \  ''"#, &["ab cd", "\"q\" \\n", " ", ""]);
        assert_eq!(split("a 'b"), Err(WordsError::OpenQuote));
        assert_eq!(split("a \"b"), Err(WordsError::OpenQuote));
        assert_eq!(split("a \\"), Err(WordsError::TrailingBackslash));
    }
}

//! `.dockerignore`: which paths of the context do not exist for the build.

use crate::glob::{Glob, Stars};

/// An ordered list of patterns; the last one that matches a path, or a directory above it, decides.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
    /// As given, for cache keys.
    patterns: Vec<String>,
    has_exceptions: bool,
}

#[derive(Debug)]
struct Rule {
    glob: Glob,
    exception: bool,
}

/// The patterns of an ignore file in their shortest form, for others who match paths as Docker does.
///
/// # Errors
/// The line number, from 1, and what is wrong with the pattern.
pub fn ignore_patterns(text: &str) -> Result<Vec<String>, (usize, String)> {
    let shortest = |pattern: &String| match pattern.strip_prefix('!') {
        Some(rest) => format!("!{}", clean(rest.trim())),
        None => clean(pattern),
    };
    let patterns = Ignore::parse(text)?.patterns;
    Ok(patterns
        .iter()
        .map(shortest)
        .filter(|pattern| !matches!(pattern.as_str(), "" | "." | "!" | "!."))
        .collect())
}

impl Ignore {
    /// Parses a whole file: one pattern a line, `#` comments, `!` exceptions.
    ///
    /// # Errors
    /// The line number, from 1, and what is wrong with the pattern.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        let mut ignore = Self::default();
        for (index, line) in lines {
            ignore.push(line.trim()).map_err(|error| (index + 1, error))?;
        }
        Ok(ignore)
    }

    /// Parses `--exclude` patterns.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut ignore = Self::default();
        for pattern in patterns {
            ignore.push(pattern)?;
        }
        Ok(ignore)
    }

    fn push(&mut self, pattern: &str) -> Result<(), String> {
        if pattern.is_empty() {
            return Ok(());
        }
        self.patterns.push(pattern.to_owned());
        let (exception, pattern) = match pattern.strip_prefix('!') {
            Some("") => return Err("illegal exclusion pattern: \"!\"".to_owned()),
            Some(rest) => (true, rest.trim()),
            None => (false, pattern),
        };
        let pattern = clean(pattern);
        // Moby: a pattern that means the root itself excludes nothing.
        if pattern.is_empty() || pattern == "." {
            return Ok(());
        }
        self.rules.push(Rule { glob: Glob::parse(&pattern, Stars::Double)?, exception });
        self.has_exceptions |= exception;
        Ok(())
    }

    /// The patterns as given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether nothing is excluded at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path`, relative and clean, is excluded.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            if rule.exception == excluded && rule.matches_or_parent(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether nothing below the excluded directory `path` can be included again.
    pub fn prunes(&self, path: &str) -> bool {
        !self.has_exceptions && self.excludes(path)
    }
}

impl Rule {
    fn matches_or_parent(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        parents.chain([path]).any(|prefix| self.glob.matches(prefix))
    }
}

/// Go's `filepath.Clean`, without a leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if pattern.starts_with('/') => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, path: &str, expected: bool) {
        assert_eq!(Ignore::parse(file).unwrap().excludes(path), expected, "{file:?} {path}");
    }

    #[test]
    fn patterns_match_paths_and_what_is_below_them() {
        check("", "a", false);
        check("a", "a", true);
        check("a", "a/b/c", true);
        check("a", "b/a", false);
        check("/a/", "a", true);
        check("./a//b/../c", "a/c", true);
        check("*", "a/b", true);
        check("*.md", "README.md", true);
        check("*.md", "docs/README.md", false);
        check("**/*.md", "docs/README.md", true);
        check("*/temp*", "a/temporary.txt", true);
        check("*/*/temp*", "a/b/temp/x", true);
        check("temp?", "tempa", true);
        check("# a", "# a", false);
        check("  a  ", "a", true);
        check(".", "a", false);
        check("..", "a", false);
        check("**", "a/b", true);
    }

    #[test]
    fn the_last_match_wins() {
        check("*\n!a", "a", false);
        check("*\n!a", "b", true);
        check("*\n!a\na/b", "a/b", true);
        check("*\n!a\na/b", "a/c", false);
        check("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true);
        check("*.md\n!README*.md", "README.md", false);
        check("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false);
        check("docs\n!docs/keep", "docs/keep/x", false);
        check("docs\n!docs/keep", "docs/other", true);
    }

    #[test]
    fn errors_and_pruning() {
        assert_eq!(Ignore::parse("a\n!\n").unwrap_err().0, 2);
        assert_eq!(Ignore::parse("a\n[\n").unwrap_err().0, 2);
        assert!(Ignore::parse("a").unwrap().prunes("a"));
        assert!(!Ignore::parse("a\n!a/b").unwrap().prunes("a"));
    }
}

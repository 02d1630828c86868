//! References as users type them: `[domain[:port]/]path[:tag][@digest]`, normalised as Docker does.
//!
//! Grammar and error texts are those of the `distribution/reference` library, since scripts match them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::digest::{Digest, DigestError};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const NAME_MAX: usize = 255;

/// A normalised reference: it always has a domain, and a tag or a digest (or both).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format(String),
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Parses and normalises `text`; the tag becomes `latest` when neither tag nor digest is given.
    ///
    /// # Errors
    /// [`ReferenceError`] with Docker's text for what is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let mut reference = Self::parse_name(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some("latest".to_owned());
        }
        Ok(reference)
    }

    fn parse_name(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        let malformed = || ReferenceError::Format(text.to_owned());
        let (name, digest) = match remainder.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        if !is_domain(&domain)
            || !path.split('/').all(is_path_component)
            || !tag.is_none_or(is_tag)
            || !digest.is_none_or(is_digest_like)
        {
            return Err(malformed());
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        let digest = digest.map(str::parse).transpose()?;
        Ok(Self { path: path.to_owned(), tag: tag.map(str::to_owned), digest, domain })
    }

    /// The registry's host and port, `docker.io` when none was typed.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path within its domain, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository as Docker shows it: `busybox`, `user/app`, `localhost:5000/app`.
    pub fn repository(&self) -> String {
        match self.domain.as_str() {
            DEFAULT_DOMAIN => match self.path.strip_prefix(OFFICIAL) {
                // `docker.io/library/user/app` is not `user/app`.
                Some(name) if !name.contains('/') => name.to_owned(),
                _ => self.path.clone(),
            },
            domain => format!("{domain}/{}", self.path),
        }
    }

    /// The whole repository name: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The reference as Docker shows it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.repository())
    }

    /// The reference in full: `docker.io/library/busybox:latest`. This is what is stored.
    pub fn canonical(&self) -> String {
        self.with_suffix(self.name())
    }

    /// The same repository by digest alone: `busybox@sha256:...`.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), tag: None, ..self.clone() }
    }

    /// The same reference pinned: `busybox:latest@sha256:...`.
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// What a registry is asked for: the digest alone where there is one, because it decides.
    pub fn pullable(&self) -> Self {
        self.digest.map_or_else(|| self.clone(), |digest| self.with_digest(digest))
    }

    /// The same repository with another tag.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] when `tag` is not one.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format(tag.to_owned()));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Whether a filter such as `busybox`, `*/app:1.?` or `busybox:latest` selects this reference, as `docker images` does it.
    pub fn matches(&self, pattern: &str) -> bool {
        [self.familiar(), self.repository()].iter().any(|text| glob(pattern.as_bytes(), text.as_bytes()))
    }

    fn with_suffix(&self, mut text: String) -> String {
        use fmt::Write as _;
        if let Some(tag) = &self.tag {
            let _ = write!(text, ":{tag}");
        }
        if let Some(digest) = &self.digest {
            let _ = write!(text, "@{digest}");
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.canonical())
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|e| D::Error::custom(format_args!("{e}: {text:?}")))
    }
}

/// Splits off the domain: the first component counts as one only when it could not be a repository's.
fn split_domain(name: &str) -> (String, String) {
    let (domain, remainder) = match name.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        (domain.to_owned(), format!("{OFFICIAL}{remainder}"))
    } else {
        (domain.to_owned(), remainder.to_owned())
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if rest.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let component = |c: &str| {
        !c.is_empty()
            && c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !c.starts_with('-')
            && !c.ends_with('-')
    };
    host.is_none_or(|host| host.split('.').all(component))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `text` is what the distribution specification calls a repository's name: path components and nothing else.
pub fn is_repository_path(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('/').all(is_path_component)
}

/// `[a-z0-9]+` runs separated by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(|&b| alphanumeric(b)) || !bytes.last().is_some_and(|&b| alphanumeric(b)) {
        return false;
    }
    bytes.split(|&b| alphanumeric(b)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
    })
}

/// Whether `text` can be a tag.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest_like(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    }) && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `path.Match` without classes: `*` and `?` stop at `/`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text)
                || matches!(text.split_first(), Some((c, tail)) if *c != b'/' && glob(pattern, tail))
        }
        (Some((b'?', rest)), Some((c, tail))) => *c != b'/' && glob(rest, tail),
        (Some((p, rest)), Some((c, tail))) => p == c && glob(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, canonical: &str, familiar: &str) {
        let reference = Reference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.canonical(), canonical, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(Reference::parse(canonical).unwrap(), reference, "{text}");
        assert_eq!(Reference::parse(familiar).unwrap(), reference, "{text}");
    }

    #[test]
    fn normalised_as_docker_does() {
        check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1");
        check("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("user/app:v1.0_x-2", "docker.io/user/app:v1.0_x-2", "user/app:v1.0_x-2");
        check("localhost/app", "localhost/app:latest", "localhost/app:latest");
        check("localhost:5000/a/b__c", "localhost:5000/a/b__c:latest", "localhost:5000/a/b__c:latest");
        check("Reg/app", "Reg/app:latest", "Reg/app:latest");
        check("[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x");
        check("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
        let by_digest = format!("busybox@sha256:{HEX}");
        check(&by_digest, &format!("docker.io/library/{by_digest}"), &by_digest);
        let both = format!("busybox:1@sha256:{HEX}");
        check(&both, &format!("docker.io/library/{both}"), &both);
    }

    fn refused(text: &str, expected: &str) {
        assert_eq!(Reference::parse(text).unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn refused_in_dockers_words() {
        for text in [
            "", ":tag", "a b", "a//b", "/a", "a/", "-a/b:x:y", "busybox:", "a..b", "a___b", "ä", "a:@",
            "b:-x", "x@y",
        ] {
            refused(text, "invalid reference format");
        }
        refused("BusyBox", "invalid reference format: repository name (library/BusyBox) must be lowercase");
        refused("docker.io/A/b:T", "invalid reference format: repository name (A/b) must be lowercase");
        refused(HEX, &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"));
        refused(&format!("a@sha256:{}", &HEX[..40]), "invalid checksum digest length");
        refused(&format!("a@md5:{}", &HEX[..32]), "unsupported digest algorithm");
        refused(
            &"a/".repeat(127).trim_end_matches('/').replace('a', "ab"),
            "repository name must not be more than 255 characters",
        );
        refused(&format!("a:{}", "t".repeat(129)), "invalid reference format");
    }

    #[test]
    fn filters_as_docker_images() {
        let matches = |pattern: &str, text: &str| Reference::parse(text).unwrap().matches(pattern);
        assert!(matches("busybox", "busybox:1") && matches("busybox:1", "busybox:1"));
        assert!(matches("busy*", "busybox:1") && matches("*/app", "user/app"));
        assert!(!matches("busy", "busybox") && !matches("*", "user/app"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(text in ".*") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.canonical()).unwrap(), reference);
            }
        }

        #[test]
        fn grammar_round_trip(text in "([a-z]{1,5}(\\.[a-z]{1,3}|:[0-9]{2})/)?[a-z0-9]{1,4}([._]|__|-{1,3})[a-z0-9]{1,4}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?") {
            let reference = Reference::parse(&text).unwrap();
            prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
        }
    }
}

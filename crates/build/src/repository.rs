//! Addresses of git repositories, read as BuildKit reads them (its `util/gitutil`).

pub mod clone;

use std::fmt;
use std::path::{Component, Path, PathBuf};

use registry::without_credentials;

use crate::error::BuildError;

/// A git repository, and what of it is wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct Repository {
    /// As git takes it, credentials included.
    remote: String,
    /// A branch, a tag, `refs/…` or a whole commit id; what the repository's HEAD is when `None`.
    reference: Option<String>,
    /// Relative, without `..`.
    subdirectory: PathBuf,
}

impl Repository {
    /// Reads `https://host/path.git`, `git://…`, `ssh://…`, `user@host:path` or `github.com/…`, and behind it `#reference:subdirectory`,
    /// either of which may be missing, or `?branch=…` (or `tag`, `ref`) and `subdir=…`. `None` is an address of something else.
    ///
    /// # Errors
    /// It means a repository, but no repository, reference or directory is called so.
    pub fn parse(address: &str) -> Result<Option<Self>, BuildError> {
        let (place, fragment) = address.split_once('#').unwrap_or((address, ""));
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let remote = match place.split_once("://") {
            Some(("http" | "https", path)) if path.ends_with(".git") => place.to_owned(),
            Some(("git" | "ssh", _)) => place.to_owned(),
            None if place.starts_with("github.com/") => format!("https://{place}"),
            None if is_scp_like(place) => place.to_owned(),
            _ => return Ok(None),
        };
        let invalid = |reason: &str| BuildError::Request {
            what: "git repository",
            value: without_credentials(address),
            reason: reason.to_owned(),
        };
        if address.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid("there is white space in it"));
        }
        if authority(&remote).is_some_and(|(_, host)| host.is_empty() || host.starts_with('-')) {
            return Err(invalid("no host is called so"));
        }
        if !fragment.is_empty() && !query.is_empty() {
            return Err(invalid("what is wanted stands behind # or behind ?, not both"));
        }
        let (reference, mut subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut reference = reference.to_owned();
        for field in query.split('&').filter(|field| !field.is_empty()) {
            match field.split_once('=') {
                Some((_, value)) if value.contains('%') => return Err(invalid("% is in no name behind ?")),
                Some(("subdir", value)) => subdirectory = value,
                Some((_, _)) if !reference.is_empty() => return Err(invalid("it names two references")),
                Some(("ref", value)) => value.clone_into(&mut reference),
                Some(("branch", value)) => reference = format!("refs/heads/{value}"),
                Some(("tag", value)) => reference = format!("refs/tags/{value}"),
                _ => return Err(invalid("only ref, branch, tag and subdir may stand behind ?")),
            }
        }
        if !is_reference(&reference) {
            return Err(invalid("no reference is called so"));
        }
        let subdirectory = Path::new(subdirectory.trim_start_matches('/'));
        if subdirectory.components().any(|component| component == Component::ParentDir) {
            return Err(invalid("its subdirectory leads out of it"));
        }
        let reference = Some(reference).filter(|reference| !reference.is_empty());
        Ok(Some(Self { remote, reference, subdirectory: subdirectory.to_owned() }))
    }

    /// Whether the address tells a secret. With ssh a name alone is none: keys decide.
    fn has_credentials(&self) -> bool {
        authority(&self.remote).is_some_and(|(user, _)| {
            user.contains(':') || !user.is_empty() && !self.remote.starts_with("ssh://")
        })
    }

    /// The root of the server, if it is one of the web, and its host.
    fn web(&self) -> Option<(String, &str)> {
        let (_, host) = authority(&self.remote)?;
        let scheme = ["https", "http"].into_iter().find(|scheme| self.remote.starts_with(scheme))?;
        Some((format!("{scheme}://{host}/"), host))
    }

    /// Whether the reference is a commit's whole id.
    fn is_commit(&self) -> bool {
        self.reference.as_deref().is_some_and(|reference| {
            matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

impl fmt::Display for Repository {
    /// The address without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.remote))?;
        let is_whole = self.subdirectory.as_os_str().is_empty();
        match self.reference.as_deref() {
            None if is_whole => Ok(()),
            Some(reference) if is_whole => write!(f, "#{reference}"),
            reference => write!(f, "#{}:{}", reference.unwrap_or_default(), self.subdirectory.display()),
        }
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({self})")
    }
}

/// `user@host:path`, as scp(1) has it.
fn is_scp_like(place: &str) -> bool {
    let is_plain = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parts = place.split_once(':').and_then(|(login, path)| Some((login.split_once('@')?, path)));
    parts.is_some_and(|((user, host), path)| is_plain(user) && is_plain(host) && !path.is_empty())
}

/// Whether git takes `text` for the name of one reference, and for nothing else (git-check-ref-format(1)).
fn is_reference(text: &str) -> bool {
    !text.starts_with(['-', '+'])
        && !text.contains("..")
        && !text.contains(['~', '^', ':', '?', '*', '[', '\\'])
}

/// The host of a URL, its port included, and what stands before it with its `@`, if anything does.
fn authority(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.split_at(authority.rfind('@').map_or(0, |at| at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let with_id = format!("https://host/x.git#{id}");
        for (address, remote, reference, subdirectory) in [
            ("https://host/x.git", "https://host/x.git", None, ""),
            ("http://host:81/x.git#main", "http://host:81/x.git", Some("main"), ""),
            ("https://u:p@host/x.git#v1:a/b", "https://u:p@host/x.git", Some("v1"), "a/b"),
            ("https://host/x.git#:/a/", "https://host/x.git", None, "a/"),
            (&with_id, "https://host/x.git", Some(id), ""),
            ("git://host/x#refs/pull/1/head", "git://host/x", Some("refs/pull/1/head"), ""),
            ("ssh://git@host:22/x", "ssh://git@host:22/x", None, ""),
            ("git@github.com:user/x.git#main:a", "git@github.com:user/x.git", Some("main"), "a"),
            ("github.com/user/x#a-b", "https://github.com/user/x", Some("a-b"), ""),
            ("https://host/x.git?branch=b&subdir=c", "https://host/x.git", Some("refs/heads/b"), "c"),
            ("https://host/x.git?tag=v1", "https://host/x.git", Some("refs/tags/v1"), ""),
            ("https://host/x.git?ref=v1", "https://host/x.git", Some("v1"), ""),
        ] {
            let repository = Repository::parse(address).unwrap().unwrap_or_else(|| panic!("{address}"));
            assert_eq!(repository.remote, remote);
            assert_eq!(repository.reference.as_deref(), reference);
            assert_eq!(repository.subdirectory, Path::new(subdirectory));
            assert_eq!(repository.is_commit(), reference == Some(id));
        }
    }

    #[test]
    fn other_addresses_are_none() {
        for address in [
            "",
            ".",
            "dir",
            "https://host/x.tar.gz",
            "https://host/x?y=.git",
            "http://host/Dockerfile#x.git",
            "file:///x.git",
            "ext::sh -c x.git",
            "/srv/x.git",
            "-u@host:x",
            "u@-host:x",
            "u@host:",
            "a/b@c:d",
            "docker-image://x",
        ] {
            assert_eq!(Repository::parse(address).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn what_git_could_take_for_something_else_is_refused() {
        for address in [
            "https://host/x.git#--upload-pack=touch",
            "https://host/x.git#+main",
            "https://host/x.git?ref=a:b",
            "https://host/x.git#a..b",
            "https://host/x.git#refs/heads/*",
            "https://host/x.git#^main",
            "https://host/x.git#a\nb",
            "https://host/x.git# a",
            "https://host/x.git#main:../..",
            "https://host/x.git#main:a/../../b",
            "ssh://-oProxyCommand=touch/x",
            "ssh://git@-oProxyCommand=touch/x",
            "https:///x.git",
            "https://host/x.git?checksum=1",
            "https://host/x.git?ref=a&branch=b",
            "https://host/x.git?branch=a#b",
            "https://host/x.git?branch=a%20b",
        ] {
            let error = Repository::parse(address).expect_err(address);
            assert!(error.to_string().starts_with("invalid git repository `"), "{error}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (address, shown) in [
            ("https://me:secret@host/x.git#main:a", "https://xxxxx:xxxxx@host/x.git#main:a"),
            ("https://t@host/x.git#:a", "https://xxxxx:xxxxx@host/x.git#:a"),
            ("ssh://git:secret@host/x", "ssh://xxxxx:xxxxx@host/x"),
            ("ssh://git@host/x#main", "ssh://xxxxx:xxxxx@host/x#main"),
            ("git@host:x", "git@host:x"),
        ] {
            let repository = Repository::parse(address).unwrap().unwrap();
            assert_eq!(repository.to_string(), shown);
            assert_eq!(format!("{repository:?}"), format!("Repository({shown})"));
        }
        let error = Repository::parse("https://me:secret@host/x.git#-x").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

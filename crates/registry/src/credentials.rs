//! Credentials as Docker's client keeps them, so that a login made there is good here and the other way round.
//!
//! They are in `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`: either in the file itself (`auths`) or, where `credHelpers`
//! or `credsStore` says so, with a program named `docker-credential-<name>`. Whatever else is in that file is Docker's and stays as
//! it is.

mod document;
mod entry;
mod file;
mod given;
mod helper;

use std::fmt;
use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

pub use file::{DockerConfig, Kept};
pub use given::{Given, header, host};

/// A user's name and secret at one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token, which some registries give out in place of a password.
    IdentityToken {
        user: String,
        token: String,
    },
    /// A token the registry itself takes; nobody is asked for another one.
    RegistryToken(String),
}

impl Credential {
    /// The user's name, where there is one.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::IdentityToken { user, .. } => user,
            Self::RegistryToken(_) => "",
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// Where credentials are looked up, by the host of a registry.
pub trait Credentials: Send + Sync {
    /// The credential for `host`, when there is one.
    ///
    /// # Errors
    /// Whatever kept the lookup from ending; it is shown as the cause.
    fn lookup(&self, host: &str) -> Result<Option<Credential>, CredentialsError>;
}

/// Nobody is known anywhere.
pub struct Anonymous;

impl Credentials for Anonymous {
    fn lookup(&self, _: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(None)
    }
}

/// Credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot tell where credentials are kept: neither DOCKER_CONFIG nor HOME is set")]
    Nowhere,
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a configuration of Docker's client")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{path} has no usable credentials for {key}: {why}")]
    Entry { path: PathBuf, key: String, why: &'static str },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot run the credential helper {program}")]
    Start { program: String, source: io::Error },
    #[error("the client could not tell its credentials for {host}: {says}")]
    Client { host: String, says: String },
    #[error("the credential helper {program} could not {action} the credentials for {key}: {says}")]
    Helper { program: String, action: &'static str, key: String, says: String },
}

impl Diagnose for CredentialsError {
    fn class(&self) -> Class {
        match self {
            Self::Nowhere | Self::Malformed { .. } | Self::Entry { .. } => Class::Invalid,
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Start { source, .. } => {
                Class::of_io(source)
            }
            Self::Client { .. } | Self::Helper { .. } => Class::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, .. } => Some(format!(
                "install {program}, or remove it from `credsStore` and `credHelpers` in Docker's config.json"
            )),
            Self::Malformed { path, .. } => Some(format!("mend {} or move it away", path.display())),
            _ => None,
        }
    }
}

/// What Docker Hub goes by in references.
pub const HUB: &str = "docker.io";
/// What Docker Hub goes by in Docker's configuration.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The key under which the credentials for `host` are kept.
pub fn key(host: &str) -> &str {
    if is_hub(host) { HUB_KEY } else { host }
}

fn is_hub(host: &str) -> bool {
    matches!(host, HUB | "index.docker.io" | "registry-1.docker.io")
}

/// Whether the credentials kept under `key` are those for `host`: keys may be URLs, as they were in old versions of Docker.
fn is_for(key: &str, host: &str) -> bool {
    let name = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let name = name.split('/').next().unwrap_or_default();
    name == host || is_hub(name) && is_hub(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_hosts() {
        let check = |key, host, expected| assert_eq!(is_for(key, host), expected, "{key} for {host}");
        check(HUB_KEY, "docker.io", true);
        check("docker.io", "docker.io", true);
        check("https://r.example:5000/v1/", "r.example:5000", true);
        check("http://r.example", "r.example", true);
        check("r.example:5000", "r.example", false);
        check(HUB_KEY, "r.example", false);
        assert_eq!(key("docker.io"), HUB_KEY);
        assert_eq!(key("r.example"), "r.example");
    }
}

//! Why a registry was of no help.

use std::sync::Arc;

use diag::{Class, Diagnose};
use oci::Digest;

use crate::CredentialsError;
use crate::hosts::HostsError;

/// A request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot prepare connections to registries")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Hosts(#[from] HostsError),
    #[error("no host that is configured for {domain} may be asked for that")]
    Incapable { domain: String },
    #[error("cannot reach registry {host}")]
    Connect { host: String, source: reqwest::Error },
    /// The connection broke, or nothing came for too long.
    #[error("registry {host} stopped answering {url}")]
    Transfer { host: String, url: String, source: reqwest::Error },
    #[error("registry {host} takes no more bytes for {url}")]
    Stalled { host: String, url: String },
    #[error("registry {host} interrupted an upload")]
    Interrupted { host: String },
    /// In the words of Docker's engine, which scripts match; those after the last colons but one are the registry's own. So are the
    /// next three.
    #[error("manifest for {reference} not found: {said}")]
    ManifestUnknown { reference: String, said: String },
    #[error("repository {repository} not found: {said}")]
    NameUnknown { repository: String, said: String },
    #[error("registry {host} has no blob {digest} in {repository}")]
    BlobUnknown { host: String, repository: String, digest: Digest },
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': {said}"
    )]
    Denied { host: String, repository: String, said: String, knows_us: bool },
    #[error("{said}")]
    PushDenied { host: String, said: String, knows_us: bool },
    #[error("unauthorized: authentication required for {host}")]
    Unauthorized { host: String },
    /// In the words of Docker's client.
    #[error("login attempt to {url} failed with status: {status}")]
    LoginRefused { url: String, status: String },
    #[error("registry {host} asks for credentials, which cannot be looked up")]
    Credentials { host: String, source: Arc<CredentialsError> },
    #[error("registry {host} answered {status} to {url}: {message}")]
    Status { host: String, url: String, status: u16, message: String },
    #[error("registry {host} gave a malformed answer to {url}: {what}")]
    Malformed { host: String, url: String, what: String },
    #[error("registry {host} gave content that is {found}, not {expected}")]
    Digest { host: String, expected: Digest, found: Digest },
    #[error("registry {host} gave {found} bytes of blob {digest}, which has {expected}")]
    Size { host: String, digest: Digest, expected: u64, found: u64 },
    #[error("registry {host} redirects {url} to {target}, which is refused: {why}")]
    Redirect { host: String, url: String, target: String, why: &'static str },
    #[error("interrupted")]
    Stopped,
    #[error("cannot read what is to be uploaded")]
    Source(#[source] std::io::Error),
}

impl RegistryError {
    /// There is nothing that `reference` names; `said` is what the registry says to it.
    pub(crate) fn manifest_unknown(reference: String, said: Option<String>) -> Self {
        let said = said.unwrap_or_else(|| "manifest unknown: manifest unknown".to_owned());
        Self::ManifestUnknown { reference, said }
    }

    /// With which status and words the registry has refused, when it has.
    pub fn refusal(&self) -> Option<(u16, &str)> {
        match self {
            Self::ManifestUnknown { said, .. } | Self::NameUnknown { said, .. } => Some((404, said)),
            Self::Denied { said, knows_us, .. } | Self::PushDenied { said, knows_us, .. } => {
                Some((if *knows_us { 403 } else { 401 }, said))
            }
            Self::Status { status: status @ 400..500, message, .. } => Some((*status, message)),
            _ => None,
        }
    }

    /// Whether the same may go well when it is tried again.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Transfer { source, .. } => !source.is_builder(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Stalled { .. } => true,
            _ => false,
        }
    }
}

impl Diagnose for RegistryError {
    fn class(&self) -> Class {
        match self {
            Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::BlobUnknown { .. }
            | Self::Denied { knows_us: true, .. } => Class::NotFound,
            Self::Denied { .. }
            | Self::PushDenied { .. }
            | Self::Unauthorized { .. }
            | Self::LoginRefused { .. } => Class::Denied,
            Self::Credentials { source, .. } => source.class(),
            Self::Connect { .. }
            | Self::Transfer { .. }
            | Self::Stalled { .. }
            | Self::Interrupted { .. }
            | Self::Stopped => Class::Unavailable,
            Self::Status { status: 429 | 500.., .. } => Class::Unavailable,
            Self::Source(e) => Class::of_io(e),
            Self::Hosts(e) => e.class(),
            Self::Setup(_) => Class::Internal,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { host, .. } | Self::PushDenied { host, .. } | Self::Unauthorized { host } => {
                Some(format!("check the name, or log in with `hull login {host}`"))
            }
            Self::Connect { host, .. } => Some(format!(
                "check that {host} is right and reachable; a registry without TLS has to be named in HULL_INSECURE_REGISTRIES, or with \
                 `server = \"http://{host}\"` in /etc/hull/certs.d/{host}/hosts.toml"
            )),
            Self::Credentials { source, .. } => source.hint(),
            _ => None,
        }
    }
}

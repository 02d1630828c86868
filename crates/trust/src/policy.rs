//! What is required of images, by where they come from.
//!
//! The file is the one of podman, skopeo and CRI-O, so that one text serves them all: containers-policy.json(5). It is read
//! anew by each pull, in full and strictly: what is misspelled would otherwise protect nothing, so it stops every pull.

mod file;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use oci::{Digest, Reference};
use registry::Client;

use crate::certificate::Fulcio;
use crate::check::{Verified, check};
use crate::error::TrustError;
use crate::identity::Identity;
use crate::key::PublicKey;

const SYSTEM: &str = "/etc/hull/policy.json";
const VARIABLE: &str = "HULL_POLICY";

/// Requirements by scope.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For messages.
    path: String,
    default: Vec<Requirement>,
    /// The scopes of registries: `registry.example/team`, `*.example`, and the empty one for all others.
    docker: BTreeMap<String, Vec<Requirement>>,
}

/// One thing that an image has to be.
#[derive(Clone, Debug)]
pub enum Requirement {
    Accept,
    Reject,
    /// Signed with GPG. Understood as far as it takes to refuse.
    SignedBy,
    Sigstore(Box<SigstoreSigned>),
}

/// Signed by somebody known, for a name that fits.
#[derive(Clone, Debug)]
pub struct SigstoreSigned {
    pub signers: Signers,
    /// One of these logs has to have seen it. Never empty for [`Signers::Fulcio`].
    pub logs: Vec<PublicKey>,
    pub identity: Identity,
}

/// Whose signatures are good.
#[derive(Clone, Debug)]
pub enum Signers {
    Keys(Vec<PublicKey>),
    Fulcio(Fulcio),
}

/// The policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("cannot read the policy {path}, without which no image is pulled")]
    Read { path: String, source: std::io::Error },
    #[error("the policy {path} is malformed, no image is pulled")]
    Syntax { path: String, source: serde_json::Error },
    #[error("the policy {path} is unusable, no image is pulled: {scope}: {why}")]
    Unusable { path: String, scope: String, why: String },
}

impl Policy {
    /// This system's policy: what `HULL_POLICY` names, or `/etc/hull/policy.json`. Where there is no such file, anything is
    /// accepted.
    ///
    /// # Errors
    /// [`PolicyError`]; a file that `HULL_POLICY` names has to be there.
    pub fn of_system() -> Result<Self, PolicyError> {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return Self::read(&PathBuf::from(path));
        }
        match Self::read(Path::new(SYSTEM)) {
            Err(PolicyError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(Self {
                path: SYSTEM.to_owned(),
                default: vec![Requirement::Accept],
                docker: BTreeMap::new(),
            }),
            other => other,
        }
    }

    /// The policy in a file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => file::parse(&name, &bytes),
            Err(source) => Err(PolicyError::Read { path: name, source }),
        }
    }

    /// What is required of the image `reference` names, by its most specific scope, and how that is called in messages.
    pub fn requirements(&self, reference: &Reference) -> (&[Requirement], String) {
        for scope in scopes(reference) {
            if let Some(requirements) = self.docker.get(&scope) {
                let name =
                    if scope.is_empty() { "transport \"docker\"" } else { &*format!("scope {scope:?}") };
                return (requirements, format!("{name} of {}", self.path));
            }
        }
        (&self.default, format!("the default of {}", self.path))
    }

    /// Checks an image against the policy; see [`check`].
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn check(
        &self,
        client: &Client,
        reference: &Reference,
        digests: &[Digest],
    ) -> Result<Vec<Verified>, TrustError> {
        let (requirements, rule) = self.requirements(reference);
        check(client, reference, digests, requirements, &rule)
    }
}

/// Where requirements for `reference` may be, the most specific place first.
fn scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let whole = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => name.clone(),
    };
    let mut scopes = vec![whole];
    let mut rest = &*name;
    loop {
        scopes.push(rest.to_owned());
        let Some((above, _)) = rest.rsplit_once('/') else { break };
        rest = above;
    }
    // Wildcards are of the host's name, without its port.
    let mut host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    while let Some((_, above)) = host.split_once('.') {
        scopes.push(format!("*.{above}"));
        host = above;
    }
    scopes.push(String::new());
    scopes
}

impl SigstoreSigned {
    /// What is asked for, for messages.
    pub(crate) fn describe(&self) -> String {
        let by = match &self.signers {
            Signers::Keys(keys) => {
                let names: Vec<_> = keys.iter().map(PublicKey::name).collect();
                format!("a signature by key {}", names.join(" or "))
            }
            Signers::Fulcio(fulcio) => format!("a signature with {}", fulcio.describe()),
        };
        if self.logs.is_empty() { by } else { format!("{by}, logged") }
    }
}

impl Diagnose for PolicyError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } => Class::of_io(source),
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("the format is that of containers-policy.json(5); see docs/signatures.md".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_scope_is_first() {
        let check = |reference: &str, expected: &[&str]| {
            assert_eq!(scopes(&Reference::parse(reference).unwrap()), expected, "{reference}");
        };
        check(
            "busybox",
            &[
                "docker.io/library/busybox:latest",
                "docker.io/library/busybox",
                "docker.io/library",
                "docker.io",
                "*.io",
                "",
            ],
        );
        check(
            "a.b.example:5000/team/app:v1",
            &[
                "a.b.example:5000/team/app:v1",
                "a.b.example:5000/team/app",
                "a.b.example:5000/team",
                "a.b.example:5000",
                "*.b.example",
                "*.example",
                "",
            ],
        );
    }
}

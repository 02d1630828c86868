//! The policy as it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, de};

use super::{Policy, PolicyError, Requirement, Signers, SigstoreSigned};
use crate::certificate::{Fulcio, Subject};
use crate::identity::Identity;
use crate::key::PublicKey;
use crate::signature::ClaimedName;

#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Vec<Entry>,
    #[serde(default)]
    transports: Unique<Unique<Vec<Entry>>>,
}

#[derive(DeriveDeserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "it is read, and taken apart at once")]
enum Entry {
    #[serde(rename = "insecureAcceptAnything")]
    Accept {},
    #[serde(rename = "reject")]
    Reject {},
    // Its fields are its own affair.
    #[serde(rename = "signedBy", deserialize_with = "anything")]
    SignedBy,
    #[serde(rename = "sigstoreSigned")]
    Sigstore {
        key_path: Option<String>,
        key_paths: Option<Vec<String>>,
        key_data: Option<String>,
        key_datas: Option<Vec<String>>,
        fulcio: Option<FulcioEntry>,
        rekor_public_key_path: Option<String>,
        rekor_public_key_paths: Option<Vec<String>>,
        rekor_public_key_data: Option<String>,
        rekor_public_key_datas: Option<Vec<String>>,
        signed_identity: Option<IdentityEntry>,
    },
}

#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct FulcioEntry {
    #[serde(rename = "caPath")]
    ca_path: Option<String>,
    #[serde(rename = "caData")]
    ca_data: Option<String>,
    #[serde(rename = "oidcIssuer")]
    oidc_issuer: String,
    #[serde(rename = "subjectEmail")]
    subject_email: String,
}

#[derive(DeriveDeserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum IdentityEntry {
    MatchExact {},
    MatchRepoDigestOrExact {},
    MatchRepository {},
    MatchRepositoryIfNamed {},
    ExactReference { docker_reference: String },
    ExactRepository { docker_repository: String },
    RemapIdentity { prefix: String, signed_prefix: String },
}

/// Reads a policy, and the keys and certificates it names.
pub fn parse(path: &str, bytes: &[u8]) -> Result<Policy, PolicyError> {
    let file: File = serde_json::from_slice(bytes)
        .map_err(|source| PolicyError::Syntax { path: path.to_owned(), source })?;
    let unusable = |scope: &str, why: String| PolicyError::Unusable {
        path: path.to_owned(),
        scope: scope.to_owned(),
        why,
    };
    let read = |scope: &str, entries: Vec<Entry>| {
        if entries.is_empty() {
            return Err(unusable(scope, "it has no requirement; to accept all, say so".to_owned()));
        }
        let requirements: Result<Vec<_>, _> = entries.into_iter().map(requirement).collect();
        requirements.map_err(|why| unusable(scope, why))
    };
    let default = read("default", file.default)?;
    let mut docker = BTreeMap::new();
    for (transport, scopes) in file.transports.0 {
        for (scope, entries) in scopes.0 {
            let name = format!("transport {transport:?}, scope {scope:?}");
            let requirements = read(&name, entries)?;
            if transport == "docker" {
                check_scope(&scope).map_err(|why| unusable(&name, why))?;
                docker.insert(scope, requirements);
            }
        }
    }
    Ok(Policy { path: path.to_owned(), default, docker })
}

/// Refuses a scope that no image would ever have, because it would protect nothing.
fn check_scope(scope: &str) -> Result<(), String> {
    let host = scope.split('/').next().unwrap_or_default();
    let host = host.strip_prefix("*.").unwrap_or(host);
    let is_host = host.contains(['.', ':']) || host == "localhost" || scope.starts_with("*.");
    if scope.is_empty() {
        Ok(())
    } else if scope.contains("://") || scope.contains(char::is_whitespace) || scope.ends_with('/') {
        Err("a scope is a registry, a repository or an image, without a scheme or a slash at its end"
            .to_owned())
    } else if host.contains('*') || scope.matches('*').count() > usize::from(scope.starts_with("*.")) {
        Err("only the first part of a host's name may be `*`".to_owned())
    } else if scope.starts_with("*.") && scope.contains(['/', ':']) {
        Err("what begins with `*.` is a host's name and no more".to_owned())
    } else if !is_host {
        Err(format!(
            "{host:?} is no registry; images of Docker Hub are `docker.io/library/{scope}` or `docker.io/{scope}`"
        ))
    } else {
        Ok(())
    }
}

fn requirement(entry: Entry) -> Result<Requirement, String> {
    let Entry::Sigstore {
        key_path,
        key_paths,
        key_data,
        key_datas,
        fulcio,
        rekor_public_key_path,
        rekor_public_key_paths,
        rekor_public_key_data,
        rekor_public_key_datas,
        signed_identity,
    } = entry
    else {
        return Ok(match entry {
            Entry::Accept {} => Requirement::Accept,
            Entry::Reject {} => Requirement::Reject,
            _ => Requirement::SignedBy,
        });
    };
    let signers = Keys { path: key_path, paths: key_paths, data: key_data, datas: key_datas };
    let logs = Keys {
        path: rekor_public_key_path,
        paths: rekor_public_key_paths,
        data: rekor_public_key_data,
        datas: rekor_public_key_datas,
    };
    let logs = logs.read("rekorPublicKey")?.unwrap_or_default();
    let signers = match (signers.read("key")?, fulcio) {
        (Some(keys), None) => Signers::Keys(keys),
        (None, Some(_)) if logs.is_empty() => {
            return Err(
                "`fulcio` needs a `rekorPublicKeyPath`: only the log knows when a certificate was used"
                    .to_owned(),
            );
        }
        (None, Some(fulcio)) => Signers::Fulcio(fulcio.read()?),
        (None, None) => return Err("sigstoreSigned needs a `keyPath` or `fulcio`".to_owned()),
        (Some(_), Some(_)) => return Err("sigstoreSigned takes a key or `fulcio`, not both".to_owned()),
    };
    let identity = signed_identity.map_or(Ok(Identity::RepositoryDigestOrExact), identity)?;
    Ok(Requirement::Sigstore(Box::new(SigstoreSigned { signers, logs, identity })))
}

/// The four ways to give keys.
struct Keys {
    path: Option<String>,
    paths: Option<Vec<String>>,
    data: Option<String>,
    datas: Option<Vec<String>>,
}

impl Keys {
    fn read(self, what: &str) -> Result<Option<Vec<PublicKey>>, String> {
        let from_path = |path: String| PublicKey::read(Path::new(&path)).map_err(whole);
        let from_data = |data: String| {
            let name = format!("{what}Data");
            PublicKey::from_pem(&name, &decoded(&name, &data)?).map_err(whole)
        };
        let paths = self.path.map(|path| vec![path]).into_iter().chain(self.paths);
        let datas = self.data.map(|data| vec![data]).into_iter().chain(self.datas);
        let mut ways: Vec<Vec<PublicKey>> = Vec::new();
        for paths in paths {
            ways.push(paths.into_iter().map(from_path).collect::<Result<_, _>>()?);
        }
        for datas in datas {
            ways.push(datas.into_iter().map(from_data).collect::<Result<_, _>>()?);
        }
        match (ways.pop(), ways.is_empty()) {
            (None, _) => Ok(None),
            (Some(keys), true) if !keys.is_empty() => Ok(Some(keys)),
            (Some(_), true) => Err(format!("a list of {what}s is empty")),
            (Some(_), false) => {
                Err(format!("only one of {what}Path, {what}Paths, {what}Data and {what}Datas may be given"))
            }
        }
    }
}

impl FulcioEntry {
    fn read(self) -> Result<Fulcio, String> {
        let (name, roots) = match (self.ca_path, self.ca_data) {
            (Some(path), None) => {
                let roots = std::fs::read(&path).map_err(|e| format!("cannot read {path}: {e}"))?;
                (path, roots)
            }
            (None, Some(data)) => ("caData".to_owned(), decoded("caData", &data)?),
            _ => return Err("`fulcio` needs `caPath` or `caData`, and not both".to_owned()),
        };
        if self.oidc_issuer.is_empty() || self.subject_email.is_empty() {
            return Err("`fulcio` needs an `oidcIssuer` and a `subjectEmail`".to_owned());
        }
        Fulcio::new(&name, &roots, self.oidc_issuer, Subject::Email(self.subject_email)).map_err(whole)
    }
}

fn identity(entry: IdentityEntry) -> Result<Identity, String> {
    let name = |text: &str| ClaimedName::parse(text).map_err(|_| format!("{text:?} is no name of an image"));
    Ok(match entry {
        IdentityEntry::MatchExact {} => Identity::Exact,
        IdentityEntry::MatchRepoDigestOrExact {} => Identity::RepositoryDigestOrExact,
        IdentityEntry::MatchRepository {} => Identity::Repository,
        IdentityEntry::MatchRepositoryIfNamed {} => Identity::RepositoryIfNamed,
        IdentityEntry::ExactReference { docker_reference } => match name(&docker_reference)? {
            ClaimedName { tag: None, .. } => return Err(format!("{docker_reference:?} has no tag")),
            claimed => Identity::ExactReference(claimed),
        },
        IdentityEntry::ExactRepository { docker_repository } => match name(&docker_repository)? {
            ClaimedName { tag: None, repository } => Identity::ExactRepository(repository),
            _ => return Err(format!("{docker_repository:?} has a tag")),
        },
        IdentityEntry::RemapIdentity { prefix, signed_prefix } => {
            for prefix in [&prefix, &signed_prefix] {
                check_scope(prefix).map_err(|why| format!("{prefix:?}: {why}"))?;
                if prefix.is_empty() || prefix.contains(['*', '@']) {
                    return Err(format!("{prefix:?} is no prefix of repositories"));
                }
            }
            Identity::Remap { prefix, signed: signed_prefix }
        }
    })
}

fn decoded(name: &str, data: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(data).map_err(|e| format!("{name} is no Base64: {e}"))
}

/// An error with its sources; it becomes part of a sentence.
fn whole(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn anything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    de::IgnoredAny::deserialize(deserializer).map(drop)
}

/// A map that has each key once. Of two requirements for one scope, one would be forgotten.
struct Unique<V>(BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(de::Error::custom(format!("{key:?} is there twice")));
                    }
                    entries.insert(key, map.next_value()?);
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

//! Why an image is not trusted.

use diag::{Class, Diagnose};
use oci::Digest;
use registry::RegistryError;

use crate::policy::PolicyError;

/// An image was refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("image {image} ({digest}) is refused: {rule} rejects it")]
    Rejected { image: String, digest: Digest, rule: String },
    #[error(
        "image {image} ({digest}) is refused: {rule} asks for a GPG signature (signedBy), which is not supported"
    )]
    SignedBy { image: String, digest: Digest, rule: String },
    #[error("image {image} ({digest}) is refused: {rule} asks for {wanted}, and there is no signature")]
    Unsigned { image: String, digest: Digest, rule: String, wanted: String },
    #[error("image {image} ({digest}) is refused: {rule} asks for {wanted}: {}", list(.reasons, *.found))]
    NotVerified {
        image: String,
        digest: Digest,
        rule: String,
        wanted: String,
        /// The signatures that were looked at, and what is wrong with each.
        reasons: Vec<(Digest, Reason)>,
        /// How many there are.
        found: usize,
    },
    #[error("nothing to verify: {rule} accepts image {image} without a signature")]
    NothingAsked { image: String, rule: String },
    #[error("cannot look for signatures of image {image} ({digest})")]
    Find { image: String, digest: Digest, source: RegistryError },
}

/// What is wrong with one signature; a sentence about it.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("it is not by this key")]
    OtherKey,
    #[error("it is of another image, {0}")]
    OtherDigest(Digest),
    #[error("it was made for another name, {0}")]
    OtherName(String),
    #[error("it names no repository, which its signedIdentity asks for")]
    Nameless,
    #[error("it is no signature but an attestation of type {0}")]
    Attestation(String),
    #[error("it has no certificate")]
    NoCertificate,
    #[error("its certificate was not good when it was logged: {0}")]
    Certificate(webpki::Error),
    #[error("its certificate's key has not made it")]
    CertificateKey,
    #[error("its certificate is of {found}, not of {wanted:?}")]
    Subject { found: String, wanted: String },
    #[error("{found} has vouched for its signer, not {wanted:?}")]
    Issuer { found: String, wanted: String },
    #[error("it has no entry of a transparency log")]
    NotLogged,
    #[error("its log entry has no signed timestamp")]
    NoTimestamp,
    #[error("its log entry is not signed by the log")]
    OtherLog,
    #[error("its log entry is about another {0}")]
    OtherEntry(&'static str),
    #[error("its log entry is of kind {0}, which is not supported")]
    EntryKind(String),
    #[error("it has {size} bytes, more than the {limit} one may have")]
    TooLarge { size: u64, limit: u64 },
    #[error("{0}")]
    Malformed(String),
    #[error("it cannot be fetched: {0}")]
    Fetch(RegistryError),
}

/// A sentence with the first of the reasons; an attacker decides how many there are.
fn list(reasons: &[(Digest, Reason)], found: usize) -> String {
    const SHOWN: usize = 3;
    let one = |(digest, reason): &(Digest, Reason)| format!("signature {}: {reason}", digest.short());
    let mut text = reasons.iter().take(SHOWN).map(one).collect::<Vec<_>>().join("; ");
    if found > reasons.len() {
        text += &format!("; only the newest {} of {found} signatures were looked at", reasons.len());
    } else if found > SHOWN {
        text += &format!("; and {} more", found - SHOWN);
    }
    text
}

impl Diagnose for TrustError {
    fn class(&self) -> Class {
        match self {
            Self::Policy(e) => e.class(),
            Self::Find { source, .. } => source.class(),
            Self::SignedBy { .. } => Class::Unsupported,
            Self::NothingAsked { .. } => Class::Invalid,
            _ => Class::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(e) => e.hint(),
            Self::Find { source, .. } => source.hint(),
            Self::SignedBy { .. } => Some("hull verifies cosign's signatures: `sigstoreSigned`".to_owned()),
            Self::NothingAsked { .. } => {
                Some("say who has to have signed it, with `--key` for example".to_owned())
            }
            _ => None,
        }
    }
}

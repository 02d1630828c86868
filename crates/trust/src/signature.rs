//! A signature as it was found, whatever its form.

use oci::{Digest, Reference};
use rustls_pki_types::CertificateDer;

use crate::error::Reason;
use crate::rekor::LogEntry;

/// Nothing of it is verified.
pub struct Signature {
    pub form: Form,
    /// What the log knows the signature by: cosign's payload, or the statement in an envelope.
    pub payload: Vec<u8>,
    /// The bytes that were signed.
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    /// The signer's certificate and those that lead to its root; empty when a key has signed.
    pub certificates: Vec<CertificateDer<'static>>,
    pub entry: Option<LogEntry>,
}

/// How signatures are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// cosign's: a layer and its annotations.
    Simple,
    /// A sigstore bundle around a DSSE envelope.
    Bundle,
}

/// What a signer says: this content, under this name.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    pub digest: Digest,
    pub name: Option<ClaimedName>,
}

/// A name in a claim. Unlike those that users type, one without a tag has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedName {
    pub repository: String,
    pub tag: Option<String>,
}

impl ClaimedName {
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let reference = Reference::parse(text).map_err(|e| {
            Reason::Malformed(format!("it is for {text:?}, which is no name of an image: {e}"))
        })?;
        let tag = reference.tag().filter(|tag| text.ends_with(&format!(":{tag}"))).map(str::to_owned);
        Ok(Self { repository: reference.name(), tag })
    }
}

impl std::fmt::Display for ClaimedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

impl Signature {
    /// What it says. To be asked once the signature is verified: until then it is only what somebody wrote.
    pub fn claims(&self) -> Result<Vec<Claim>, Reason> {
        match self.form {
            Form::Simple => crate::simple::claim(&self.payload).map(|claim| vec![claim]),
            Form::Bundle => crate::bundle::claims(&self.payload),
        }
    }
}

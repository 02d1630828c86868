//! An image's signatures held against what is required.

use oci::{Digest, Reference};
use registry::Client;

use crate::error::{Reason, TrustError};
use crate::find::{Candidate, candidates};
use crate::policy::{Requirement, Signers, SigstoreSigned};
use crate::rekor;
use crate::signature::{Form, Signature};

/// Signatures of one image that are looked at; real images have a handful.
const MOST: usize = 100;

/// A signature that is good, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What was signed: the image, or the index that names it.
    pub digest: Digest,
    pub signature: Digest,
    pub form: &'static str,
    pub signer: String,
    /// The name the signer has signed it for.
    pub name: Option<String>,
    /// When the log has seen it, in seconds since 1970; `None` when no log was asked for.
    pub logged: Option<i64>,
}

/// Checks that an image meets `requirements`, every one of them; returns the signatures that show it.
///
/// `digests` are the image's manifest and the indexes through which `reference` names it: who signs an index signs what it
/// names. `rule` says in messages where the requirements are from.
///
/// # Errors
/// [`TrustError`] with the first requirement that is not met.
pub fn check(
    client: &Client,
    reference: &Reference,
    digests: &[Digest],
    requirements: &[Requirement],
    rule: &str,
) -> Result<Vec<Verified>, TrustError> {
    let image = reference.canonical();
    let digest = *digests.first().expect("a reference that was resolved names something");
    let rule = rule.to_owned();
    let mut verified = Vec::new();
    for requirement in requirements {
        match requirement {
            Requirement::Accept => {}
            Requirement::Reject => return Err(TrustError::Rejected { image, digest, rule }),
            Requirement::SignedBy => return Err(TrustError::SignedBy { image, digest, rule }),
            Requirement::Sigstore(wanted) => {
                verified.push(Attempt { client, reference, wanted, rule: &rule }.run(digests)?);
            }
        }
    }
    Ok(verified)
}

struct Attempt<'a> {
    client: &'a Client,
    reference: &'a Reference,
    wanted: &'a SigstoreSigned,
    rule: &'a str,
}

impl Attempt<'_> {
    fn run(&self, digests: &[Digest]) -> Result<Verified, TrustError> {
        let image = || self.reference.canonical();
        let (mut reasons, mut found) = (Vec::new(), 0);
        for &digest in digests {
            let all = candidates(self.client, self.reference, &digest)
                .map_err(|source| TrustError::Find { image: image(), digest, source })?;
            found += all.len();
            for candidate in all.iter().take(MOST) {
                match self.verify(candidate, digest) {
                    Ok(verified) => return Ok(verified),
                    Err(reason) => reasons.push((candidate.digest(), reason)),
                }
            }
        }
        let (image, digest, rule) = (image(), digests[0], self.rule.to_owned());
        let wanted = self.wanted.describe();
        if found == 0 {
            return Err(TrustError::Unsigned { image, digest, rule, wanted });
        }
        Err(TrustError::NotVerified { image, digest, rule, wanted, reasons, found })
    }

    /// First who has signed, then what: an unverified signature says nothing.
    fn verify(&self, candidate: &Candidate, digest: Digest) -> Result<Verified, Reason> {
        let signature = candidate.fetch(self.client, self.reference)?;
        let (signer, logged) = verify_signer(&signature, self.wanted)?;
        let claims = signature.claims()?;
        let Some(claim) = claims.iter().find(|claim| claim.digest == digest) else {
            return Err(match claims.first() {
                Some(claim) => Reason::OtherDigest(claim.digest),
                None => Reason::Malformed("it is of nothing".to_owned()),
            });
        };
        self.wanted.identity.check(claim.name.as_ref(), self.reference)?;
        Ok(Verified {
            digest,
            signature: candidate.digest(),
            form: match signature.form {
                Form::Simple => "cosign signature",
                Form::Bundle => "sigstore bundle",
            },
            signer,
            name: claim.name.as_ref().map(ToString::to_string),
            logged,
        })
    }
}

/// Who has made a signature, and when that was logged.
fn verify_signer(signature: &Signature, wanted: &SigstoreSigned) -> Result<(String, Option<i64>), Reason> {
    let made_by = |key: &crate::PublicKey| key.verifies(&signature.message, &signature.signature);
    match &wanted.signers {
        Signers::Keys(keys) => {
            let key = keys.iter().find(|key| made_by(key)).ok_or(Reason::OtherKey)?;
            let logged = match &*wanted.logs {
                [] => None,
                logs => Some(rekor::verify(signature, key.der(), logs)?),
            };
            Ok((format!("key {}", key.name()), logged))
        }
        Signers::Fulcio(fulcio) => {
            let certificate = signature.certificates.first().ok_or(Reason::NoCertificate)?;
            // The certificate is long expired. What counts is whether it was good when the log saw what it has signed.
            let logged = rekor::verify(signature, certificate, &wanted.logs)?;
            let key = fulcio.verify(&signature.certificates, logged)?;
            if !made_by(&key) {
                return Err(Reason::CertificateKey);
            }
            Ok((fulcio.describe(), Some(logged)))
        }
    }
}

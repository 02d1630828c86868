//! Certificates of identities, as Fulcio issues them to whoever has just logged in.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::ring as algorithms;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::error::Reason;
use crate::key::PublicKey;

/// id-kp-codeSigning, 1.3.6.1.5.5.7.3.3: a certificate of a web server signs no image.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// Who has vouched for the identity, as plain bytes.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// The same as a UTF8String.
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// Chains have two or three certificates.
const LONGEST_CHAIN: usize = 8;

const CHAIN_ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// Whose certificates are believed, and about whom.
#[derive(Clone, Debug)]
pub struct Fulcio {
    roots: Vec<TrustAnchor<'static>>,
    /// The identity provider, `https://accounts.example.com`.
    issuer: String,
    subject: Subject,
}

/// Who has to have signed: one of the names in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Email(String),
    /// An address of mail, a URI (of a workflow, say) or a DNS name.
    Any(String),
}

/// Why something is no list of authorities.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("{name} is malformed PEM")]
    Pem { name: String, source: pem::Error },
    #[error("{name} has an unusable certificate")]
    Certificate { name: String, source: webpki::Error },
    #[error("{name} has no certificate in PEM")]
    None { name: String },
}

impl Fulcio {
    /// Believes certificates that lead to one of `roots`, which are PEM and called `name` in messages.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn new(name: &str, roots: &[u8], issuer: String, subject: Subject) -> Result<Self, RootsError> {
        let anchor = |certificate: Result<CertificateDer<'_>, _>| {
            let certificate =
                certificate.map_err(|source| RootsError::Pem { name: name.to_owned(), source })?;
            match anchor_from_trusted_cert(&certificate) {
                Ok(anchor) => Ok(anchor.to_owned()),
                Err(source) => Err(RootsError::Certificate { name: name.to_owned(), source }),
            }
        };
        let roots: Vec<_> = CertificateDer::pem_slice_iter(roots).map(anchor).collect::<Result<_, _>>()?;
        if roots.is_empty() {
            return Err(RootsError::None { name: name.to_owned() });
        }
        Ok(Self { roots, issuer, subject })
    }

    /// Checks that `chain`, the signer's certificate first, was good at `time` and is that of whom it should be.
    ///
    /// Returns its key. That it was used at `time` is for the caller to know.
    pub fn verify(&self, chain: &[CertificateDer<'_>], time: i64) -> Result<PublicKey, Reason> {
        let Some((certificate, others)) = chain.split_first() else { return Err(Reason::NoCertificate) };
        if chain.len() > LONGEST_CHAIN {
            return Err(Reason::Malformed(format!("it has {} certificates", chain.len())));
        }
        let since = std::time::Duration::from_secs(
            u64::try_from(time).map_err(|_| Reason::Malformed(format!("it was logged at {time}")))?,
        );
        EndEntityCert::try_from(certificate)
            .and_then(|leaf| {
                let usage = KeyUsage::required(CODE_SIGNING);
                let time = UnixTime::since_unix_epoch(since);
                leaf.verify_for_usage(CHAIN_ALGORITHMS, &self.roots, others, time, usage, None, None)
                    .map(drop)
            })
            .map_err(Reason::Certificate)?;
        let certificate = Certificate::from_der(certificate).map_err(unreadable)?;
        self.check_issuer(&certificate)?;
        self.check_subject(&certificate)?;
        let key = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(unreadable)?;
        PublicKey::from_der("the certificate's key", SubjectPublicKeyInfoDer::from(key))
            .map_err(|e| Reason::Malformed(e.to_string()))
    }

    fn check_issuer(&self, certificate: &Certificate) -> Result<(), Reason> {
        let mut found = Vec::new();
        for value in extensions(certificate, ISSUER_V1) {
            found.push(std::str::from_utf8(value).map_err(unreadable)?);
        }
        for value in extensions(certificate, ISSUER_V2) {
            found.push(Utf8StringRef::from_der(value).map_err(unreadable)?.as_str());
        }
        // Where there are both, they say the same.
        match found.iter().find(|issuer| **issuer != self.issuer) {
            None if !found.is_empty() => Ok(()),
            other => Err(Reason::Issuer {
                found: other.map_or_else(|| "nobody".to_owned(), |issuer| format!("{issuer:?}")),
                wanted: self.issuer.clone(),
            }),
        }
    }

    fn check_subject(&self, certificate: &Certificate) -> Result<(), Reason> {
        let mut found = Vec::new();
        for value in extensions(certificate, SubjectAltName::OID) {
            for name in SubjectAltName::from_der(value).map_err(unreadable)?.0 {
                match (&name, &self.subject) {
                    (GeneralName::Rfc822Name(name), Subject::Email(wanted) | Subject::Any(wanted))
                        if name.as_str() == wanted =>
                    {
                        return Ok(());
                    }
                    (
                        GeneralName::UniformResourceIdentifier(name) | GeneralName::DnsName(name),
                        Subject::Any(wanted),
                    ) if name.as_str() == wanted => return Ok(()),
                    _ => found.extend(text(&name)),
                }
            }
        }
        let (Subject::Email(wanted) | Subject::Any(wanted)) = &self.subject;
        let found = if found.is_empty() { "nobody".to_owned() } else { found.join(", ") };
        Err(Reason::Subject { found, wanted: wanted.clone() })
    }

    /// Who has to have signed, for messages.
    pub(crate) fn describe(&self) -> String {
        let (Subject::Email(subject) | Subject::Any(subject)) = &self.subject;
        format!("a certificate of {subject}, vouched for by {}", self.issuer)
    }
}

fn extensions(certificate: &Certificate, oid: ObjectIdentifier) -> impl Iterator<Item = &[u8]> {
    let all = certificate.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(move |extension| extension.extn_id == oid).map(|found| found.extn_value.as_bytes())
}

fn text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name)
        | GeneralName::DnsName(name) => Some(format!("{:?}", name.as_str())),
        _ => None,
    }
}

fn unreadable(error: impl std::fmt::Display) -> Reason {
    Reason::Malformed(format!("its certificate is malformed: {error}"))
}

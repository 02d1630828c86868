//! Public keys, as files have them.

use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use webpki::ring as algorithms;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// What a signature over a payload may be made with. Each is for one kind of key, so that a key decides what is tried.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    // cosign hashes with SHA-256 whatever the curve, sigstore's newer clients take the curve's own.
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
];

const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key that signatures are verified with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    name: String,
    info: SubjectPublicKeyInfoDer<'static>,
}

/// Why something is no public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{name} is no public key in PEM")]
    Pem { name: String, source: pem::Error },
    #[error("{name} has {found} public keys, not one")]
    Count { name: String, found: usize },
    #[error("{name} is a malformed public key")]
    Malformed { name: String, source: x509_cert::der::Error },
    #[error(
        "{name} is a key of an unsupported kind ({kind}): there are ECDSA P-256 and P-384, Ed25519 and RSA"
    )]
    Kind { name: String, kind: String },
}

impl PublicKey {
    /// The key in a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::from_pem(&name, &bytes),
            Err(source) => Err(KeyError::Read { path: name, source }),
        }
    }

    /// The one key in `bytes`, which are called `name` in messages.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(bytes).collect();
        let keys = keys.map_err(|source| KeyError::Pem { name: name.to_owned(), source })?;
        match <[_; 1]>::try_from(keys) {
            Ok([info]) => Self::from_der(name, info),
            Err(keys) => Err(KeyError::Count { name: name.to_owned(), found: keys.len() }),
        }
    }

    pub(crate) fn from_der(name: &str, info: SubjectPublicKeyInfoDer<'static>) -> Result<Self, KeyError> {
        let name = name.to_owned();
        let algorithm = match SubjectPublicKeyInfoRef::from_der(&info) {
            Ok(parsed) => parsed.algorithm,
            Err(source) => return Err(KeyError::Malformed { name, source }),
        };
        // RSA has no parameters, of elliptic curves they are the curve.
        let curve = algorithm.parameters_oid().ok();
        match (algorithm.oid, curve) {
            (EC_KEY, Some(P256 | P384)) | (ED25519, None) | (RSA, _) => Ok(Self { name, info }),
            (kind, curve) => Err(KeyError::Kind { name, kind: curve.unwrap_or(kind).to_string() }),
        }
    }

    /// Where the key is from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key as certificates have it: a SubjectPublicKeyInfo.
    pub(crate) fn der(&self) -> &[u8] {
        &self.info
    }

    /// Whether `signature` is one of `message` by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(&self.info) else { return false };
        ALGORITHMS.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }
}

//! Entries of Rekor, the transparency log: that the log has seen a signature, and when.
//!
//! The proof is the *signed entry timestamp*, the log's own signature over the entry and its time. It is what makes a
//! certificate of ten minutes good for ever, so each part of the entry has to be about this very signature.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::Digest;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::key::PublicKey;
use crate::signature::{Form, Signature};

/// An entry as signatures bring it along.
pub struct LogEntry {
    /// The log's signature; logs of the second generation give none.
    pub timestamp: Option<Vec<u8>>,
    /// As the log signs it: Base64 of JSON.
    pub body: String,
    /// Seconds since 1970.
    pub integrated_time: i64,
    pub log_id: String,
    pub log_index: i64,
}

/// What the log signs, in the order of canonical JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    body: &'a str,
    integrated_time: i64,
    #[serde(rename = "logID")]
    log_id: &'a str,
    log_index: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Annotation {
    signed_entry_timestamp: String,
    payload: AnnotationPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotationPayload {
    body: String,
    integrated_time: Number,
    #[serde(rename = "logID")]
    log_id: String,
    log_index: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    api_version: String,
    kind: String,
    spec: Spec,
}

/// Of all kinds of entries; the parts of other kinds are missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    data: Option<Data>,
    signature: Option<HashedSignature>,
    payload_hash: Option<Hash>,
    signatures: Option<Vec<DsseSignature>>,
}

#[derive(Deserialize)]
struct Data {
    hash: Hash,
}

#[derive(Deserialize)]
struct Hash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HashedSignature {
    content: String,
    public_key: Content,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

#[derive(Deserialize)]
struct DsseSignature {
    signature: String,
    verifier: String,
}

/// What an entry is about, whatever its kind.
struct Subject {
    hash: Hash,
    signature: String,
    /// A certificate or a key; Base64 of PEM.
    signer: String,
}

/// A number that protobuf writes as a string.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Number(pub i64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl TryFrom<NumberOrText> for Number {
    type Error = std::num::ParseIntError;

    fn try_from(value: NumberOrText) -> Result<Self, Self::Error> {
        match value {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => text.parse().map(Self),
        }
    }
}

impl LogEntry {
    /// The entry in a layer's annotation.
    pub fn from_annotation(text: &str) -> Result<Self, String> {
        let Annotation { signed_entry_timestamp, payload } =
            serde_json::from_str(text).map_err(|e| e.to_string())?;
        let timestamp = BASE64_STANDARD.decode(signed_entry_timestamp).map_err(|e| e.to_string())?;
        Ok(Self {
            timestamp: Some(timestamp).filter(|bytes| !bytes.is_empty()),
            body: payload.body,
            integrated_time: payload.integrated_time.0,
            log_id: payload.log_id,
            log_index: payload.log_index.0,
        })
    }
}

/// When one of the logs whose keys are `logs` has seen `signature`, made by `signer` (a certificate or a key, DER).
///
/// The signature itself is verified elsewhere.
pub fn verify(signature: &Signature, signer: &[u8], logs: &[PublicKey]) -> Result<i64, Reason> {
    let entry = signature.entry.as_ref().ok_or(Reason::NotLogged)?;
    let timestamp = entry.timestamp.as_ref().ok_or(Reason::NoTimestamp)?;
    let LogEntry { body, log_id, log_index, integrated_time, .. } = entry;
    let signed = Signed { body, integrated_time: *integrated_time, log_id, log_index: *log_index };
    let signed = serde_json::to_vec(&signed).expect("strings and numbers are JSON");
    if !logs.iter().any(|log| log.verifies(&signed, timestamp)) {
        return Err(Reason::OtherLog);
    }
    let decode = |what: &str, text: &str| {
        BASE64_STANDARD
            .decode(text)
            .map_err(|e| Reason::Malformed(format!("{what} of its log entry is malformed: {e}")))
    };
    let subject = subject(signature.form, &decode("the body", body)?)?;
    if subject.hash.algorithm != "sha256" || subject.hash.value != Digest::of(&signature.payload).hex() {
        return Err(Reason::OtherEntry("payload"));
    }
    if decode("the signature", &subject.signature)? != signature.signature {
        return Err(Reason::OtherEntry("signature"));
    }
    if from_pem(&decode("the signer", &subject.signer)?).as_deref() != Some(signer) {
        return Err(Reason::OtherEntry("signer"));
    }
    Ok(*integrated_time)
}

/// What the body of an entry is about. Signatures of each form are logged in one kind of entries.
fn subject(form: Form, body: &[u8]) -> Result<Subject, Reason> {
    let malformed =
        |e: &dyn std::fmt::Display| Reason::Malformed(format!("the body of its log entry is malformed: {e}"));
    let Body { api_version, kind, spec } = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    let kind = format!("{kind} {api_version}");
    match (form, &*kind, spec) {
        (
            Form::Simple,
            "hashedrekord 0.0.1",
            Spec { data: Some(data), signature: Some(HashedSignature { content, public_key }), .. },
        ) => Ok(Subject { hash: data.hash, signature: content, signer: public_key.content }),
        (Form::Bundle, "dsse 0.0.1", Spec { payload_hash: Some(hash), signatures: Some(signatures), .. }) => {
            match <[_; 1]>::try_from(signatures) {
                Ok([DsseSignature { signature, verifier }]) => {
                    Ok(Subject { hash, signature, signer: verifier })
                }
                Err(_) => Err(malformed(&"it has not exactly one signature")),
            }
        }
        _ => Err(Reason::EntryKind(kind)),
    }
}

/// The one certificate or key in PEM.
fn from_pem(pem: &[u8]) -> Option<Vec<u8>> {
    if let Ok(certificate) = CertificateDer::from_pem_slice(pem) {
        return Some(certificate.to_vec());
    }
    SubjectPublicKeyInfoDer::from_pem_slice(pem).ok().map(|key| key.to_vec())
}

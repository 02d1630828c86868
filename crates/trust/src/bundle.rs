//! Sigstore bundles: one document with the envelope, the certificate and the log's entry.
//!
//! Spec: sigstore `protobuf-specs` (bundle 0.3, as protobuf writes JSON), DSSE 1.0, in-toto statement 1.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::Digest;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::error::Reason;
use crate::rekor::{LogEntry, Number};
use crate::signature::{Claim, ClaimedName, Form, Signature};

pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const STATEMENT: &str = "application/vnd.in-toto+json";
/// What a statement is about when it is a signature. Others are attestations: a list of what is wrong with an image is signed, too.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<Bytes>,
    x509_certificate_chain: Option<Chain>,
    #[serde(default)]
    tlog_entries: Vec<TlogEntry>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Bytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bytes {
    raw_bytes: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: Base64,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TlogEntry {
    log_index: Number,
    log_id: LogId,
    integrated_time: Number,
    inclusion_promise: Option<Promise>,
    canonicalized_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_STANDARD.decode(text).map(Self)
    }
}

/// The signature in a bundle.
pub fn read(bytes: &[u8]) -> Result<Signature, Reason> {
    let malformed = |e: &dyn std::fmt::Display| Reason::Malformed(format!("its bundle is malformed: {e}"));
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Reason::Malformed(format!("its bundle is of type {:?}", bundle.media_type)));
    }
    let envelope = bundle.dsse_envelope.ok_or_else(|| malformed(&"it has no DSSE envelope"))?;
    if envelope.payload_type != STATEMENT {
        return Err(Reason::Malformed(format!("its envelope has a {:?} in it", envelope.payload_type)));
    }
    // sigstore's bundles have exactly one; which of several counts would be a matter of opinion.
    let Ok([EnvelopeSignature { sig }]) = <[_; 1]>::try_from(envelope.signatures) else {
        return Err(malformed(&"its envelope has not exactly one signature"));
    };
    let Material { certificate, x509_certificate_chain, mut tlog_entries } = bundle.verification_material;
    let chain = x509_certificate_chain.into_iter().flat_map(|chain| chain.certificates);
    let certificates = certificate.into_iter().chain(chain);
    let entry = match tlog_entries.len() {
        0 | 1 => tlog_entries.pop().map(LogEntry::from),
        _ => return Err(malformed(&"it has several entries of logs")),
    };
    Ok(Signature {
        form: Form::Bundle,
        message: authenticated(&envelope.payload_type, &envelope.payload.0),
        payload: envelope.payload.0,
        signature: sig.0,
        certificates: certificates.map(|bytes| CertificateDer::from(bytes.raw_bytes.0)).collect(),
        entry,
    })
}

/// What is signed of an envelope: DSSE's "pre-authentication encoding".
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

impl From<TlogEntry> for LogEntry {
    fn from(entry: TlogEntry) -> Self {
        Self {
            timestamp: entry.inclusion_promise.map(|promise| promise.signed_entry_timestamp.0),
            body: entry.canonicalized_body,
            integrated_time: entry.integrated_time.0,
            log_id: entry.log_id.key_id.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            log_index: entry.log_index.0,
        }
    }
}

/// What a statement says of its subjects.
pub fn claims(payload: &[u8]) -> Result<Vec<Claim>, Reason> {
    let malformed = |e| Reason::Malformed(format!("its statement is malformed: {e}"));
    let statement: Statement = serde_json::from_slice(payload).map_err(malformed)?;
    if !matches!(&*statement.kind, "https://in-toto.io/Statement/v1" | "https://in-toto.io/Statement/v0.1") {
        return Err(Reason::Malformed(format!("its statement is of type {:?}", statement.kind)));
    }
    if statement.predicate_type != SIGNATURE {
        return Err(Reason::Attestation(statement.predicate_type));
    }
    let claim = |subject: Subject| {
        let digest = subject.digest.get("sha256").and_then(|hex| Digest::from_hex(hex).ok());
        let digest = digest.ok_or_else(|| {
            Reason::Malformed("a subject of its statement has no SHA-256 digest".to_owned())
        })?;
        let name = (!subject.name.is_empty()).then(|| ClaimedName::parse(&subject.name)).transpose()?;
        Ok(Claim { digest, name })
    };
    statement.subject.into_iter().map(claim).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bundle() -> Value {
        let entry = json!({"logIndex": "1", "logId": {"keyId": "AAA="}, "integratedTime": "2", "canonicalizedBody": "e30="});
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"tlogEntries": [entry]},
            "dsseEnvelope": {"payload": "e30=", "payloadType": STATEMENT, "signatures": [{"sig": "AAA="}]},
        })
    }

    fn refusal<T>(result: Result<T, Reason>) -> Option<String> {
        result.err().map(|reason| reason.to_string())
    }

    #[test]
    fn a_bundle_is_one_signature_of_a_statement() {
        assert_eq!(refusal(read(bundle().to_string().as_bytes())), None);
        let signature = &bundle()["dsseEnvelope"]["signatures"][0];
        let entry = &bundle()["verificationMaterial"]["tlogEntries"][0];
        for (place, value, reason) in [
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.1"), "is of type"),
            ("/dsseEnvelope", Value::Null, "no DSSE envelope"),
            ("/dsseEnvelope/payloadType", json!("text/plain"), "has a \"text/plain\" in it"),
            ("/dsseEnvelope/signatures", json!([]), "not exactly one signature"),
            ("/dsseEnvelope/signatures", json!([signature, signature]), "not exactly one signature"),
            ("/verificationMaterial/tlogEntries", json!([entry, entry]), "several entries"),
            ("/verificationMaterial/tlogEntries/0/integratedTime", json!("soon"), "malformed"),
        ] {
            let mut changed = bundle();
            *changed.pointer_mut(place).unwrap() = value;
            let refusal = refusal(read(changed.to_string().as_bytes())).expect(place);
            assert!(refusal.contains(reason), "{place}: {refusal}");
        }
    }

    #[test]
    fn a_statement_claims_what_it_was_signed_for() {
        let digest = format!("{:064x}", 7);
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest}}],
            "predicateType": SIGNATURE,
        });
        let claims_of = |statement: &Value| claims(statement.to_string().as_bytes());
        let Ok([claim]) = claims_of(&statement).map(|claims| <[_; 1]>::try_from(claims).unwrap()) else {
            panic!("it claims nothing");
        };
        assert_eq!((claim.digest.hex(), claim.name), (digest, None));
        for (place, value, reason) in [
            ("/_type", json!("https://example.com/Statement/v1"), "statement is of type"),
            ("/predicateType", json!("https://slsa.dev/provenance/v1"), "slsa.dev"),
            ("/subject/0/digest", json!({"sha512": "00"}), "no SHA-256 digest"),
            ("/subject/0/digest", json!({"sha256": "00"}), "no SHA-256 digest"),
        ] {
            let mut changed = statement.clone();
            *changed.pointer_mut(place).unwrap() = value;
            let refusal = refusal(claims_of(&changed)).expect(place);
            assert!(refusal.contains(reason), "{place}: {refusal}");
        }
    }
}

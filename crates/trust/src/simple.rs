//! cosign's own form: what is signed is the blob of a layer, everything else is in the layer's annotations.
//!
//! Spec: cosign `specs/SIGNATURE_SPEC.md`; the payload is the "simple signing" of containers-signature(5).

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::Digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::Reason;
use crate::rekor::LogEntry;
use crate::signature::{Claim, ClaimedName, Form, Signature};

pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const KIND: &str = "cosign container image signature";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    /// Whatever a signer wants to say without anybody having to understand it.
    #[serde(rename = "optional", default)]
    _optional: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: CriticalIdentity,
    image: CriticalImage,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CriticalIdentity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CriticalImage {
    docker_manifest_digest: Digest,
}

/// The signature in the annotations of the layer whose blob is `payload`.
pub fn read(payload: Vec<u8>, annotations: &BTreeMap<String, String>) -> Result<Signature, Reason> {
    let get = |key| annotations.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    let malformed = |key: &str, why: &dyn std::fmt::Display| {
        Reason::Malformed(format!("its annotation {key} is malformed: {why}"))
    };
    let signature = get(SIGNATURE)
        .ok_or_else(|| Reason::Malformed(format!("its layer has no annotation {SIGNATURE}")))?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|e| malformed(SIGNATURE, &e))?;
    let mut certificates = Vec::new();
    for key in [CERTIFICATE, CHAIN] {
        for certificate in CertificateDer::pem_slice_iter(get(key).unwrap_or_default().as_bytes()) {
            certificates.push(certificate.map_err(|e| malformed(key, &e))?);
        }
        // A chain without what it is the chain of belongs to nobody.
        if certificates.is_empty() {
            break;
        }
    }
    let entry = get(BUNDLE).map(LogEntry::from_annotation).transpose().map_err(|e| malformed(BUNDLE, &e))?;
    Ok(Signature { form: Form::Simple, message: payload.clone(), payload, signature, certificates, entry })
}

/// What a payload says.
pub fn claim(payload: &[u8]) -> Result<Claim, Reason> {
    let malformed = |e| Reason::Malformed(format!("its payload is malformed: {e}"));
    let Payload { critical, .. } = serde_json::from_slice(payload).map_err(malformed)?;
    if critical.r#type != KIND {
        return Err(Reason::Malformed(format!("it is a {:?}, not a {KIND:?}", critical.r#type)));
    }
    let name = ClaimedName::parse(&critical.identity.docker_reference)?;
    Ok(Claim { digest: critical.image.docker_manifest_digest, name: Some(name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublicKey;

    /// What cosign 2.5 has signed: payload, annotation and key, byte for byte.
    const PAYLOAD: &str = concat!(
        r#"{"critical":{"identity":{"docker-reference":"127.0.0.1:33097/app"},"image":{"docker-manifest-digest":"#,
        r#""sha256:70cab2ae4fe4f7707d749d8365068069eaeb0ae92eaea9b415ba9b873413820b"},"#,
        r#""type":"cosign container image signature"},"optional":null}"#
    );
    const MADE: &str =
        "MEUCIQCxYMkXq5BuY1+D2usUJaCwbwX/7AIxiuGhKmwHGAtXrgIgPJWJ1Lh6cihjb7v4BOGxeUeYZj/7yV3dqftjiYZFFkI=";
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBScSNFW/wIRq3OLEX8Pew1iIEgGh
7eROoBmmAmMiogR+GK+IgJSa+ONdhly8s0doqLe3hi79s7943i0JEKqEyw==
-----END PUBLIC KEY-----
";

    #[test]
    fn a_signature_of_cosign() {
        let key = PublicKey::from_pem("key", KEY.as_bytes()).unwrap();
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), MADE.to_owned())]);
        let found = read(PAYLOAD.into(), &annotations).map_err(|e| e.to_string()).unwrap();
        assert!(key.verifies(&found.message, &found.signature));
        let claim = claim(PAYLOAD.as_bytes()).map_err(|e| e.to_string()).unwrap();
        assert_eq!(claim.name.unwrap().to_string(), "127.0.0.1:33097/app");
        let digest = "sha256:70cab2ae4fe4f7707d749d8365068069eaeb0ae92eaea9b415ba9b873413820b";
        assert_eq!(claim.digest.to_string(), digest);
        for at in 0..PAYLOAD.len() {
            let mut changed = PAYLOAD.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(!key.verifies(&changed, &found.signature), "byte {at} does not count");
        }
    }
}

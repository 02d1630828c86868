//! What refers to another manifest; spec: distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Descriptor;
use crate::Digest;

/// As much of a manifest or an index as lists of referrers say of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Referrer {
    /// Reads a manifest or an index; `None` when it is neither.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What it refers to.
    pub fn subject(&self) -> Option<&Digest> {
        self.subject.as_ref().map(|subject| &subject.digest)
    }

    /// `descriptor`, which is its own, with its kind and its annotations. An image manifest without a word about its kind is of its config's
    /// media type.
    pub fn describe(self, mut descriptor: Descriptor) -> Descriptor {
        let own = self.artifact_type.filter(|text| !text.is_empty());
        if let Some(kind) = own.or(self.config.map(|config| config.media_type)) {
            descriptor.extra.insert("artifactType".to_owned(), Value::String(kind));
        }
        descriptor.annotations = self.annotations.unwrap_or_default();
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::media;

    #[test]
    fn kinds_are_the_specifications() {
        let check = |document: Value, kind: Option<&str>| {
            let bytes = document.to_string();
            let own = Descriptor::new(media::OCI_MANIFEST, Digest::of(bytes.as_bytes()), bytes.len() as u64);
            let described = Referrer::read(bytes.as_bytes()).unwrap().describe(own);
            assert_eq!(described.extra.get("artifactType").and_then(Value::as_str), kind, "{bytes}");
        };
        let config = json!({"mediaType": "a/config", "digest": Digest::of(b"{}"), "size": 2});
        check(json!({"artifactType": "an/sbom", "config": config}), Some("an/sbom"));
        check(json!({"artifactType": "", "config": config}), Some("a/config"));
        check(json!({"artifactType": null, "manifests": []}), None);
        let subject = Digest::of(b"subject");
        let text = json!({"subject": {"mediaType": "x", "digest": subject, "size": 7}}).to_string();
        assert_eq!(Referrer::read(text.as_bytes()).unwrap().subject(), Some(&subject));
        assert!(Referrer::read(b"no document").is_none() && Referrer::read(b"{\"subject\": 1}").is_none());
    }
}

//! Descriptors, manifests and indexes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Platform;
use super::lenient::{is_default, null_default};
use crate::{Digest, media};

/// Media type, digest and size of some content; spec: `descriptor.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Descriptor {
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            extra: BTreeMap::new(),
        }
    }
}

/// One image's list of blobs; spec: `manifest.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Manifest {
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media::OCI_MANIFEST.to_owned(),
            config,
            layers,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }

    /// The same with the specification's media types in place of Docker's.
    pub fn as_oci(&self) -> Self {
        let mut manifest = Self { media_type: media::OCI_MANIFEST.to_owned(), ..self.clone() };
        for descriptor in manifest.layers.iter_mut().chain([&mut manifest.config]) {
            descriptor.media_type = media::as_oci(&descriptor.media_type).to_owned();
        }
        manifest
    }
}

/// A list of manifests, one per platform or one per image of a layout; spec: `image-index.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Index {
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media::OCI_INDEX.to_owned(),
            manifests,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }
}

/// What a manifest's digest may lead to.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

/// Why a document is neither a manifest nor an index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("malformed manifest")]
    Syntax(#[source] serde_json::Error),
    #[error("manifest says it is {found:?} but was announced as {announced:?}")]
    MediaType { found: String, announced: String },
    #[error("ambiguous manifest: it has both {0:?} and {1:?}")]
    Ambiguous(&'static str, &'static str),
    #[error("unsupported manifest schema version {0}")]
    Schema(u64),
}

/// Reads a manifest or an index that was announced with `media_type`.
///
/// # Errors
/// [`DocumentError`]; a document that could be read two ways is refused (CVE-2021-41190).
pub fn parse_document(bytes: &[u8], media_type: &str) -> Result<Document, DocumentError> {
    let value: Value = serde_json::from_slice(bytes).map_err(DocumentError::Syntax)?;
    let has = |key| value.get(key).is_some();
    if has("manifests") && (has("layers") || has("config")) {
        return Err(DocumentError::Ambiguous("manifests", if has("layers") { "layers" } else { "config" }));
    }
    match value.get("schemaVersion").and_then(Value::as_u64).unwrap_or(0) {
        2 => {}
        other => return Err(DocumentError::Schema(other)),
    }
    let is_index = has("manifests");
    let mismatch =
        |found: &str| DocumentError::MediaType { found: found.to_owned(), announced: media_type.to_owned() };
    if let Some(found) = value.get("mediaType").and_then(Value::as_str).filter(|found| *found != media_type) {
        return Err(mismatch(found));
    }
    if media::is_index(media_type) != is_index {
        return Err(mismatch(if is_index { media::OCI_INDEX } else { media::OCI_MANIFEST }));
    }
    if is_index {
        serde_json::from_value(value).map(Document::Index).map_err(DocumentError::Syntax)
    } else {
        serde_json::from_value(value).map(Box::new).map(Document::Manifest).map_err(DocumentError::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let descriptor = |media_type| Descriptor::new(media_type, Digest::of(b"x"), 1);
        Manifest::new(descriptor(media::OCI_CONFIG), vec![descriptor(media::OCI_LAYER)])
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = serde_json::to_vec(&manifest()).unwrap();
        assert_eq!(
            parse_document(&bytes, media::OCI_MANIFEST).unwrap(),
            Document::Manifest(Box::new(manifest()))
        );
    }

    fn refused(edit: impl FnOnce(&mut Value), announced: &str, expected: &str) {
        let mut value = serde_json::to_value(manifest()).unwrap();
        edit(&mut value);
        let error = parse_document(&serde_json::to_vec(&value).unwrap(), announced).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn two_readings_are_refused() {
        let both = "ambiguous manifest: it has both \"manifests\" and \"layers\"";
        refused(|v| v["manifests"] = Value::Array(vec![]), media::OCI_MANIFEST, both);
        let announced = format!(
            "manifest says it is {:?} but was announced as {:?}",
            media::OCI_MANIFEST,
            media::OCI_INDEX
        );
        refused(|_| {}, media::OCI_INDEX, &announced);
        refused(
            |v| v["schemaVersion"] = 1.into(),
            media::OCI_MANIFEST,
            "unsupported manifest schema version 1",
        );
    }
}

//! Manifests and indexes that are here and what they lead to, and what archives have besides.

use oci::Digest;
use oci::image::{Descriptor, Document, DocumentError, parse_document};
use serde::{Deserialize, Serialize};
use store::{DatabaseError, Store, StoreError};

/// Bytes of a manifest, an index or a config; real ones have a few thousand.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

/// Indexes may name indexes; nobody has a use for more.
pub(crate) const MAX_NESTING: usize = 4;

/// An element of a docker-archive's `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// Where an OCI layout has a blob.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A document with what a registry or an index says of it.
#[derive(Clone)]
pub(crate) struct Part {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// A document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("manifest {digest} is unreadable")]
    Document { digest: Digest, source: DocumentError },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for ReadError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Part {
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        Self { descriptor, bytes }
    }

    /// Reads a blob that is of `media_type` unless it says otherwise.
    pub fn read(store: &Store, digest: &Digest, media_type: &str) -> Result<Self, StoreError> {
        let bytes = store.blobs().read(digest)?;
        let own = media_type_of(&bytes).unwrap_or_else(|| media_type.to_owned());
        Ok(Self { descriptor: Descriptor::new(own, *digest, bytes.len() as u64), bytes })
    }

    pub fn document(&self) -> Result<Document, ReadError> {
        let Descriptor { digest, media_type, .. } = &self.descriptor;
        parse_document(&self.bytes, media_type)
            .map_err(|source| ReadError::Document { digest: *digest, source })
    }
}

/// Whether an entry of an index is an image, and not what BuildKit attests of one.
pub(crate) fn is_image(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

/// What `descriptor` leads to, itself last, when all of it is here.
pub(crate) fn whole(store: &Store, descriptor: &Descriptor) -> Result<Option<Vec<Part>>, ReadError> {
    if !store.blobs().contains(&descriptor.digest) {
        return Ok(None);
    }
    let part = Part::read(store, &descriptor.digest, &descriptor.media_type)?;
    let mut parts = Vec::new();
    match part.document()? {
        Document::Manifest(manifest) => {
            let mut needed = std::iter::once(&manifest.config).chain(&manifest.layers);
            if !needed.all(|needed| store.blobs().contains(&needed.digest)) {
                return Ok(None);
            }
        }
        Document::Index(index) => {
            for child in &index.manifests {
                let Some(children) = whole(store, child)? else { return Ok(None) };
                parts.extend(children);
            }
        }
    }
    parts.push(part);
    Ok(Some(parts))
}

/// What a document says it is.
fn media_type_of(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct MediaType {
        media_type: Option<String>,
    }
    serde_json::from_slice::<MediaType>(bytes).ok()?.media_type.filter(|own| !own.is_empty())
}

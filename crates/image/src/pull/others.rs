//! What an index names beside the image that was chosen: kept as it is, for whoever passes the index on.

use std::collections::BTreeSet;

use oci::image::{Descriptor, Document};
use oci::{Digest, media};

use super::resolve::{Chosen, Fetch};
use super::{PullError, Source};
use crate::LayerError;
use crate::documents::MAX_NESTING;

/// All documents together; they are in memory until everything has come.
const LIMIT: usize = 16 << 20;

/// The other manifests of an index.
#[derive(Default)]
pub struct Others {
    /// Manifests, inner indexes and configs, verified.
    pub documents: Vec<Vec<u8>>,
    /// Whatever else they name; each once.
    pub blobs: Vec<Descriptor>,
}

impl Source<'_> {
    /// Reads everything an index leads to.
    pub fn others(&self, root: &Fetch, chosen: &Chosen) -> Result<Others, PullError> {
        let mut others = Others::default();
        let mut seen: BTreeSet<Digest> =
            chosen.manifest.layers.iter().map(|layer| layer.digest).chain([chosen.manifest_digest]).collect();
        let mut pending = vec![(root.document.clone(), 0)];
        while let Some((document, depth)) = pending.pop() {
            if others.documents.iter().map(Vec::len).sum::<usize>() > LIMIT {
                return Err(PullError::TooMany { digest: root.digest, limit: LIMIT });
            }
            match document {
                Document::Index(index) if depth < MAX_NESTING => {
                    for descriptor in index.manifests.iter().filter(|d| is_document(d)) {
                        if seen.insert(descriptor.digest) {
                            let fetched = self.manifest(descriptor)?;
                            others.documents.push(fetched.bytes);
                            pending.push((fetched.document, depth + 1));
                        }
                    }
                }
                Document::Index(_) => return Err(PullError::Nesting(root.digest)),
                // The root is the chosen image itself.
                Document::Manifest(_) if depth == 0 => {}
                Document::Manifest(manifest) => {
                    others.documents.push(self.blob_document("config", &manifest.config)?);
                    for layer in manifest.layers {
                        if media::is_foreign_layer(&layer.media_type) {
                            let source = LayerError::MediaType(layer.media_type);
                            return Err(PullError::Layer { digest: layer.digest, source });
                        }
                        if seen.insert(layer.digest) {
                            others.blobs.push(layer);
                        }
                    }
                }
            }
        }
        Ok(others)
    }
}

fn is_document(descriptor: &Descriptor) -> bool {
    media::is_manifest(&descriptor.media_type) || media::is_index(&descriptor.media_type)
}

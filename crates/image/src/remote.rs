//! What a registry has under a name, without pulling it.

use oci::Reference;
use oci::image::{Descriptor, Document, ImageConfig, Platform};
use registry::Client;

use crate::pull::{PullError, Source};
use crate::{Image, Images};

/// A manifest or an index at a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    pub descriptor: Descriptor,
    /// What its images are for.
    pub platforms: Vec<Platform>,
}

impl Images<'_> {
    /// Asks the registry of `reference` what it has there.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn remote(&self, client: &Client, reference: &Reference) -> Result<Remote, PullError> {
        let source = Source::new(*self, client, reference);
        let root = source.root()?;
        let platforms = match &root.document {
            Document::Index(index) => {
                index.manifests.iter().filter_map(|entry| entry.platform.clone()).collect()
            }
            Document::Manifest(manifest) => {
                let bytes = source.blob_document("config", &manifest.config)?;
                let config: ImageConfig = serde_json::from_slice(&bytes)
                    .map_err(|error| PullError::Config(manifest.config.digest, error))?;
                vec![Image::platform_of(&config)]
            }
        };
        let descriptor = Descriptor::new(root.media_type, root.digest, root.bytes.len() as u64);
        Ok(Remote { descriptor, platforms })
    }
}

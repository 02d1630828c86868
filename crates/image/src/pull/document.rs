//! Small content: read whole, verified against its descriptor.

use std::io::Read;

use oci::Digest;
use oci::image::Descriptor;
use registry::RegistryError;

use super::{PullError, Source};
use crate::documents::MAX_DOCUMENT;

impl Source<'_> {
    /// The bytes `descriptor` stands for, from the store or else by `fetch`.
    pub fn document(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        fetch: impl FnOnce() -> Result<Vec<u8>, PullError>,
    ) -> Result<Vec<u8>, PullError> {
        let Descriptor { digest, size, .. } = *descriptor;
        if size > MAX_DOCUMENT {
            return Err(PullError::TooLarge { what, digest, size, limit: MAX_DOCUMENT });
        }
        let blobs = self.images.store.blobs();
        let bytes = if blobs.contains(&digest) { blobs.read(&digest)? } else { fetch()? };
        if bytes.len() as u64 != size {
            return Err(PullError::Size { what, digest, expected: size, found: bytes.len() as u64 });
        }
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(PullError::Digest { what, expected: digest, found }),
        }
    }

    /// A blob that is a document.
    pub fn blob_document(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        self.document(what, descriptor, || {
            let mut bytes = Vec::new();
            let mut blob = self.client.blob(self.reference, &descriptor.digest, descriptor.size)?;
            blob.read_to_end(&mut bytes).map_err(|e| match e.downcast::<RegistryError>() {
                Ok(registry) => PullError::Registry(registry),
                Err(e) => PullError::layer(descriptor.digest, crate::LayerError::Read(e)),
            })?;
            Ok(bytes)
        })
    }
}

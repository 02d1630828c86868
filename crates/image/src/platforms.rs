//! The images that a name stands for, one for each platform, whether they are here or not.

use oci::image::{Descriptor, Document, ImageConfig, Manifest, Platform};
use oci::media;
use store::DatabaseError;
use store::db::{self, Reader};

use crate::documents::{Part, ReadError, is_image};
use crate::{Image, Images, ListedImage};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformImage {
    pub manifest: Descriptor,
    pub platform: Platform,
    /// Whether all that its manifest names is here.
    pub is_here: bool,
    /// Bytes of what is here of its manifest and what that names.
    pub content_bytes: u64,
    /// Bytes of the files in its layers; 0 for one that is kept packed.
    pub unpacked_bytes: u64,
    /// Ids of the containers made from it.
    pub containers: Vec<String>,
}

impl Images<'_> {
    /// What the names of an image stand for: the images of the first index among them, or else that one image.
    ///
    /// # Errors
    /// [`ReadError`]: the manifest or the index is damaged, or was removed since it was looked up.
    pub fn platforms(&self, image: &ListedImage) -> Result<Vec<PlatformImage>, ReadError> {
        let index = self.store.database().read(|reader| index_of(reader, image))?;
        let index = index.filter(|index| self.store.blobs().contains(&index.digest));
        if let Some(descriptor) = index {
            let part = Part::read(self.store, &descriptor.digest, &descriptor.media_type)?;
            if let Document::Index(index) = part.document()? {
                return index.manifests.iter().filter(|child| is_image(child)).map(|c| self.one(c)).collect();
            }
        }
        let part = Part::read(self.store, &image.record.manifest, media::OCI_MANIFEST)?;
        Ok(vec![self.one(&part.descriptor)?])
    }

    fn one(&self, descriptor: &Descriptor) -> Result<PlatformImage, ReadError> {
        let mut found = PlatformImage {
            platform: descriptor.platform.clone().unwrap_or_default(),
            manifest: descriptor.clone(),
            is_here: false,
            content_bytes: 0,
            unpacked_bytes: 0,
            containers: Vec::new(),
        };
        let blobs = self.store.blobs();
        if !blobs.contains(&descriptor.digest) {
            return Ok(found);
        }
        let part = Part::read(self.store, &descriptor.digest, &descriptor.media_type)?;
        found.content_bytes = part.descriptor.size;
        // An index within an index has no content of its own.
        let Document::Manifest(manifest) = part.document()? else { return Ok(found) };
        let named = manifest.layers.iter().chain([&manifest.config]);
        let sizes: Vec<Option<u64>> = named.map(|blob| blobs.size(&blob.digest).ok()).collect();
        found.is_here = sizes.iter().all(Option::is_some);
        found.content_bytes += sizes.into_iter().flatten().sum::<u64>();
        if descriptor.platform.is_none() {
            found.platform = self.platform_in_config(&manifest).unwrap_or_default();
        }
        let id = manifest.config.digest;
        let (record, containers) = self.store.database().read(|reader| {
            Ok::<_, DatabaseError>((db::images::get(reader, &id)?, db::containers::using_image(reader, &id)?))
        })?;
        found.unpacked_bytes = record.map_or(0, |record| record.size);
        found.containers = containers;
        Ok(found)
    }

    fn platform_in_config(&self, manifest: &Manifest) -> Option<Platform> {
        let bytes = self.store.blobs().read(&manifest.config.digest).ok()?;
        serde_json::from_slice::<ImageConfig>(&bytes).ok().as_ref().map(Image::platform_of)
    }
}

/// The first index among what the names of an image stand for.
fn index_of(reader: &Reader<'_>, image: &ListedImage) -> Result<Option<Descriptor>, DatabaseError> {
    for reference in &image.references {
        let Some(digest) = db::manifests::tagged(reader, reference)? else { continue };
        let record = db::manifests::get(reader, &reference.name(), &digest)?;
        if let Some(record) = record.filter(|record| media::is_index(&record.media_type)) {
            return Ok(Some(Descriptor::new(record.media_type, record.digest, record.size)));
        }
    }
    Ok(None)
}

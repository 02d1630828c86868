//! An image of this host's platform, made of a pushed manifest.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::image::{Descriptor, ImageConfig, Manifest, Platform};
use oci::{DiffId, Digest, media};
use registry::server::ContentError;
use store::db::images::ImageRecord;
use store::{DatabaseError, StoreError, db};

use super::accept::RefusedManifest;
use super::{Serving, trouble};
use crate::create::parse_time;
use crate::documents::MAX_DOCUMENT;
use crate::receive::{Received, receive_into};
use crate::{Image, Layer, LayerError};

/// A layer that was found to be what the config says.
enum Checked {
    Known(Layer),
    /// Its blob is new, and the same layer is here by another one already.
    Again(Layer),
    New(Box<Received>, Layer),
}

impl Serving {
    /// Makes the image that `manifest` describes: the row to write, its content in place. `None` when it is none that this host
    /// could run, but something of another platform, a signature, or the like.
    ///
    /// Nothing is named before all layers are verified.
    pub(super) fn unpack(
        &self,
        manifest: &Manifest,
        digest: &Digest,
    ) -> Result<Option<ImageRecord>, ContentError> {
        if !is_image(manifest) {
            return Ok(None);
        }
        let id = manifest.config.digest;
        if self.store.blobs().size(&id).map_err(trouble)? > MAX_DOCUMENT {
            return Err(RefusedManifest::ConfigSize(MAX_DOCUMENT).into());
        }
        let bytes = self.store.blobs().read(&id).map_err(trouble)?;
        let config: ImageConfig = serde_json::from_slice(&bytes).map_err(RefusedManifest::Config)?;
        let platform = Image::platform_of(&config);
        let diff_ids = &config.rootfs.diff_ids;
        // A config that lists no layers describes no image, whatever its media type says.
        let is_bare = diff_ids.is_empty() && !manifest.layers.is_empty();
        if Platform::host().rank(&platform).is_none() || is_bare {
            return Ok(None);
        }
        if diff_ids.len() != manifest.layers.len() {
            let (expected, found) = (diff_ids.len(), manifest.layers.len());
            return Err(RefusedManifest::LayerCount { expected, found }.into());
        }
        let layers: Vec<_> = manifest.layers.iter().zip(diff_ids).collect();
        let layers = self.check_all(&layers)?;
        let layers: Vec<Layer> =
            layers.into_iter().map(|layer| self.name(layer)).collect::<Result<_, _>>()?;
        let known = self.store.database().read(|reader| db::images::get(reader, &id));
        Ok(Some(match known.map_err(trouble::<DatabaseError>)? {
            Some(record) => record,
            None => ImageRecord {
                id,
                manifest: *digest,
                created_ns: config.created.as_deref().map_or(0, parse_time),
                stored_ns: db::now_ns(),
                size: layers.iter().map(|layer| layer.size).sum(),
                layers: layers.iter().map(|layer| layer.diff_id).collect(),
            },
        }))
    }

    /// Verifies layers, several at once.
    fn check_all(&self, layers: &[(&Descriptor, &DiffId)]) -> Result<Vec<Checked>, ContentError> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len()).min(4);
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<Result<Checked, ContentError>>>> =
            Mutex::new(layers.iter().map(|_| None).collect());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((descriptor, diff_id)) = layers.get(index) else { return };
                        let result = self.check(descriptor, diff_id);
                        if result.is_err() {
                            // The others need not begin.
                            next.store(layers.len(), Ordering::Relaxed);
                        }
                        results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut results: Vec<_> = results.into_iter().flatten().collect();
        match results.iter().position(Result::is_err) {
            Some(failed) => Err(results.swap_remove(failed).err().expect("it was just found to be one")),
            None => results.into_iter().collect(),
        }
    }

    fn check(&self, descriptor: &Descriptor, expected: &DiffId) -> Result<Checked, ContentError> {
        let images = self.images();
        let known = images.layer_of_blob(&descriptor.digest).map_err(trouble)?;
        if let Some(known) = known.filter(|layer| layer.diff_id == *expected) {
            return Ok(Checked::Known(known));
        }
        let size = self.store.blobs().size(&descriptor.digest).map_err(trouble)?;
        let mut blob = self.store.blobs().open(&descriptor.digest).map_err(trouble)?;
        // The blob is here already, and only looked at.
        let received = receive_into(&self.store, &mut blob, &mut io::sink()).and_then(|received| {
            received.expect(Some(expected))?;
            Ok(received)
        });
        let received = received.map_err(|e| refused_layer(descriptor, e))?;
        if received.blob != descriptor.digest {
            let (expected, found) = (descriptor.digest, received.blob);
            return Err(trouble(StoreError::Mismatch { expected, found }));
        }
        // Bzip2 and xz, which the specification does not know.
        let Some(media_type) = received.media_type else {
            return Err(refused_layer(descriptor, LayerError::MediaType(descriptor.media_type.clone())));
        };
        if let Some(known) = images.layer(expected).map_err(trouble)? {
            return Ok(Checked::Again(known));
        }
        let layer = Layer {
            diff_id: received.diff_id,
            blob: descriptor.digest,
            media_type: media_type.to_owned(),
            blob_size: size,
            size: received.size,
        };
        Ok(Checked::New(Box::new(received), layer))
    }

    fn name(&self, layer: Checked) -> Result<Layer, ContentError> {
        match layer {
            // What is known of a layer stays as it is: images here name the blob it came by.
            Checked::Known(layer) | Checked::Again(layer) => Ok(layer),
            Checked::New(received, layer) => {
                received.commit().map_err(trouble)?;
                self.images().hold_layer(&layer).map_err(trouble)?;
                Ok(layer)
            }
        }
    }
}

/// Whether a manifest's parts are those of an image.
fn is_image(manifest: &Manifest) -> bool {
    media::is_image_config(&manifest.config.media_type)
        && !manifest.extra.contains_key("artifactType")
        && manifest.layers.iter().all(|layer| media::is_layer(&layer.media_type))
}

fn refused_layer(descriptor: &Descriptor, error: LayerError) -> ContentError {
    match error {
        LayerError::Store(_) | LayerError::Thread(_) => trouble(error),
        error => match trouble(error) {
            ContentError::Internal(source) => {
                RefusedManifest::Layer { digest: descriptor.digest, source }.into()
            }
            full => full,
        },
    }
}

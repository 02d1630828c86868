//! Recording images.

use oci::image::{Descriptor, ImageConfig, Manifest};
use oci::{Digest, Reference, media};
use store::db::images::ImageRecord;
use store::{Durability, db};

use crate::{CreateError, Image, Images, Layer};

/// Where an image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is nowhere else: it is on the disk before it is acknowledged.
    Here,
    /// It can be had again.
    Elsewhere,
}

impl Images<'_> {
    /// Makes an image of `layers`, base first, with `config`, whose list of layers is set here.
    ///
    /// Its content is on the disk and its rows are committed when this returns. An image that exists already is only tagged.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create_image(
        &self,
        mut config: ImageConfig,
        layers: &[Layer],
        references: &[Reference],
    ) -> Result<Image, CreateError> {
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let bytes = serde_json::to_vec(&config).map_err(|e| CreateError::Document("config", e))?;
        self.register(Origin::Here, &bytes, &config, layers, None, references)
    }

    /// Records an image whose documents are given as bytes; the manifest is made when there is none.
    pub(crate) fn register(
        &self,
        origin: Origin,
        config_bytes: &[u8],
        config: &ImageConfig,
        layers: &[Layer],
        manifest: Option<&[u8]>,
        references: &[Reference],
    ) -> Result<Image, CreateError> {
        let _lock = self.store.lock_shared()?;
        let database = self.store.database();
        let id = Digest::of(config_bytes);
        let known = database.read(|r| db::images::get(r, &id).map_err(CreateError::from))?;
        let is_known = known.is_some();
        let mut is_synced = is_known;
        let record = match known {
            Some(record) => match manifest.filter(|bytes| self.is_whole(bytes)) {
                Some(bytes) if Digest::of(bytes) != record.manifest => {
                    is_synced = false;
                    ImageRecord { manifest: self.store.blobs().put(bytes)?, ..record }
                }
                _ => record,
            },
            None => {
                self.store.blobs().put(config_bytes)?;
                let manifest = match manifest {
                    Some(bytes) => self.store.blobs().put(bytes)?,
                    None => {
                        let manifest = serde_json::to_vec(&manifest_of(config_bytes, layers));
                        let bytes = manifest.map_err(|e| CreateError::Document("manifest", e))?;
                        self.store.blobs().put(&bytes)?
                    }
                };
                ImageRecord {
                    id,
                    manifest,
                    created_ns: config.created.as_deref().map_or(0, parse_time),
                    stored_ns: db::now_ns(),
                    size: layers.iter().map(|layer| layer.size).sum(),
                    layers: layers.iter().map(|layer| layer.diff_id).collect(),
                }
            }
        };
        // A known image was synced, or noted, when its row was written; a manifest that is new to it was not.
        let synced_ns = match origin {
            _ if is_synced => None,
            Origin::Elsewhere if !is_known => None,
            _ => Some(self.store.sync()?),
        };
        // Tags are the user's doing.
        let durability = match origin {
            Origin::Elsewhere if !is_known => Durability::Relaxed,
            _ => Durability::Full,
        };
        let references = database.write(durability, |w| {
            if !is_known {
                db::images::put(w, &record)?;
            }
            match (synced_ns, origin) {
                (Some(synced_ns), _) => db::unsettled::mark_synced(w, synced_ns)?,
                (None, Origin::Elsewhere) if !is_known => db::unsettled::note(w, &id)?,
                _ => {}
            }
            for reference in references {
                db::images::tag(w, reference, &id, &record.manifest)?;
            }
            db::images::references_of(w, &id).map_err(CreateError::from)
        })?;
        Ok(self.image(record, references)?)
    }

    /// Whether the layers that a manifest names are here; an image may be here by others of the same content.
    fn is_whole(&self, manifest: &[u8]) -> bool {
        let is_here = |layer: &Descriptor| self.store.blobs().contains(&layer.digest);
        serde_json::from_slice::<Manifest>(manifest).is_ok_and(|manifest| manifest.layers.iter().all(is_here))
    }
}

/// The manifest of `layers`, as they are kept here.
pub(crate) fn manifest_of(config: &[u8], layers: &[Layer]) -> Manifest {
    let config = Descriptor::new(media::OCI_CONFIG, Digest::of(config), config.len() as u64);
    let layers =
        layers.iter().map(|layer| Descriptor::new(&*layer.media_type, layer.blob, layer.blob_size)).collect();
    Manifest::new(config, layers)
}

/// Nanoseconds since 1970 of an RFC 3339 time; 0 for one that is not, as Docker shows such images.
pub(crate) fn parse_time(text: &str) -> i64 {
    let time = text.parse::<jiff::Timestamp>();
    time.ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok()).unwrap_or(0)
}

/// The current time as configs have it.
pub(crate) fn now_text() -> String {
    jiff::Timestamp::now().to_string()
}

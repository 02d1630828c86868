//! Layers: made from an overlay's upper directory, or from an archive that arrives.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use oci::{DiffId, Digest, media};
use store::db::layers::{self, LayerRecord};
use store::db::{manifests, now_ns};
use store::{Collected, DatabaseError, Durability, Store, StoreError};

use crate::archive::{PackOptions, Writer, pack};
use crate::receive::{Arrived, receive};
use crate::{Image, Images, LayerError};

/// A layer that is in the store: its blob and its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub diff_id: DiffId,
    /// The layer as it arrived; uncompressed when it was made here.
    pub blob: Digest,
    pub media_type: String,
    pub blob_size: u64,
    /// Bytes of the files in it.
    pub size: u64,
}

impl From<LayerRecord> for Layer {
    fn from(record: LayerRecord) -> Self {
        let LayerRecord { diff_id, blob, media_type, blob_size, size } = record;
        Self { diff_id, blob, media_type, blob_size, size }
    }
}

impl Images<'_> {
    /// Makes a layer of `upper`, the upper directory of an overlay that is no longer mounted, on the store's filesystem.
    ///
    /// The tree becomes the layer's snapshot: `upper` is gone afterwards. The caller holds the store's shared lock until a
    /// row names the layer. Nothing is synced.
    ///
    /// # Errors
    /// [`LayerError`]; `upper` is then as it was.
    pub fn commit_layer(&self, upper: &Path) -> Result<Layer, LayerError> {
        let root = sys::fs::open_dir(upper).map_err(|e| StoreError::io("open", upper, e))?;
        let mut archive =
            Writer::new(std::io::BufWriter::with_capacity(256 << 10, self.store.blobs().ingest()?));
        let packed = pack(&mut archive, root.as_fd(), &PackOptions::layer())?;
        let ingest = archive
            .finish()
            .and_then(|buffer| buffer.into_inner().map_err(|e| e.into_error()))
            .map_err(|e| StoreError::io("write to", self.store.data(), e))?;
        let (blob, blob_size) = ingest.commit(None)?;
        let layer = Layer {
            diff_id: DiffId(blob),
            blob,
            media_type: media::OCI_LAYER.to_owned(),
            blob_size,
            size: packed.bytes,
        };
        let snapshots = self.store.snapshots();
        if snapshots.contains(&layer.diff_id) {
            sys::fs::remove_tree(upper).map_err(|e| StoreError::io("remove", upper, e))?;
        } else {
            snapshots.adopt(upper).commit(&layer.diff_id)?;
        }
        record(self.store, &layer)?;
        Ok(layer)
    }

    /// Unpacks a layer that arrives, compressed or not, and verifies it.
    ///
    /// The caller holds the store's shared lock until a row names the layer. Nothing is synced.
    ///
    /// # Errors
    /// [`LayerError`]; nothing is left then.
    pub fn apply_layer(
        &self,
        input: &mut (dyn Read + Send),
        media_type: Option<&str>,
        expected: Option<&DiffId>,
    ) -> Result<Layer, LayerError> {
        if let Some(foreign) = media_type.filter(|media_type| media::is_foreign_layer(media_type)) {
            return Err(LayerError::MediaType(foreign.to_owned()));
        }
        let arrived = receive(self.store, input)?;
        arrived.expect(expected)?;
        self.keep(arrived)
    }

    /// Gives a verified layer its names.
    pub(crate) fn keep(&self, arrived: Arrived) -> Result<Layer, LayerError> {
        let layer = arrived.commit()?;
        record(self.store, &layer)?;
        Ok(layer)
    }

    /// Records a verified layer and keeps it for a day, whether something comes to name it or not.
    pub(crate) fn hold_layer(&self, layer: &Layer) -> Result<(), StoreError> {
        let Layer { diff_id, blob, media_type, blob_size, size } = layer.clone();
        let record = LayerRecord { diff_id, blob, media_type, blob_size, size };
        Ok(self.store.database().write(Durability::Relaxed, |w| {
            layers::put(w, &record)?;
            manifests::hold_blob(w, &blob, hold_end_ns())
        })?)
    }

    /// Keeps a blob for a day.
    pub(crate) fn hold_blob(&self, blob: &Digest) -> Result<(), StoreError> {
        let end_ns = hold_end_ns();
        Ok(self.store.database().write(Durability::Relaxed, |w| manifests::hold_blob(w, blob, end_ns))?)
    }

    /// Lets go of blobs that are held and nothing came to name.
    pub(crate) fn take_back(&self, blobs: &[Digest]) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        self.store.release(Durability::Relaxed, |w| {
            blobs.iter().try_for_each(|blob| Ok::<_, StoreError>(manifests::forget_hold(w, blob)?))
        })?;
        self.collect().map(Collected::finish)
    }

    /// A layer the store has, both as blob and as snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, StoreError> {
        let record = self.store.database().read(|r| layers::get(r, diff_id));
        let record: Result<_, DatabaseError> = record;
        Ok(record?.map(Layer::from).filter(|layer| {
            self.store.snapshots().contains(&layer.diff_id) && self.store.blobs().contains(&layer.blob)
        }))
    }

    /// A layer the store has, by the digest of its blob.
    pub(crate) fn layer_of_blob(&self, blob: &Digest) -> Result<Option<Layer>, StoreError> {
        if !self.store.blobs().contains(blob) {
            return Ok(None);
        }
        let record = self.store.database().read(|r| layers::by_blob(r, blob));
        let record: Result<_, DatabaseError> = record;
        Ok(record?.map(Layer::from).filter(|layer| self.store.snapshots().contains(&layer.diff_id)))
    }

    /// The layers of an image, base first.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when one is not in the store.
    pub fn layers(&self, image: &Image) -> Result<Vec<Layer>, StoreError> {
        let missing = |diff_id: &DiffId| StoreError::Missing(diff_id.0);
        image.diff_ids.iter().map(|id| self.layer(id)?.ok_or_else(|| missing(id))).collect()
    }
}

/// When a hold that begins now ends.
fn hold_end_ns() -> i64 {
    let lifetime = i64::try_from(store::PARTIAL_LIFETIME.as_nanos()).unwrap_or(i64::MAX);
    now_ns().saturating_add(lifetime)
}

fn record(store: &Store, layer: &Layer) -> Result<(), StoreError> {
    let Layer { diff_id, blob, media_type, blob_size, size } = layer.clone();
    let record = LayerRecord { diff_id, blob, media_type, blob_size, size };
    Ok(store.database().write(Durability::Relaxed, |w| layers::put(w, &record))?)
}

//! Removing content that no row names.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use oci::image::{Index, Manifest};
use oci::{DiffId, Digest, media};

use crate::db::build_cache::CacheRecord;
use crate::db::manifests::ManifestRecord;
use crate::db::{self, Reader};
use crate::disk::disk_bytes;
use crate::partial;
use crate::{DatabaseError, Durability, ExclusiveLock, Store, StoreError, TempDir};

/// Trees that are deleted at the same time.
const TREES_AT_ONCE: usize = 8;

/// What [`Store::collect`] removed; trees are deleted when this is dropped, after the lock is let go.
#[must_use = "dropping it deletes the trees"]
#[derive(Default, Debug)]
pub struct Collected {
    pub blobs: Vec<Digest>,
    pub snapshots: Vec<DiffId>,
    /// Bytes of blobs, and of their beginnings.
    blob_bytes: u64,
    trees: Vec<TempDir>,
}

impl Collected {
    /// Bytes on the disk that all of it had, which looks at every file of the trees.
    pub fn disk_bytes(&self) -> u64 {
        self.blob_bytes + self.trees.iter().map(|tree| disk_bytes(&tree.path().join("tree"))).sum::<u64>()
    }

    /// Deletes the trees now, several at once: a disk that is told of every block given back is waited for with each file.
    pub fn finish(self) {
        let workers = self.trees.len().min(TREES_AT_ONCE);
        let trees = Mutex::new(self.trees.into_iter());
        let next = || trees.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(tree) = next() {
                drop(tree)
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..workers {
                // Without another thread it takes longer.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }

    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.trees.is_empty()
    }
}

/// Content that rows name.
#[derive(Default, Debug)]
pub struct Usage {
    pub blobs: HashSet<Digest>,
    pub snapshots: HashSet<DiffId>,
}

impl Usage {
    /// What is not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        Self {
            blobs: self.blobs.difference(&other.blobs).copied().collect(),
            snapshots: self.snapshots.difference(&other.snapshots).copied().collect(),
        }
    }
}

impl Store {
    /// Removes every blob, snapshot and layer row that no image, container or build cache row names.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed until then stays removed.
    pub fn collect(&self, _lock: &ExclusiveLock) -> Result<Collected, StoreError> {
        let usage = self.database().read(|r| self.usage(r))?;
        let mut collected = Collected::default();
        // Snapshots first: a blob without its snapshot can be unpacked again, not the other way round.
        for diff_id in self.snapshots().list()? {
            if !usage.snapshots.contains(&diff_id) {
                collected.trees.push(self.database().reserve.spend(|| self.snapshots().detach(&diff_id))?);
                collected.snapshots.push(diff_id);
            }
        }
        for digest in self.blobs().list()? {
            if !usage.blobs.contains(&digest) {
                collected.blob_bytes += disk_bytes(&self.blobs().path(&digest));
                self.blobs().remove(&digest)?;
                collected.blobs.push(digest);
            }
        }
        collected.blob_bytes += partial::collect(self);
        // Also the rows of layers that an interrupted collect removed.
        let mut rows = self.database().read(db::layers::list)?;
        rows.retain(|layer| !usage.snapshots.contains(&layer.diff_id));
        if !rows.is_empty() {
            self.database().write_removal(Durability::Relaxed, |w| {
                rows.iter().try_for_each(|layer| db::layers::remove(w, &layer.diff_id))
            })?;
        }
        match std::fs::remove_file(self.pending()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", self.pending(), e))
            }
            _ => Ok(collected),
        }
    }

    /// Takes the layers of images that a power cut may have damaged out of sight, also those that containers use: pulled again,
    /// they are whole. The trees are deleted when what is returned is dropped.
    pub(crate) fn discard_unsettled(&self, _lock: &ExclusiveLock) -> Result<Vec<TempDir>, StoreError> {
        let (damaged, rows) = self.database().read(|reader| {
            let unsettled = db::unsettled::of_other_boots(reader)?;
            let (damaged, whole): (Vec<_>, Vec<_>) =
                db::images::list(reader)?.into_iter().partition(|image| unsettled.contains(&image.id));
            let whole: HashSet<DiffId> = whole.into_iter().flat_map(|image| image.layers).collect();
            let damaged = damaged.into_iter().flat_map(|image| image.layers);
            let damaged: HashSet<DiffId> = damaged.filter(|layer| !whole.contains(layer)).collect();
            Ok::<_, DatabaseError>((damaged, db::layers::list(reader)?))
        })?;
        for layer in rows.iter().filter(|layer| damaged.contains(&layer.diff_id)) {
            self.blobs().remove(&layer.blob)?;
        }
        self.database().write_removal(Durability::Relaxed, |w| {
            damaged.iter().try_for_each(|diff_id| db::layers::remove(w, diff_id))
        })?;
        let present = damaged.iter().filter(|diff_id| self.snapshots().contains(diff_id));
        present.map(|diff_id| self.snapshots().detach(diff_id)).collect()
    }

    /// What the rows that `reader` sees name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn usage(&self, reader: &Reader<'_>) -> Result<Usage, DatabaseError> {
        self.usage_by(reader, &|_| true, &db::build_cache::list(reader)?)
    }

    /// The same when there are only the images that `counts` chooses, and `build_cache`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn usage_by(
        &self,
        reader: &Reader<'_>,
        counts: &dyn Fn(&Digest) -> bool,
        build_cache: &[CacheRecord],
    ) -> Result<Usage, DatabaseError> {
        let mut usage = Usage::default();
        let mut visited = HashSet::new();
        for image in db::images::list(reader)?.into_iter().filter(|image| counts(&image.id)) {
            usage.blobs.insert(image.id);
            usage.snapshots.extend(image.layers);
            for manifest in db::images::manifests_of(reader, &image.id)?.iter().chain([&image.manifest]) {
                self.use_manifest(manifest, media::OCI_MANIFEST, &mut visited, &mut usage.blobs);
            }
        }
        let counts = |manifest: &ManifestRecord| manifest.image.as_ref().is_none_or(counts);
        for manifest in db::manifests::list(reader)?.into_iter().filter(counts) {
            self.use_manifest(&manifest.digest, &manifest.media_type, &mut visited, &mut usage.blobs);
        }
        for blob in db::manifests::held_blobs(reader, db::now_ns())? {
            usage.blobs.insert(blob);
            // A layer of a pull that was interrupted.
            usage.snapshots.extend(db::layers::by_blob(reader, &blob)?.map(|layer| layer.diff_id));
        }
        usage.snapshots.extend(db::containers::layers_in_use(reader)?);
        for row in build_cache {
            usage.snapshots.extend(row.diff_id);
            usage.blobs.extend(row.blob);
        }
        // A layer that came by several blobs is known by the last of them, which its image's manifest may not name.
        for layer in db::layers::list(reader)? {
            if usage.snapshots.contains(&layer.diff_id) {
                usage.blobs.insert(layer.blob);
            }
        }
        Ok(usage)
    }

    /// Adds a manifest and everything it leads to. One that cannot be read keeps nothing alive but itself.
    fn use_manifest(
        &self,
        digest: &Digest,
        media_type: &str,
        visited: &mut HashSet<(Digest, bool)>,
        blobs: &mut HashSet<Digest>,
    ) {
        let mut pending = vec![(*digest, media_type.to_owned())];
        while let Some((digest, media_type)) = pending.pop() {
            blobs.insert(digest);
            // Also ends the walk through indexes that name each other. One that is read as an index here and as a manifest
            // there is followed both ways: who names it wrongly takes nothing from who names it rightly.
            if !visited.insert((digest, media::is_index(&media_type))) {
                continue;
            }
            let Ok(bytes) = self.blobs().read(&digest) else { continue };
            if media::is_index(&media_type) {
                let index = serde_json::from_slice::<Index>(&bytes);
                let children = index.map(|index| index.manifests).unwrap_or_default();
                pending.extend(children.into_iter().map(|child| (child.digest, child.media_type)));
            } else if let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
                blobs.insert(manifest.config.digest);
                blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
            }
        }
    }
}

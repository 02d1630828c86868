//! What there is to check, and who has it.

use std::collections::{BTreeMap, BTreeSet};

use oci::image::{Index, Manifest};
use oci::{DiffId, Digest, Reference, media};
use store::Store;
use store::db::images::ImageRecord;
use store::db::layers::LayerRecord;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};

use super::CheckError;
use crate::ResolveError;
use crate::images::find;

/// Content by name.
#[derive(Default)]
pub struct Inventory {
    pub images: usize,
    /// Manifests, indexes and configs.
    pub documents: BTreeMap<Digest, Document>,
    /// Everything else: layers, and what artifacts have.
    pub blobs: BTreeMap<Digest, Blob>,
    pub snapshots: BTreeMap<DiffId, Snapshot>,
}

pub struct Document {
    pub what: &'static str,
    /// When a descriptor says so.
    pub size: Option<u64>,
    pub had: Had,
}

pub struct Blob {
    /// The layer it is, when it is one of an image that can run here.
    pub diff_id: Option<DiffId>,
    pub size: u64,
    pub had: Had,
}

pub struct Snapshot {
    /// What it was unpacked from, unless no row says so.
    pub blob: Option<Digest>,
    pub had: Had,
}

/// Who has a piece of content.
#[derive(Clone, Default)]
pub struct Had {
    /// By images and others, in their users' words.
    pub owners: BTreeSet<String>,
    /// By repositories, where it can be had again.
    pub repositories: BTreeSet<String>,
}

impl Had {
    fn add(&mut self, other: &Self) {
        self.owners.extend(other.owners.iter().cloned());
        self.repositories.extend(other.repositories.iter().cloned());
    }
}

impl Inventory {
    /// All blobs, documents too.
    pub fn blobs(&self) -> usize {
        self.documents.len() + self.blobs.len()
    }

    fn document(&mut self, digest: Digest, what: &'static str, size: Option<u64>, had: &Had) {
        let document =
            self.documents.entry(digest).or_insert_with(|| Document { what, size, had: Had::default() });
        document.size = document.size.or(size);
        document.had.add(had);
    }

    fn blob(&mut self, digest: Digest, size: u64, diff_id: Option<DiffId>, had: &Had) {
        let blob = self.blobs.entry(digest).or_insert_with(|| Blob { diff_id, size, had: Had::default() });
        blob.diff_id = blob.diff_id.or(diff_id);
        blob.had.add(had);
    }

    fn snapshot(&mut self, diff_id: DiffId, blob: Option<Digest>, had: &Had) {
        let snapshot =
            self.snapshots.entry(diff_id).or_insert_with(|| Snapshot { blob, had: Had::default() });
        snapshot.blob = snapshot.blob.or(blob);
        snapshot.had.add(had);
    }
}

/// Lists what the images `names` consist of, or with no names all that is kept.
pub fn take(store: &Store, names: &[String]) -> Result<Inventory, CheckError> {
    store.database().read(|reader| {
        let layers = db::layers::list(reader)?;
        let layers = layers.into_iter().map(|layer| (layer.diff_id, layer)).collect();
        let mut taker = Taker { store, reader, layers, inventory: Inventory::default() };
        if names.is_empty() {
            taker.everything()?;
        }
        for name in names {
            let image = find(reader, name)?;
            taker.image(&image)?;
        }
        Ok(taker.inventory)
    })
}

struct Taker<'a> {
    store: &'a Store,
    reader: &'a Reader<'a>,
    layers: BTreeMap<DiffId, LayerRecord>,
    inventory: Inventory,
}

impl Taker<'_> {
    fn everything(&mut self) -> Result<(), CheckError> {
        for image in db::images::list(self.reader)? {
            self.image(&image)?;
        }
        for manifest in db::manifests::list(self.reader)? {
            self.manifest(&manifest);
        }
        for row in db::build_cache::list(self.reader)? {
            let had = Had { owners: ["build cache".to_owned()].into(), ..Had::default() };
            if let Some(diff_id) = row.diff_id {
                self.layer(diff_id, &had);
            }
        }
        for container in db::containers::list(self.reader)? {
            let had = Had { owners: [format!("container {}", container.name)].into(), ..Had::default() };
            for diff_id in container.layers {
                // What images have was listed with them, with more to compare it with.
                if !self.inventory.snapshots.contains_key(&diff_id) {
                    self.layer(diff_id, &had);
                }
            }
        }
        Ok(())
    }

    fn image(&mut self, image: &ImageRecord) -> Result<(), ResolveError> {
        self.inventory.images += 1;
        let references = db::images::references_of(self.reader, &image.id)?;
        let manifests = db::manifests::of_image(self.reader, &image.id)?;
        let name = references.first().map_or_else(|| image.id.short(), Reference::familiar);
        let had = Had {
            owners: [name].into(),
            repositories: manifests.iter().map(|manifest| manifest.repository.clone()).collect(),
        };
        for ManifestRecord { digest, media_type, size, .. } in &manifests {
            self.inventory.document(*digest, kind_of(media_type), Some(*size), &had);
        }
        let mut named = db::images::manifests_of(self.reader, &image.id)?;
        named.retain(|manifest| *manifest != image.manifest);
        for digest in std::iter::once(image.manifest).chain(named) {
            let manifest: Option<Manifest> = self.parsed(&digest);
            self.inventory.document(digest, "manifest", None, &had);
            let config_size = manifest.as_ref().map(|manifest| manifest.config.size);
            self.inventory.document(image.id, "config", config_size, &had);
            let listed = manifest.map(|manifest| manifest.layers).unwrap_or_default();
            for (index, &diff_id) in image.layers.iter().enumerate() {
                match listed.get(index).filter(|_| listed.len() == image.layers.len()) {
                    Some(layer) => {
                        self.inventory.blob(layer.digest, layer.size, Some(diff_id), &had);
                        self.inventory.snapshot(diff_id, Some(layer.digest), &had);
                    }
                    None => self.layer(diff_id, &had),
                }
            }
        }
        Ok(())
    }

    /// A layer of which only its row is known.
    fn layer(&mut self, diff_id: DiffId, had: &Had) {
        let known = self.layers.get(&diff_id);
        self.inventory.snapshot(diff_id, known.map(|layer| layer.blob), had);
        if let Some(LayerRecord { blob, blob_size, .. }) = known {
            self.inventory.blob(*blob, *blob_size, Some(diff_id), had);
        }
    }

    /// What a repository has, with everything below it that is here: of an index, only some images need be.
    fn manifest(&mut self, record: &ManifestRecord) {
        let ManifestRecord { repository, digest, media_type, size, .. } = record;
        let name = Reference::parse(repository).map_or_else(|_| repository.clone(), |r| r.repository());
        let had =
            Had { owners: [format!("{name}@{digest}")].into(), repositories: [repository.clone()].into() };
        let had = match self.inventory.documents.get(digest) {
            // Listed with its image already.
            Some(document) => Had { owners: document.had.owners.clone(), ..had },
            None => had,
        };
        self.inventory.document(*digest, kind_of(media_type), Some(*size), &had);
        let mut pending = vec![(*digest, media_type.clone())];
        let mut seen = BTreeSet::new();
        while let Some((digest, media_type)) = pending.pop() {
            if !seen.insert(digest) {
                continue;
            }
            if media::is_index(&media_type) {
                let index: Option<Index> = self.parsed(&digest);
                for child in index.map(|index| index.manifests).unwrap_or_default() {
                    if self.store.blobs().contains(&child.digest) {
                        self.inventory.document(
                            child.digest,
                            kind_of(&child.media_type),
                            Some(child.size),
                            &had,
                        );
                        pending.push((child.digest, child.media_type));
                    }
                }
            } else if let Some(manifest) = self.parsed::<Manifest>(&digest) {
                // An image of this host's was listed as such; pushed, its manifest names layers that were compressed on their way.
                let is_whole = digest == record.digest && record.image.is_none();
                let here = |digest: &Digest| is_whole || self.store.blobs().contains(digest);
                if here(&manifest.config.digest) {
                    let Manifest { config, .. } = &manifest;
                    self.inventory.document(config.digest, "config", Some(config.size), &had);
                }
                for layer in manifest.layers.iter().filter(|layer| here(&layer.digest)) {
                    self.inventory.blob(layer.digest, layer.size, None, &had);
                }
            }
        }
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Option<T> {
        serde_json::from_slice(&self.store.blobs().read(digest).ok()?).ok()
    }
}

fn kind_of(media_type: &str) -> &'static str {
    if media::is_index(media_type) { "index" } else { "manifest" }
}

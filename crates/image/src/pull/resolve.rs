//! From a reference to the manifest and the config of one image.

use oci::image::{
    Descriptor, Document, DocumentError, ImageConfig, Index, Manifest, Platform, parse_document,
};
use oci::{Digest, media};
use registry::Fetched;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};
use store::{DatabaseError, StoreError};

use super::{PullError, Source};
use crate::documents::MAX_NESTING;

/// A manifest or an index, verified.
pub struct Fetch {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub document: Document,
}

/// The manifest that was selected; of its image, nothing else has been fetched.
pub struct Selected {
    manifest: Manifest,
    bytes: Vec<u8>,
    /// What the reference names first, the manifest itself last, and between them the indexes that lead there.
    pub trail: Vec<Digest>,
}

impl Selected {
    fn digest(&self) -> Digest {
        *self.trail.last().expect("it begins with what the reference names")
    }
}

/// The image that was chosen, its documents verified and checked against each other.
#[derive(Clone)]
pub struct Chosen {
    pub manifest: Manifest,
    pub manifest_bytes: Vec<u8>,
    pub manifest_digest: Digest,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
}

impl Chosen {
    pub fn id(&self) -> Digest {
        self.manifest.config.digest
    }
}

impl Source<'_> {
    /// What the reference names: asks the registry, unless a digest says that it cannot have changed.
    pub fn root(&self) -> Result<Fetch, PullError> {
        let store = self.images.store;
        let known = store.database().read(|reader| self.known(reader))?;
        let known = known.filter(|record| store.blobs().contains(&record.digest));
        if let Some(record) = known.as_ref().filter(|_| self.reference.digest().is_some()) {
            return self.kept(record);
        }
        match (self.client.manifest(self.reference, known.as_ref().map(|record| &record.digest))?, known) {
            (Fetched::Document { bytes, media_type, digest }, _) => self.parsed(digest, media_type, bytes),
            (Fetched::Unchanged(_), Some(record)) => self.kept(&record),
            (Fetched::Unchanged(digest), None) => Err(StoreError::Missing(digest).into()),
        }
    }

    /// What the reference named when it was pulled last.
    fn known(&self, reader: &Reader<'_>) -> Result<Option<ManifestRecord>, DatabaseError> {
        let repository = self.reference.name();
        if let Some(digest) = self.reference.digest() {
            return db::manifests::get(reader, &repository, digest);
        }
        if let Some(digest) = db::manifests::tagged(reader, self.reference)? {
            return db::manifests::get(reader, &repository, &digest);
        }
        match db::images::by_reference(reader, self.reference)? {
            Some(image) => db::manifests::get(reader, &repository, &image.manifest),
            None => Ok(None),
        }
    }

    fn kept(&self, record: &ManifestRecord) -> Result<Fetch, PullError> {
        let bytes = self.images.store.blobs().read(&record.digest)?;
        self.parsed(record.digest, record.media_type.clone(), bytes)
    }

    fn parsed(&self, digest: Digest, media_type: String, bytes: Vec<u8>) -> Result<Fetch, PullError> {
        let reference = self.reference.familiar();
        if media::is_schema1(&media_type) {
            return Err(PullError::Schema1 { reference, media_type });
        }
        match parse_document(&bytes, &media_type) {
            Ok(document) => Ok(Fetch { digest, media_type, bytes, document }),
            // Registries of that time said so only within.
            Err(DocumentError::Schema(1)) => Err(PullError::Schema1 { reference, media_type }),
            Err(source) => Err(PullError::Document { reference, digest, source }),
        }
    }

    /// The manifest for `wanted` in what the reference names.
    pub fn select(&self, root: &Fetch, wanted: &Platform) -> Result<Selected, PullError> {
        let selected = |manifest: &Manifest, bytes: &[u8], trail| Selected {
            manifest: manifest.clone(),
            bytes: bytes.to_vec(),
            trail,
        };
        let mut trail = vec![root.digest];
        let mut index = match &root.document {
            Document::Manifest(manifest) => return Ok(selected(manifest, &root.bytes, trail)),
            Document::Index(index) => index.clone(),
        };
        for _ in 0..MAX_NESTING {
            let descriptor = best(&index, wanted).ok_or_else(|| PullError::Platform(wanted.to_string()))?;
            let fetched = self.manifest(descriptor)?;
            trail.push(fetched.digest);
            match fetched.document {
                Document::Manifest(manifest) => return Ok(selected(&manifest, &fetched.bytes, trail)),
                Document::Index(inner) => index = inner,
            }
        }
        Err(PullError::Platform(wanted.to_string()))
    }

    /// A manifest or an index that another one names, from here or from the registry.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Fetch, PullError> {
        let bytes = self.document("manifest", descriptor, || {
            match self.client.manifest(&self.reference.with_digest(descriptor.digest), None)? {
                Fetched::Document { bytes, .. } => Ok(bytes),
                Fetched::Unchanged(digest) => Err(StoreError::Missing(digest).into()),
            }
        })?;
        self.parsed(descriptor.digest, descriptor.media_type.clone(), bytes)
    }

    /// Checks that a manifest is one of an image that can run here, and reads its config.
    pub fn image(&self, selected: Selected) -> Result<Chosen, PullError> {
        let digest = selected.digest();
        let Selected { manifest, bytes, .. } = selected;
        let config = &manifest.config;
        if !media::is_image_config(&config.media_type) {
            let reference = self.reference.familiar();
            return Err(PullError::NotAnImage { reference, media_type: config.media_type.clone() });
        }
        for layer in &manifest.layers {
            if !media::is_layer(&layer.media_type) {
                let source = crate::LayerError::MediaType(layer.media_type.clone());
                return Err(PullError::Layer { digest: layer.digest, source });
            }
        }
        let config_bytes = self.blob_document("config", config)?;
        let parsed: ImageConfig = serde_json::from_slice(&config_bytes)
            .map_err(|source| PullError::Config(config.digest, source))?;
        if !matches!(&*parsed.os, "linux" | "") {
            return Err(PullError::OperatingSystem(parsed.os));
        }
        let (expected, found) = (parsed.rootfs.diff_ids.len(), manifest.layers.len());
        if expected != found {
            return Err(PullError::LayerCount { config: config.digest, expected, manifest: digest, found });
        }
        Ok(Chosen { manifest, manifest_bytes: bytes, manifest_digest: digest, config: parsed, config_bytes })
    }
}

/// The first of the entries that serve `wanted` best. One that does not say what it is for serves everybody, badly.
fn best<'i>(index: &'i Index, wanted: &Platform) -> Option<&'i Descriptor> {
    let is_document = |d: &&Descriptor| media::is_manifest(&d.media_type) || media::is_index(&d.media_type);
    let rank = |descriptor: &Descriptor| match &descriptor.platform {
        Some(platform) => wanted.rank(platform),
        None => Some(usize::MAX),
    };
    index
        .manifests
        .iter()
        .filter(is_document)
        .filter_map(|d| Some((rank(d)?, d)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, d)| d)
}

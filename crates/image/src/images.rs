//! Finding images.

use std::collections::HashMap;

use oci::image::{Descriptor, ImageConfig, Platform};
use oci::{DiffId, Digest, Reference, media};
use store::db::images::ImageRecord;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};
use store::{DatabaseError, Durability, Store, StoreError};

use crate::ResolveError;
use crate::documents::Part;

/// The images of a store.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub(crate) store: &'a Store,
}

/// An image as its rows have it, also when its config is damaged.
#[derive(Debug)]
pub struct ListedImage {
    pub record: ImageRecord,
    /// Sorted.
    pub references: Vec<Reference>,
    /// Or why it cannot be read.
    pub config: Result<ImageConfig, ResolveError>,
}

impl ListedImage {
    /// # Errors
    /// [`ResolveError::Config`] when it is damaged.
    pub fn image(self) -> Result<Image, ResolveError> {
        let Self { record, references, config } = self;
        Ok(Image {
            id: record.id,
            manifest: record.manifest,
            config: config?,
            diff_ids: record.layers,
            references,
            size: record.size,
            created_ns: record.created_ns,
            stored_ns: record.stored_ns,
        })
    }
}

/// One image as it was when it was looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Digest of the config.
    pub id: Digest,
    /// The one it was pulled or made with under the name it was looked up by.
    pub manifest: Digest,
    pub config: ImageConfig,
    /// Base first.
    pub diff_ids: Vec<DiffId>,
    /// Sorted.
    pub references: Vec<Reference>,
    /// Bytes of the files in all layers.
    pub size: u64,
    /// When the image says it was made; 0 when it does not say.
    pub created_ns: i64,
    /// When it came here.
    pub stored_ns: i64,
}

impl Image {
    /// What the image says it is for.
    pub fn platform(&self) -> Platform {
        Self::platform_of(&self.config)
    }

    pub(crate) fn platform_of(config: &ImageConfig) -> Platform {
        let ImageConfig { architecture, os, variant, .. } = config;
        let (architecture, os, variant) = (architecture.clone(), os.clone(), variant.clone());
        Platform { architecture, os, variant, ..Platform::default() }
    }

    /// Whether it may be for `wanted`; one that does not say serves everybody.
    pub fn serves(&self, wanted: &Platform) -> bool {
        self.config.architecture.is_empty() || wanted.rank(&self.platform()).is_some()
    }

    /// The same image, found by `name`, when it serves who asks for a platform.
    ///
    /// # Errors
    /// [`ResolveError::Platform`].
    pub fn for_platform(self, name: &str, wanted: Option<&Platform>) -> Result<Self, ResolveError> {
        match wanted.filter(|wanted| !self.serves(wanted)) {
            None => Ok(self),
            Some(wanted) => {
                let (name, actual, wanted) =
                    (name.to_owned(), self.platform().to_string(), wanted.to_string());
                Err(ResolveError::Platform { name, actual, wanted })
            }
        }
    }
}

impl<'a> Images<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Finds an image by reference, by id, or by the beginning of its id, in this order.
    ///
    /// # Errors
    /// As [`Images::look_up`], and [`ResolveError::Config`] when it is damaged.
    pub fn resolve(&self, name: &str) -> Result<Image, ResolveError> {
        self.look_up(name)?.image()
    }

    /// As [`Images::resolve`], also for a damaged image.
    ///
    /// # Errors
    /// [`ResolveError::NotFound`] in Docker's words; [`ResolveError::Reference`] when `name` cannot be a name.
    pub fn look_up(&self, name: &str) -> Result<ListedImage, ResolveError> {
        match self.look_up_now(name)? {
            // Somebody may have removed it since its rows were read.
            listed if listed.config.is_err() => self.look_up_now(name),
            listed => Ok(listed),
        }
    }

    fn look_up_now(&self, name: &str) -> Result<ListedImage, ResolveError> {
        let (record, references) = self.store.database().read(|reader| {
            let record = find(reader, name)?;
            let references = db::images::references_of(reader, &record.id)?;
            Ok::<_, ResolveError>((record, references))
        })?;
        Ok(self.listed(record, references))
    }

    /// As [`Images::resolve`], for a platform that is asked for.
    ///
    /// # Errors
    /// Those of [`Images::resolve`], and [`ResolveError::Platform`] when it is for another one.
    pub fn resolve_for(&self, name: &str, wanted: Option<&Platform>) -> Result<Image, ResolveError> {
        self.resolve(name)?.for_platform(name, wanted)
    }

    /// All images, newest first.
    ///
    /// # Errors
    /// [`ResolveError::Store`].
    pub fn list(&self) -> Result<Vec<ListedImage>, ResolveError> {
        let (records, references) = self.store.database().read(|reader| {
            Ok::<_, DatabaseError>((db::images::list(reader)?, db::images::references(reader)?))
        })?;
        let mut by_image: HashMap<Digest, Vec<Reference>> = HashMap::new();
        for (reference, id) in references {
            by_image.entry(id).or_default().push(reference);
        }
        let mut images = Vec::with_capacity(records.len());
        for record in records {
            let (id, references) = (record.id, by_image.remove(&record.id).unwrap_or_default());
            let listed = self.listed(record, references);
            if listed.config.is_ok() {
                images.push(listed);
                continue;
            }
            // Somebody may have removed it since the rows were read, and brought it back.
            match self.look_up(&id.hex()) {
                Err(ResolveError::NotFound(_)) => {}
                listed => images.push(listed?),
            }
        }
        Ok(images)
    }

    /// Gives the image `source` another reference, away from any image that has it; it has the same manifest there.
    ///
    /// # Errors
    /// As [`Images::resolve`].
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ResolveError> {
        self.store.database().write(Durability::Full, |writer| {
            let record = find(writer, source)?;
            db::images::tag(writer, target, &record.id, &record.manifest)?;
            Ok(record.id)
        })
    }

    /// The image's manifest, as an index would name it.
    ///
    /// # Errors
    /// [`StoreError`]: it was removed since it was looked up.
    pub fn descriptor(&self, image: &Image) -> Result<Descriptor, StoreError> {
        Ok(Part::read(self.store, &image.manifest, media::OCI_MANIFEST)?.descriptor)
    }

    pub(crate) fn is_known(&self, id: &Digest) -> Result<bool, DatabaseError> {
        self.store.database().read(|reader| Ok(db::images::get(reader, id)?.is_some()))
    }

    pub(crate) fn image(
        &self,
        record: ImageRecord,
        references: Vec<Reference>,
    ) -> Result<Image, ResolveError> {
        self.listed(record, references).image()
    }

    fn listed(&self, record: ImageRecord, references: Vec<Reference>) -> ListedImage {
        let config = self.config(&record.id);
        ListedImage { record, references, config }
    }

    fn config(&self, id: &Digest) -> Result<ImageConfig, ResolveError> {
        let damaged = |source| ResolveError::Config { id: *id, source };
        let bytes = self.store.blobs().read(id).map_err(|e| damaged(e.into()))?;
        match Digest::of(&bytes) {
            found if found == *id => serde_json::from_slice(&bytes).map_err(|e| damaged(e.into())),
            found => Err(damaged(StoreError::Mismatch { expected: *id, found }.into())),
        }
    }
}

/// What registries call an image.
pub(crate) fn digests(reader: &Reader<'_>, id: &Digest) -> Result<Vec<Reference>, DatabaseError> {
    let name = |row: ManifestRecord| Some(Reference::parse(&row.repository).ok()?.with_digest(row.digest));
    Ok(db::manifests::of_image(reader, id)?.into_iter().filter_map(name).collect())
}

/// The row a name leads to.
pub(crate) fn find(reader: &Reader<'_>, name: &str) -> Result<ImageRecord, ResolveError> {
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    if let Ok(id) = Digest::from_hex(bare) {
        let not_found = || ResolveError::NotFound(id.to_string());
        return db::images::get(reader, &id)?.ok_or_else(not_found);
    }
    let reference = Reference::parse(name)?;
    if let Some(record) = db::images::by_reference(reader, &reference)? {
        return Ok(record);
    }
    // Beside a digest a tag says nothing, as in Docker.
    if let Some(digest) = reference.digest() {
        let kept = db::manifests::get(reader, &reference.name(), digest)?;
        let (id, is_index) = match kept.as_ref().and_then(|kept| Some((kept.image?, &kept.media_type))) {
            Some((id, media_type)) => (Some(id), media::is_index(media_type)),
            None => (by_manifest(reader, &reference, digest)?, false),
        };
        if let Some(record) = id.map(|id| db::images::get(reader, &id)).transpose()?.flatten() {
            let manifest = if is_index { record.manifest } else { *digest };
            return Ok(ImageRecord { manifest, ..record });
        }
    }
    if is_id_prefix(bare)
        && let [record] = db::images::by_prefix(reader, bare)?.as_slice()
    {
        return Ok(record.clone());
    }
    Err(ResolveError::NotFound(reference.familiar()))
}

/// `name@sha256:...` names the manifest of an image that has a tag in the same repository.
fn by_manifest(
    reader: &Reader<'_>,
    reference: &Reference,
    manifest: &Digest,
) -> Result<Option<Digest>, DatabaseError> {
    let tags = db::images::tags_in(reader, &reference.name())?;
    Ok(tags.into_iter().find(|(_, _, known)| known == manifest).map(|(_, id, _)| id))
}

/// Whether `name` may be the beginning of an id, and not only a name.
pub(crate) fn is_id_prefix(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

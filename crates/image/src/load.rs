//! Loading images from an archive: docker-archive and OCI layout, recognised by what is in them.
//!
//! One pass over the stream. Whatever looks like a layer is unpacked at once, without a name yet; small files are kept in
//! memory; when the archive ends, its index says what of all that belongs together. Then everything is verified against it,
//! named and recorded. The rest is dropped, and an error leaves the store as it was.

mod contents;
mod directory;
mod plan;

use std::io::Read;

use diag::{Class, Diagnose};
use oci::image::{Descriptor, DocumentError, ImageConfig, Platform};
use oci::{Digest, Reference};
use store::db::{self, Reader, manifests::ManifestRecord};
use store::{DatabaseError, Durability, StoreError};

use crate::archive::{TarError, decode};
use crate::create::Origin;
use crate::{CreateError, Images, Layer, LayerError};
pub use directory::read_layout;

use contents::Contents;
use plan::{Planned, PlannedIndex};

/// One loaded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub image: Digest,
    /// Empty when the archive gives it no name.
    pub references: Vec<Reference>,
}

/// An archive was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    #[error(transparent)]
    Archive(#[from] TarError),
    #[error("archive has neither a manifest.json nor an index.json: it is not an image archive")]
    NotAnImage,
    #[error("archive has no {0:?}, which its index names")]
    Missing(String),
    #[error("archive has a malformed {path:?}")]
    Syntax { path: String, source: serde_json::Error },
    #[error("archive has a malformed {path:?}")]
    Document { path: String, source: DocumentError },
    #[error("archive has a {path:?} whose content is {found}")]
    Mismatch { path: String, found: Digest },
    #[error("archive's {what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("archive has no image for {0}")]
    Platform(String),
    #[error("image {image} lists {expected} layers, but the archive has {found} for it")]
    LayerCount { image: Digest, expected: usize, found: usize },
    #[error("archive has a damaged layer {path:?}")]
    Layer { path: String, source: Box<LayerError> },
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for LoadError {
    fn class(&self) -> Class {
        match self {
            Self::Read(e) => Class::of_io(e),
            Self::Archive(TarError::Read(e)) => Class::of_io(e),
            Self::Layer { source, .. } => source.class(),
            Self::Create(e) => e.class(),
            Self::Store(e) => e.class(),
            Self::Platform(_) => Class::Unsupported,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(TarError::Checksum | TarError::Field(_) | TarError::Truncated) => {
                Some("it has to be a whole archive as `save` writes them".to_owned())
            }
            Self::NotAnImage => Some("a root filesystem is imported with `hull import`".to_owned()),
            Self::Layer { source, .. } => source.hint(),
            Self::Create(e) => e.hint(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

impl Images<'_> {
    /// Loads every image of the archive `input`, compressed or not: of several platforms' images the one for `platform`, or
    /// else this host's. A name that stands for several keeps the others, too, when all are there.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left then.
    pub fn load(
        &self,
        input: &mut (dyn Read + Send),
        platform: Option<&Platform>,
    ) -> Result<Vec<Loaded>, LoadError> {
        let _lock = self.store.lock_shared()?;
        let _making = self.store.tmp_dir("making")?;
        let (_, stream) = decode(input).map_err(LoadError::Read)?;
        let mut contents = Contents::read(*self, stream)?;
        let (planned, indexes) = plan::plan(&contents, platform)?;
        // Everything is verified before anything is named.
        let mut checked = Vec::with_capacity(planned.len());
        for image in planned {
            for path in &image.layers {
                contents.take_error(path)?;
            }
            checked.push(check(&contents, image)?);
        }
        for path in indexes.iter().flat_map(|index| &index.blobs) {
            contents.take_error(path)?;
            let found = contents.layer(path)?.blob();
            contents::check_name(path, found)?;
        }
        let mut loaded = Vec::with_capacity(checked.len());
        for (config, image) in checked {
            let layers: Vec<Layer> =
                image.layers.iter().map(|path| contents.keep(path)).collect::<Result<_, _>>()?;
            let bytes = contents.document(&image.config)?;
            let manifest = image.manifest.as_deref();
            let origin = Origin::Elsewhere;
            let made = self.register(origin, bytes, &config, &layers, manifest, &image.references)?;
            loaded.push(Loaded { image: made.id, references: image.references });
        }
        if !indexes.is_empty() {
            self.keep_indexes(&mut contents, indexes)?;
        }
        Ok(loaded)
    }

    /// Keeps indexes with all they lead to, beside the images of theirs that were loaded.
    fn keep_indexes(&self, contents: &mut Contents<'_>, indexes: Vec<PlannedIndex>) -> Result<(), LoadError> {
        let mut rows = Vec::new();
        for index in indexes {
            for path in &index.documents {
                self.store.blobs().put(contents.document(path)?)?;
            }
            for path in &index.blobs {
                contents.keep(path)?;
            }
            let image = Some(Digest::of(contents.document(&index.config)?));
            let Descriptor { digest, media_type, size, .. } = index.root;
            rows.extend(index.references.into_iter().map(|reference| {
                let record = ManifestRecord {
                    repository: reference.name(),
                    digest,
                    media_type: media_type.clone(),
                    size,
                    subject: None,
                    artifact_type: None,
                    image,
                };
                (reference, record)
            }));
        }
        let database = self.store.database();
        let noted = |reader: &Reader<'_>| {
            let mut images = rows.iter().filter_map(|(_, record)| record.image);
            images.try_fold(true, |all, image| Ok(all && db::unsettled::contains(reader, &image)?))
        };
        // What goes with its image is noted with it.
        if !database.read(noted).map_err(|error: DatabaseError| StoreError::from(error))? {
            self.store.sync()?;
        }
        database
            .write(Durability::Full, |writer| {
                rows.iter().try_for_each(|(reference, record)| {
                    db::manifests::put(writer, record)?;
                    db::manifests::tag(writer, reference, &record.digest)
                })
            })
            .map_err(|error: DatabaseError| StoreError::from(error).into())
    }
}

/// Checks that an image's layers are those its config lists.
fn check(contents: &Contents<'_>, image: Planned) -> Result<(ImageConfig, Planned), LoadError> {
    let bytes = contents.document(&image.config)?;
    let config: ImageConfig = serde_json::from_slice(bytes)
        .map_err(|source| LoadError::Syntax { path: image.config.clone(), source })?;
    let listed = &config.rootfs.diff_ids;
    if listed.len() != image.layers.len() {
        let (expected, found) = (listed.len(), image.layers.len());
        return Err(LoadError::LayerCount { image: Digest::of(bytes), expected, found });
    }
    for (expected, path) in listed.iter().zip(&image.layers) {
        let found = contents.layer(path)?;
        let (diff_id, blob) = (found.diff_id(), found.blob());
        if diff_id != *expected {
            let source = Box::new(LayerError::DiffId { expected: *expected, found: diff_id });
            return Err(LoadError::Layer { path: path.clone(), source });
        }
        contents::check_name(path, blob)?;
    }
    Ok((config, image))
}

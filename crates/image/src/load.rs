//! Loading images from an archive: docker-archive and OCI layout, recognised by what is in them.
//!
//! One pass over the stream. Whatever looks like a layer is unpacked at once, without a name yet; small files are kept in
//! memory; when the archive ends, its index says what of all that belongs together. Then everything is verified against it,
//! named and recorded. The rest is dropped, and an error leaves the store as it was.

mod contents;
mod plan;

use std::io::Read;

use diag::{Class, Diagnose};
use oci::image::{DocumentError, ImageConfig};
use oci::{Digest, Reference};
use store::StoreError;

use crate::archive::{TarError, decode};
use crate::{CreateError, Images, Layer, LayerError};
use contents::{Contents, Found};
use plan::Planned;

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
            Self::NotAnImage => Some("a root filesystem is imported with `hull import`".to_owned()),
            Self::Layer { source, .. } => source.hint(),
            Self::Create(e) => e.hint(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

impl Images<'_> {
    /// Loads every image of the archive `input`, compressed or not.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left then.
    pub fn load(&self, input: &mut (dyn Read + Send)) -> Result<Vec<Loaded>, LoadError> {
        let _lock = self.store.lock_shared()?;
        let _making = self.store.tmp_dir("making")?;
        let (_, stream) = decode(input).map_err(LoadError::Read)?;
        let mut contents = Contents::read(*self, stream)?;
        let planned = plan::plan(&contents)?;
        // Everything is verified before anything is named.
        let mut checked = Vec::with_capacity(planned.len());
        for image in planned {
            for path in &image.layers {
                contents.take_error(path)?;
            }
            checked.push(check(&contents, image)?);
        }
        let mut loaded = Vec::with_capacity(checked.len());
        for (config, image) in checked {
            let layers: Vec<Layer> =
                image.layers.iter().map(|path| contents.keep(path)).collect::<Result<_, _>>()?;
            let bytes = contents.document(&image.config)?;
            let made =
                self.register(bytes, &config, &layers, image.manifest.as_deref(), &image.references)?;
            loaded.push(Loaded { image: made.id, references: image.references });
        }
        Ok(loaded)
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
        let (diff_id, blob) = match contents.layer(path)? {
            Found::Arrived(arrived) => (arrived.diff_id, arrived.blob()),
            Found::Known(layer) => (layer.diff_id, layer.blob),
        };
        if diff_id != *expected {
            let source = Box::new(LayerError::DiffId { expected: *expected, found: diff_id });
            return Err(LoadError::Layer { path: path.clone(), source });
        }
        contents::check_name(path, blob)?;
    }
    Ok((config, image))
}

//! Results of steps, from other hosts and for them.
//!
//! They travel as an image: its layers are the results, and its config says under [`FIELD`] which step each belongs to. An image
//! with an inline cache says so of its own layers; a cache by itself is an image that nobody runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use diag::with_sources;
use image::{Images, Outline, PullError, PullOptions, Registries, ResolveError};
use oci::image::ImageConfig;
use oci::{DiffId, Reference};
use registry::{Client, RegistryError};
use serde::{Deserialize, Serialize};
use store::StoreError;

use super::{CacheSource, Key, Outcome};
use crate::progress::{Event, Progress};

/// The field of an image's config that has a [`Document`]. Images that are built on such an image do not inherit it.
pub const FIELD: &str = "hull.build.cache";
const VERSION: u32 = 1;

/// Which results a config's layers are.
#[derive(Serialize, Deserialize)]
struct Document {
    v: u32,
    /// By the keys of their steps.
    steps: BTreeMap<String, Entry>,
}

/// An [`Outcome`] whose layer is among those of the image.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<DiffId>,
    created: String,
}

/// Writes down in `config` which of `results` its layers are.
pub fn describe(config: &mut ImageConfig, results: &BTreeMap<String, Outcome>, layers: &[DiffId]) {
    let entry = |(key, outcome): (&String, &Outcome)| {
        let layer = outcome.layer.as_ref().map(|layer| layer.diff_id);
        let is_there = layer.is_none_or(|layer| layers.contains(&layer));
        is_there.then(|| (key.clone(), Entry { layer, created: outcome.created.clone() }))
    };
    let document = Document { v: VERSION, steps: results.iter().filter_map(entry).collect() };
    let value = serde_json::to_value(document).expect("it has text keys and no floats");
    config.extra.insert(FIELD.to_owned(), value);
}

/// A place has no results to offer.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("it has no build cache: build it with `--cache-to type=inline`, or name a cache")]
    Without,
    #[error("its build cache cannot be read")]
    Document(#[source] serde_json::Error),
    #[error("its build cache has format {0}, and this hull reads format {VERSION}")]
    Version(u32),
}

/// The results that a place has.
pub struct Import {
    name: String,
    steps: BTreeMap<String, Entry>,
    /// Where layers come from that are not here.
    remote: Option<(Client, Reference, Outline)>,
    options: PullOptions,
    progress: Arc<dyn Progress>,
}

impl Import {
    /// Asks `source` what it has. Nothing but documents is fetched; `options` say when to stop.
    pub fn open(
        images: &Images<'_>,
        registries: Option<&dyn Registries>,
        source: &CacheSource,
        options: PullOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, ImportError> {
        let (config, remote) = match (source, registries) {
            (CacheSource::Image(name), _) => (images.resolve(name)?.config, None),
            (CacheSource::Registry(reference), None) => (images.resolve(&reference.familiar())?.config, None),
            (CacheSource::Registry(reference), Some(registries)) => {
                let client = registries.client()?.until(&options.stop);
                let outline = images.outline(&client, reference, &options)?;
                (outline.config().clone(), Some((client, reference.clone(), outline)))
            }
        };
        let document = config.extra.get(FIELD).ok_or(ImportError::Without)?;
        let Document { v, steps } = Document::deserialize(document).map_err(ImportError::Document)?;
        match v {
            VERSION => Ok(Self { name: source.to_string(), steps, remote, options, progress }),
            other => Err(ImportError::Version(other)),
        }
    }

    /// The result of `key`, whose layer is here then. A layer that cannot be fetched is no result, and a warning.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outcome(&self, images: &Images<'_>, key: &Key) -> Result<Option<Outcome>, StoreError> {
        let Some(Entry { layer, created }) = self.steps.get(&key.0) else { return Ok(None) };
        let created = created.clone();
        let Some(diff_id) = layer else { return Ok(Some(Outcome { layer: None, created })) };
        if images.layer(diff_id)?.is_none()
            && let Err(error) = self.fetch(images, diff_id)
        {
            let text = format!("cannot use the cache of {}: {}", self.name, with_sources(&error));
            self.progress.event(Event::Warning { text: &text });
            return Ok(None);
        }
        Ok(images.layer(diff_id)?.map(|layer| Outcome { layer: Some(layer), created }))
    }

    fn fetch(&self, images: &Images<'_>, wanted: &DiffId) -> Result<(), PullError> {
        let Some((client, reference, outline)) = &self.remote else { return Ok(()) };
        let Some(layer) = outline.layers().find(|(_, diff_id)| *diff_id == wanted) else { return Ok(()) };
        images.fetch_layer(client, reference, outline, layer, &self.options)
    }
}

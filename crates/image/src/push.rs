//! Pushing an image to its registry.
//!
//! First what the reference names is laid out: documents, and the blobs they need ([`plan`]). When nothing of it has to be
//! made, one question tells whether the registry has it all under that name. Otherwise the blobs follow, several at once: asked
//! for, mounted from a repository of the same registry that is known to have them, or sent ([`blobs`]). Documents come last,
//! and of these the one that the tag names, because a registry takes nothing whose parts it lacks.
//!
//! Layers made here are kept uncompressed and are compressed while they are sent. What each becomes is remembered, so that the
//! next push asks for it by its digest; and the manifest that names them is kept, because the registry has the image by it.

mod blobs;
mod error;
mod mounts;
mod plan;
mod progress;
mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;

use oci::image::{Descriptor, ImageConfig, Platform};
use oci::{Digest, Reference};
use registry::Client;
use store::db;

use crate::compress::Method;
use crate::create::manifest_of;
use crate::documents::Part;
use crate::{Images, Layer};

use plan::{Blob, Plan};

pub use error::PushError;
pub use progress::{PushEvent, PushProgress, PushState, SilentPush};

/// What is pushed, how, and who is told about it.
#[derive(Clone)]
pub struct PushOptions {
    pub platforms: Platforms,
    pub compression: Compress,
    pub progress: Arc<dyn PushProgress>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            platforms: Platforms::default(),
            compression: Compress::default(),
            progress: Arc::new(SilentPush),
        }
    }
}

/// Which images go when a reference names several.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Platforms {
    /// All of them when all are here, and otherwise this host's.
    #[default]
    Usual,
    /// Those that are here.
    All,
    One(Platform),
}

/// What becomes of layers that are kept uncompressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// Those of images that were made here, or came without a registry, are compressed with gzip; an image that a registry has
    /// by its digest keeps it.
    #[default]
    Usual,
    /// All go as they are.
    Never,
    With(Method, i32),
}

/// What a push ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// Bytes of the manifest or index.
    pub size: u64,
    /// How many of the images that the reference names were left out, because they are not here.
    pub left_out: usize,
}

impl Pushed {
    /// What who pushed `name` should know, when images were left out.
    pub fn note(&self, name: &Reference) -> Option<String> {
        let images = match self.left_out {
            0 => return None,
            1 => "1 image".to_owned(),
            number => format!("{number} images"),
        };
        Some(format!(
            "NOTE: {images} of other platforms that {name} names where it came from were not pushed: they are not here"
        ))
    }
}

impl Images<'_> {
    /// Gives the registry of `reference` what it names here.
    ///
    /// # Errors
    /// [`PushError`]. Blobs that the registry took until then stay there, without a name.
    pub fn push(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        if reference.digest().is_some() {
            return Err(PushError::Digest);
        }
        let _lock = self.store.lock_shared()?;
        let destination = Destination { images: *self, client, reference, options };
        let plan = destination.plan()?;
        let root = destination.send(&plan)?;
        destination.record(&plan, &root)?;
        let Descriptor { digest, size, .. } = root.descriptor;
        Ok(Pushed { digest, size, left_out: plan.left_out })
    }

    /// Gives a registry an image that is none here: `layers` and `config`, whose list of layers is set here.
    ///
    /// # Errors
    /// [`PushError`], as [`push`](Self::push).
    pub fn push_unrecorded(
        &self,
        client: &Client,
        reference: &Reference,
        mut config: ImageConfig,
        layers: &[Layer],
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        if reference.digest().is_some() {
            return Err(PushError::Digest);
        }
        let _lock = self.store.lock_shared()?;
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let config = serde_json::to_vec(&config).map_err(PushError::Serialize)?;
        self.store.blobs().put(&config)?;
        let destination = Destination { images: *self, client, reference, options };
        let plan = destination.made(manifest_of(&config, layers))?;
        let Descriptor { digest, size, .. } = destination.send(&plan)?.descriptor;
        Ok(Pushed { digest, size, left_out: 0 })
    }

    /// The references of a repository, for a push of all of them.
    ///
    /// # Errors
    /// [`PushError::NoSuchRepository`] when there are none.
    pub fn tags_of(&self, repository: &Reference) -> Result<Vec<Reference>, PushError> {
        let name = repository.name();
        let references = self.store.database().read(|reader| {
            let mut found = BTreeSet::new();
            found.extend(db::images::references(reader)?.into_iter().map(|(reference, _)| reference));
            found.extend(db::manifests::tags(reader, &name)?.into_iter().map(|(reference, _)| reference));
            Ok::<_, PushError>(found)
        })?;
        let references: Vec<_> = references.into_iter().filter(|known| known.name() == name).collect();
        match references.is_empty() {
            true => Err(PushError::NoSuchRepository(repository.repository())),
            false => Ok(references),
        }
    }
}

/// Where things are taken from, and where they go.
struct Destination<'a> {
    images: Images<'a>,
    client: &'a Client,
    reference: &'a Reference,
    options: &'a PushOptions,
}

impl Destination<'_> {
    /// Brings what a plan consists of to the registry; returns what the reference names then.
    fn send(&self, plan: &Plan) -> Result<Part, PushError> {
        match plan.settled()? {
            Some(root) if self.has(&root)? => {
                plan.layers().for_each(|layer| self.tell(layer, PushState::Exists));
                Ok(root)
            }
            _ => {
                let forms = blobs::send(self, plan)?;
                self.send_documents(plan.documents(&forms)?)
            }
        }
    }

    /// Whether the reference names `root` at the registry, which then has all that this consists of.
    fn has(&self, root: &Part) -> Result<bool, PushError> {
        let there = self.client.manifest_digest(self.reference)?;
        Ok(there.is_some_and(|(digest, _)| digest == root.descriptor.digest))
    }

    /// Uploads documents, the one that the reference names last; returns it.
    fn send_documents(&self, mut documents: Vec<Part>) -> Result<Part, PushError> {
        let root = documents.pop().expect("a plan has at least one document");
        for part in documents {
            let by_digest = self.reference.with_digest(part.descriptor.digest);
            self.client.push_manifest(&by_digest, &part.descriptor.media_type, &part.bytes)?;
        }
        self.client.push_manifest(self.reference, &root.descriptor.media_type, &root.bytes)?;
        Ok(root)
    }

    fn tell(&self, layer: &Blob, state: PushState<'_>) {
        self.options.progress.event(PushEvent { layer: &layer.name(), size: layer.size, state });
    }
}

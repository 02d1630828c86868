//! Pulling an image from a registry.
//!
//! First the documents: what the registry has under the name, the manifest for the platform, the config. All of them are small,
//! verified in memory and checked against each other before anything is written. Then the layers, several at once, each one
//! stream that is fetched, hashed, decompressed and unpacked in one pass. Then one transaction that makes an image of it all.
//! The sync follows it: see [`store::db::unsettled`].
//!
//! Between the manifests and everything else stands the system's policy: an image that it refuses is not fetched.
//!
//! What is here already is never fetched. A pull that finds everything here is one question to the registry and no write.

mod document;
mod ensure;
mod error;
mod layers;
mod others;
mod outline;
mod progress;
mod resolve;
mod rows;
mod verify;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use oci::image::Platform;
use oci::{Digest, Reference};
use registry::Client;
use trust::{Policy, TrustError};

use crate::{Image, Images, crew};

pub use ensure::{PullPolicy, PullPolicyError, Registries};
pub use error::PullError;
use others::Others;
pub use outline::Outline;
pub use progress::{LayerState, NoProgress, PullEvent, PullProgress};

/// What is pulled, and who is told about it.
#[derive(Clone)]
pub struct PullOptions {
    /// This host's when `None`.
    pub platform: Option<Platform>,
    /// Keep what an index has for other platforms, too, though it is not unpacked.
    pub all_platforms: bool,
    /// Only complete an image that is recorded: one that was removed meanwhile stays so.
    pub only_known: bool,
    pub progress: Arc<dyn PullProgress>,
    /// Set by who no longer wants the image: the pull ends soon, as one that the network has interrupted.
    pub stop: Arc<AtomicBool>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            platform: None,
            all_platforms: false,
            only_known: false,
            progress: Arc::new(NoProgress),
            stop: Arc::default(),
        }
    }
}

/// What a pull ended with.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub image: Image,
    /// What the registry has under the reference: a manifest, or an index of several.
    pub digest: Digest,
    /// Whether the reference named something else before, or nothing.
    pub is_new: bool,
    /// What the image says it is for, when that is not what was asked for and there was nothing to choose from.
    pub other_platform: Option<Platform>,
}

impl Images<'_> {
    /// Brings the image that `reference` names at its registry, and lets `reference` name it here.
    ///
    /// # Errors
    /// [`PullError`]; the store is then as it was. Only after an interruption, of this process or of the way to the registry,
    /// what has come stays for a day, and the next pull goes on from there.
    pub fn pull(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Pulled, PullError> {
        let client = &client.until(&options.stop);
        let source = Source::new(*self, client, reference);
        let outcome = self.bring(&source, options);
        if outcome.as_ref().is_err_and(|error| !error.is_interruption()) {
            let brought = crew::lock(&source.brought);
            // The failure is what counts; what cannot be taken back now is collected later.
            let _ = self.take_back(&brought);
        }
        outcome
    }

    fn bring(&self, source: &Source<'_>, options: &PullOptions) -> Result<Pulled, PullError> {
        let Source { client, reference, .. } = *source;
        let policy = Policy::of_system().map_err(TrustError::Policy)?;
        let _lock = self.store.lock_shared()?;
        let _making = self.store.tmp_dir("making")?;
        let root = source.root()?;
        options.progress.event(PullEvent::Found(reference, &root.digest));
        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        let selected = source.select(&root, &wanted)?;
        // Who has signed one platform's image has said nothing about the others.
        let signed = if options.all_platforms { &selected.trail[..1] } else { &selected.trail };
        policy.check(client, reference, signed)?;
        let chosen = source.image(selected)?;
        let others = if options.all_platforms { source.others(&root, &chosen)? } else { Others::default() };
        let brought = layers::fetch(source, &chosen, &others.blobs, &*options.progress)?;
        let (image, is_new) = rows::record(source, &root, &chosen, (&others, &brought), options.only_known)?;
        options.progress.event(PullEvent::Done { reference, digest: &root.digest, is_new });
        let other_platform = (!image.serves(&wanted)).then(|| image.platform());
        Ok(Pulled { image, digest: root.digest, is_new, other_platform })
    }
}

/// Where a pull takes things from, and where it brings them.
pub(crate) struct Source<'a> {
    images: Images<'a>,
    client: &'a Client,
    reference: &'a Reference,
    /// Blobs that are here because of this pull.
    brought: Mutex<Vec<Digest>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(images: Images<'a>, client: &'a Client, reference: &'a Reference) -> Self {
        Self { images, client, reference, brought: Mutex::default() }
    }
}

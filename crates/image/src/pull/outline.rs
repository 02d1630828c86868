//! A pull's first half by itself: which image it will be, before its layers are here.

use oci::image::{Descriptor, ImageConfig, Platform};
use oci::{DiffId, Reference, media};
use registry::Client;
use trust::{Policy, TrustError};

use super::layers::Brought;
use super::others::Others;
use super::resolve::{Chosen, Fetch};
use super::{PullError, PullOptions, Source, layers, rows};
use crate::{Image, Images, Layer};

/// An image as its documents describe it; all of them are verified.
pub struct Outline {
    root: Fetch,
    chosen: Chosen,
}

impl Outline {
    /// The layers, base first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &DiffId)> {
        self.chosen.manifest.layers.iter().zip(&self.chosen.config.rootfs.diff_ids)
    }

    pub fn config(&self) -> &ImageConfig {
        &self.chosen.config
    }

    /// What the registry has under the reference, by its digest: what a pull of the rest asks for.
    pub fn pinned(&self, reference: &Reference) -> Reference {
        reference.with_digest(self.root.digest)
    }
}

impl Images<'_> {
    /// Asks the registry what `reference` names.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn outline(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Outline, PullError> {
        let policy = Policy::of_system().map_err(TrustError::Policy)?;
        let source = Source::new(*self, client, reference);
        let root = source.root()?;
        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        let selected = source.select(&root, &wanted)?;
        policy.check(client, reference, &selected.trail)?;
        let chosen = source.image(selected)?;
        Ok(Outline { root, chosen })
    }

    /// Brings one layer of an outline.
    ///
    /// # Errors
    /// [`PullError`]; nothing is left then.
    pub fn fetch_layer(
        &self,
        client: &Client,
        reference: &Reference,
        outline: &Outline,
        (descriptor, diff_id): (&Descriptor, &DiffId),
        options: &PullOptions,
    ) -> Result<(), PullError> {
        let mut chosen = outline.chosen.clone();
        chosen.manifest.layers = vec![descriptor.clone()];
        chosen.config.rootfs.diff_ids = vec![*diff_id];
        let source = Source::new(*self, client, reference);
        layers::fetch(&source, &chosen, &[], &*options.progress).map(drop)
    }

    /// Records the image while its layers are on their way: who uses it finds them through [`store::Snapshots`] all the same.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn record_outline(
        &self,
        client: &Client,
        reference: &Reference,
        outline: &Outline,
    ) -> Result<Image, PullError> {
        let source = Source::new(*self, client, reference);
        let layer = |(descriptor, diff_id): (&Descriptor, &DiffId)| Layer {
            diff_id: *diff_id,
            blob: descriptor.digest,
            media_type: media::OCI_LAYER.to_owned(),
            blob_size: descriptor.size,
            // How much is in it is known when it has been unpacked.
            size: 0,
        };
        // One is not here for sure: so the image is recorded anew when all of it has come.
        let brought = Brought { layers: outline.layers().map(layer).collect(), fetched: 1 };
        rows::record(&source, &outline.root, &outline.chosen, (&Others::default(), &brought), false)
            .map(|(image, _)| image)
    }
}

//! Images that a command needs: those that are here, and those that a registry has.

use std::str::FromStr;

use diag::{Class, Diagnose};
use oci::Reference;
use oci::image::Platform;
use registry::{Client, RegistryError};

use super::{PullError, PullEvent, PullOptions};
use crate::{Image, Images, ResolveError};

/// When a registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    /// When it is not here.
    #[default]
    Missing,
    Never,
}

/// A word that is no policy; in the words of Docker's command line, which knows nothing of lazy pulls.
#[derive(Debug, thiserror::Error)]
#[error("invalid pull option: '{0}': must be one of \"always\", \"missing\", \"never\" or \"lazy\"")]
pub struct PullPolicyError(String);

impl FromStr for PullPolicy {
    type Err = PullPolicyError;

    fn from_str(text: &str) -> Result<Self, PullPolicyError> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => Err(PullPolicyError(other.to_owned())),
        }
    }
}

/// Who has a client for registries, or makes one when it is needed.
pub trait Registries: Sync {
    /// # Errors
    /// [`RegistryError::Setup`].
    fn client(&self) -> Result<Client, RegistryError>;

    /// Is told of each image that was pulled.
    fn pulled(&self, reference: &Reference);
}

impl Images<'_> {
    /// The image `name`, pulled first where `policy` says so.
    ///
    /// # Errors
    /// [`PullError::Resolve`] when it is not here and is not to be pulled, and the others.
    pub fn ensure(
        &self,
        registries: &dyn Registries,
        name: &str,
        policy: PullPolicy,
        options: &PullOptions,
    ) -> Result<Image, PullError> {
        let serves = |image: &Image| options.platform.as_ref().is_none_or(|wanted| image.serves(wanted));
        if policy != PullPolicy::Always {
            match self.resolve(name) {
                Ok(image) if serves(&image) && (self.is_usable(&image) || policy == PullPolicy::Never) => {
                    return Ok(image);
                }
                Ok(image) if policy == PullPolicy::Never => return other_platform(name, &image, options),
                Err(error) if policy == PullPolicy::Never || error.class() != Class::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        let reference = match Reference::parse(name) {
            Ok(reference) => reference.pullable(),
            // An id: no registry knows it.
            Err(error) => {
                return Err(self.resolve(name).err().unwrap_or(ResolveError::Reference(error)).into());
            }
        };
        if policy == PullPolicy::Missing {
            options.progress.event(PullEvent::Missing(&reference));
        }
        let pulled = self.pull(&registries.client()?, &reference, options)?;
        registries.pulled(&reference);
        match pulled.other_platform {
            Some(_) if options.platform.is_some() => other_platform(name, &pulled.image, options),
            _ => Ok(pulled.image),
        }
    }

    /// Whether a container can use the image's layers: a lazy pull that was killed leaves one of which some never came.
    pub fn is_usable(&self, image: &Image) -> bool {
        let snapshots = self.store.snapshots();
        image.diff_ids.iter().all(|diff_id| snapshots.lower_dir(diff_id).exists())
    }
}

fn other_platform(name: &str, image: &Image, options: &PullOptions) -> Result<Image, PullError> {
    Err(PullError::OtherPlatform {
        reference: Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar()),
        wanted: options.platform.as_ref().map(Platform::to_string).unwrap_or_default(),
        actual: image.platform().to_string(),
    })
}

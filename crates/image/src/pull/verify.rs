//! Checking an image's signatures without pulling it.

use oci::Reference;
use oci::image::Platform;
use registry::Client;
use trust::{Policy, Requirement, TrustError, Verified};

use super::{PullError, Source};
use crate::Images;

impl Images<'_> {
    /// Verifies the signatures of the image that `reference` names at its registry: as `requirement` says, or else the policy.
    ///
    /// # Errors
    /// [`PullError`]; where no signature is asked for, there is nothing to verify.
    pub fn verify(
        &self,
        client: &Client,
        reference: &Reference,
        platform: &Platform,
        requirement: Option<Requirement>,
    ) -> Result<Vec<Verified>, PullError> {
        let policy = match &requirement {
            Some(_) => None,
            None => Some(Policy::of_system().map_err(TrustError::Policy)?),
        };
        let (requirements, rule) = match &policy {
            Some(policy) => policy.requirements(reference),
            None => (requirement.as_slice(), "this command".to_owned()),
        };
        let _lock = self.store.lock_shared()?;
        let source = Source::new(*self, client, reference);
        let selected = source.select(&source.root()?, platform)?;
        let verified = trust::check(client, reference, &selected.trail, requirements, &rule)?;
        if verified.is_empty() {
            return Err(TrustError::NothingAsked { image: reference.canonical(), rule }.into());
        }
        Ok(verified)
    }
}

//! What refers to a manifest; spec: distribution-spec 1.1, "Listing Referrers", "Pushing Manifests with Subject".

use std::sync::Arc;

use oci::image::{Descriptor, Index};
use oci::{Digest, Reference, media};

use super::request::pull_scope;
use super::{Client, Endpoint, Fetched};
use crate::RegistryError;

impl Client {
    /// The manifests whose subject is `digest`, all or those of one type.
    ///
    /// Registries without this question are asked for the tag under which clients keep such lists (distribution-spec, "Referrers
    /// Tag Schema").
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn referrers(
        &self,
        reference: &Reference,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let places = self.endpoints(reference.domain())?;
        let answer = self.block_on(self.ask_each(
            reference.domain(),
            &places,
            |can| can.resolve,
            async |endpoint: &Arc<Endpoint>| {
                let mut url = endpoint.url(&format!("{}/referrers/{digest}", reference.path()));
                if let Some(wanted) = artifact_type {
                    url.query_pairs_mut().append_pair("artifactType", wanted);
                }
                self.pages::<Index>(endpoint, url, &pull_scope(reference)).await
            },
        ));
        let (mut found, filtered) = match answer {
            Ok((pages, filtered)) => (pages.into_iter().flat_map(|page| page.manifests).collect(), filtered),
            Err(RegistryError::Status { status: 404 | 405, .. }) => {
                (self.referrers_by_tag(reference, digest)?.manifests, false)
            }
            Err(error) => return Err(error),
        };
        if let Some(wanted) = artifact_type.filter(|_| !filtered) {
            let has = |found: &Descriptor| {
                found.extra.get("artifactType").and_then(|value| value.as_str()) == Some(wanted)
            };
            found.retain(has);
        }
        Ok(found)
    }

    /// Puts `referrer` on the list of what refers to `subject`, at a registry that keeps no such lists itself.
    ///
    /// Two clients that do so at once may lose one of them: the protocol has nothing against it.
    pub(super) fn list_referrer(
        &self,
        reference: &Reference,
        subject: &Digest,
        referrer: Descriptor,
    ) -> Result<(), RegistryError> {
        let mut index = self.referrers_by_tag(reference, subject)?;
        if index.manifests.iter().any(|listed| listed.digest == referrer.digest) {
            return Ok(());
        }
        index.manifests.push(referrer);
        let bytes = serde_json::to_vec(&index).expect("names are strings");
        let list = list_of(reference, subject)?;
        self.put_manifest(&list, media::OCI_INDEX, &bytes).map(drop)
    }

    /// The list under its tag; an empty one where there is none.
    fn referrers_by_tag(&self, reference: &Reference, subject: &Digest) -> Result<Index, RegistryError> {
        let list = list_of(reference, subject)?;
        match self.manifest(&list, None) {
            Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
                Ok(Index::new(Vec::new()))
            }
            Err(error) => Err(error),
            Ok(Fetched::Document { bytes, media_type, .. }) if media_type == media::OCI_INDEX => {
                serde_json::from_slice(&bytes).map_err(|e| malformed(reference, e.to_string()))
            }
            Ok(_) => {
                let what = format!("the tag {}, which lists referrers, is no index", list.familiar());
                Err(malformed(reference, what))
            }
        }
    }
}

/// The tag under which clients keep the list of what refers to `subject`.
fn list_of(reference: &Reference, subject: &Digest) -> Result<Reference, RegistryError> {
    let tag = subject.to_string().replace(':', "-");
    reference.with_tag(&tag).map_err(|e| malformed(reference, e.to_string()))
}

fn malformed(reference: &Reference, what: String) -> RegistryError {
    RegistryError::Malformed { host: reference.domain().to_owned(), url: reference.canonical(), what }
}

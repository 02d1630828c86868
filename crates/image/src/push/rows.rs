//! What is remembered of a push: the registry has the image by this digest.

use store::db::manifests::{self, ManifestRecord};
use store::{DatabaseError, Durability};

use super::plan::Plan;
use super::{Destination, PushError};
use crate::documents::Part;

impl Destination<'_> {
    /// Records that the repository has the document; nothing is written when that is known.
    pub fn record(&self, plan: &Plan, root: &Part) -> Result<(), PushError> {
        let store = self.images.store;
        let (repository, descriptor) = (self.reference.name(), &root.descriptor);
        let known = store.database().read(|reader| {
            let known = manifests::get(reader, &repository, &descriptor.digest)?;
            Ok::<_, DatabaseError>(known.is_some_and(|known| known.image == plan.image))
        })?;
        if known {
            return Ok(());
        }
        let record = ManifestRecord {
            repository,
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
            size: descriptor.size,
            subject: None,
            artifact_type: None,
            image: plan.image,
        };
        if !store.blobs().contains(&descriptor.digest) {
            store.blobs().put(&root.bytes)?;
            store.sync()?;
        }
        Ok(store.database().write(Durability::Full, |writer| manifests::put(writer, &record))?)
    }
}

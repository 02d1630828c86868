//! Which repositories of a registry are known to have which blobs.

use std::collections::HashMap;

use oci::image::{Index, Manifest};
use oci::{Digest, Reference, media};
use store::db;

use super::{Destination, PushError};

/// Repositories of the destination's registry, other than its own, by the blobs they had when this host last saw them.
///
/// They need not have them any more: a registry that cannot mount asks for the bytes.
pub fn known(destination: &Destination<'_>) -> Result<HashMap<Digest, Reference>, PushError> {
    let (store, reference) = (destination.images.store, destination.reference);
    let (own, domain) = (reference.name(), format!("{}/", reference.domain()));
    let records = store.database().read(db::manifests::list)?;
    let mut known = HashMap::new();
    for record in records {
        if record.repository == own || !record.repository.starts_with(&domain) {
            continue;
        }
        let Ok(from) = Reference::parse(&record.repository) else { continue };
        let mut pending = vec![(record.digest, record.media_type)];
        while let Some((digest, media_type)) = pending.pop() {
            // Not every manifest that an index names is here, and no mount is worth an error.
            let Ok(bytes) = store.blobs().read(&digest) else { continue };
            if let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
                let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
                known.extend(blobs.map(|blob| (blob.digest, from.clone())));
            } else if media::is_index(&media_type)
                && let Ok(index) = serde_json::from_slice::<Index>(&bytes)
            {
                let children =
                    index.manifests.into_iter().filter(|child| media::is_manifest(&child.media_type));
                pending.extend(children.map(|child| (child.digest, child.media_type)));
            }
        }
    }
    Ok(known)
}

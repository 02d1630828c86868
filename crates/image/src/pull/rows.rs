//! Making an image of what has come: documents, then one transaction. What it names is synced afterwards: `store::db::unsettled`.

use oci::Digest;
use oci::image::Document;
use store::db::images::ImageRecord;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};
use store::{DatabaseError, Durability};

use super::layers::Brought;
use super::others::Others;
use super::resolve::{Chosen, Fetch};
use super::{PullError, Source};
use crate::Image;
use crate::create::parse_time;

/// Records the image, and lets the reference name it; says whether it named something else before.
pub fn record(
    source: &Source<'_>,
    root: &Fetch,
    chosen: &Chosen,
    (others, brought): (&Others, &Brought),
    only_known: bool,
) -> Result<(Image, bool), PullError> {
    let store = source.images.store;
    let id = chosen.id();
    let known = store.database().read(|reader| Known::read(source, reader, root, chosen))?;
    let is_known = known.image.is_some();
    let image = |record: ImageRecord, references| Ok(source.images.image(record, references)?);
    if let Known { image: Some(record), named: true } = known
        && brought.fetched == 0
        && others.documents.iter().all(|bytes| store.blobs().contains(&Digest::of(bytes)))
    {
        let references = store.database().read(|r| db::images::references_of(r, &id))?;
        let record = ImageRecord { manifest: chosen.manifest_digest, ..record };
        return image(record, references).map(|image| (image, false));
    }
    let documents = [&root.bytes, &chosen.manifest_bytes, &chosen.config_bytes];
    for bytes in documents.into_iter().chain(&others.documents) {
        store.blobs().put(bytes)?;
    }
    let record = ImageRecord {
        id,
        manifest: chosen.manifest_digest,
        created_ns: chosen.config.created.as_deref().map_or(0, parse_time),
        stored_ns: db::now_ns(),
        size: brought.layers.iter().map(|layer| layer.size).sum(),
        layers: brought.layers.iter().map(|layer| layer.diff_id).collect(),
    };
    let manifest = ManifestRecord {
        repository: source.reference.name(),
        digest: root.digest,
        media_type: root.media_type.clone(),
        size: root.bytes.len() as u64,
        subject: None,
        artifact_type: None,
        image: Some(id),
    };
    // Of an image that is known the new documents are all that is to be synced.
    let (synced_ns, durability) = match is_known {
        true => (Some(store.sync()?), Durability::Full),
        false => (None, Durability::Relaxed),
    };
    let (references, ended) = store.database().write(durability, |w| {
        if only_known && db::images::get(w, &id)?.is_none() {
            return Err(PullError::Removed(source.reference.familiar()));
        }
        db::images::put(w, &record)?;
        match synced_ns {
            Some(synced_ns) => db::unsettled::mark_synced(w, synced_ns)?,
            None => db::unsettled::note(w, &id)?,
        }
        db::manifests::put(w, &manifest)?;
        if source.reference.digest().is_none() {
            db::images::tag(w, source.reference, &id, &chosen.manifest_digest)?;
            if matches!(root.document, Document::Index(_)) {
                db::manifests::tag(w, source.reference, &root.digest)?;
            }
        }
        // The image keeps them from now on.
        chosen
            .manifest
            .layers
            .iter()
            .chain(&others.blobs)
            .try_for_each(|layer| db::manifests::forget_hold(w, &layer.digest))?;
        let ended = db::manifests::forget_ended_holds(w, db::now_ns())?;
        Ok::<_, PullError>((db::images::references_of(w, &id)?, ended))
    })?;
    if ended {
        store.mark_pending()?;
    }
    image(record, references).map(|image| (image, true))
}

/// What the database says of an image before it is pulled.
struct Known {
    image: Option<ImageRecord>,
    /// Whether everything that would be recorded is.
    named: bool,
}

impl Known {
    fn read(
        source: &Source<'_>,
        reader: &Reader<'_>,
        root: &Fetch,
        chosen: &Chosen,
    ) -> Result<Self, DatabaseError> {
        let id = chosen.id();
        let image = db::images::get(reader, &id)?;
        let repository = source.reference.name();
        let manifest = db::manifests::get(reader, &repository, &root.digest)?;
        let by_digest = manifest.is_some_and(|manifest| manifest.image == Some(id));
        let by_tag = match source.reference.digest() {
            Some(_) => true,
            None => {
                let named = db::images::by_reference(reader, source.reference)?;
                let index = db::manifests::tagged(reader, source.reference)?;
                let expected = matches!(root.document, Document::Index(_)).then_some(root.digest);
                let is_chosen =
                    |named: ImageRecord| named.id == id && named.manifest == chosen.manifest_digest;
                named.is_some_and(is_chosen) && index == expected
            }
        };
        Ok(Self { image, named: by_digest && by_tag })
    }
}

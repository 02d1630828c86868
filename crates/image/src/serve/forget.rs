//! Deleting: as `rmi` of the names that go.

use oci::{Digest, Reference};
use registry::server::ContentError;
use registry::server::content::{RepositoryName, Target};
use store::db::{self, Writer};
use store::{Collected, DatabaseError, Durability, StoreError};

use super::find::{Name, Rows};
use super::{Serving, trouble, whole_name};
use crate::remove::{delete, remove_reference};
use crate::{RemoveError, RemoveOptions};

/// Why a manifest was not forgotten.
#[derive(Debug, thiserror::Error)]
enum ForgetError {
    #[error("there is no such manifest")]
    Unknown,
    #[error("an index of this repository names it")]
    InIndex,
    #[error(transparent)]
    Remove(#[from] RemoveError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Serving {
    /// Forgets a tag, or a manifest with every tag that names it, and the image with its last name.
    pub(super) fn forget_manifest(
        &self,
        repository: &RepositoryName,
        target: &Target,
    ) -> Result<(), ContentError> {
        let name = whole_name(repository)?;
        // Asked before: within the transaction the database cannot be read a second time.
        let running = (self.running)().map_err(ContentError::Internal)?;
        let is_running = |id: &str| running.contains(id);
        let options = RemoveOptions { force: false, is_running: &is_running, mounted_at: &*self.mounts };
        let forgotten = self.store.release(Durability::Full, |writer| {
            let rows = Rows::read(writer, &name)?;
            let is_meant = |known: &&Name| match target {
                Target::Tag(tag) => known.reference.tag() == Some(tag),
                Target::Digest(digest) => known.manifest == *digest,
            };
            let meant: Vec<&Name> = rows.names.iter().filter(is_meant).collect();
            for name in &meant {
                forget_name(writer, name, &options)?;
            }
            match target {
                Target::Tag(_) if meant.is_empty() => return Err(ForgetError::Unknown),
                Target::Tag(_) => {}
                Target::Digest(digest) => self.forget_digest(writer, &name, (&rows, digest))?,
            }
            Ok(meant.iter().map(|name| name.reference.familiar()).collect::<Vec<_>>())
        });
        let untagged = forgotten.map_err(|e| match e {
            ForgetError::Unknown => {
                ContentError::ManifestUnknown { repository: repository.clone(), target: target.clone() }
            }
            ForgetError::InIndex
            | ForgetError::Remove(
                RemoveError::ReferenceInUse { .. } | RemoveError::InUse { .. } | RemoveError::Mounted { .. },
            ) => ContentError::InUse { target: target.clone(), source: e.into() },
            ForgetError::Remove(e) => trouble(e),
            ForgetError::Database(e) => trouble(e),
            ForgetError::Store(e) => trouble(e),
        })?;
        untagged.iter().for_each(|name| (self.told)("untag", name));
        if let Target::Digest(digest) = target {
            (self.told)("delete", &digest.to_string());
        }
        self.images().collect().map(Collected::finish).map_err(trouble)
    }

    /// Forgets the manifest `digest`, which no name of the repository has any more.
    fn forget_digest(
        &self,
        writer: &Writer<'_>,
        repository: &str,
        (before, digest): (&Rows, &Digest),
    ) -> Result<(), ForgetError> {
        if before.find_manifest(&self.store, digest).is_none() {
            return Err(ForgetError::Unknown);
        }
        db::manifests::remove(writer, repository, digest)?;
        if Rows::read(writer, repository)?.find_manifest(&self.store, digest).is_some() {
            return Err(ForgetError::InIndex);
        }
        // An image that came by its digest has no other name to go with.
        let Some(image) = before.kept(digest).and_then(|kept| kept.image) else { return Ok(()) };
        let Some(image) = db::images::get(writer, &image)? else { return Ok(()) };
        let is_wanted = !db::images::references_of(writer, &image.id)?.is_empty()
            || !db::manifests::of_image(writer, &image.id)?.is_empty()
            || !db::containers::using_image(writer, &image.id)?.is_empty()
            || (self.mounts)(&image.id).is_some();
        if !is_wanted {
            delete(writer, &image, Vec::<Reference>::new())?;
        }
        Ok(())
    }

    /// Forgets a blob that waits for its manifest; one that is part of a manifest stays.
    pub(super) fn forget_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), ContentError> {
        if self.look_into(repository)?.leads_to_blob(&self.store, digest) {
            return Err(ContentError::BlobInUse(*digest));
        }
        let (was_there, is_elsewhere) = self.uploaded.remove(&whole_name(repository)?, digest);
        if !was_there {
            return Err(ContentError::BlobUnknown { repository: repository.clone(), digest: *digest });
        }
        if is_elsewhere {
            return Ok(());
        }
        self.images().take_back(&[*digest]).map_err(trouble)
    }
}

fn forget_name(writer: &Writer<'_>, name: &Name, options: &RemoveOptions<'_>) -> Result<(), ForgetError> {
    let image = name.image.map(|id| db::images::get(writer, &id)).transpose()?.flatten();
    match image {
        Some(image) => Ok(remove_reference(writer, &image, &name.reference, options)?),
        None => Ok(db::manifests::untag(writer, &name.reference).map(drop)?),
    }
}

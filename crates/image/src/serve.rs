//! A store's images as the content of a registry.
//!
//! A repository has what its names and its kept manifests lead to, and what was uploaded to it lately. Content that no
//! repository leads to, such as a build's intermediate layers, is not to be had although its digest may be known.
//!
//! An uploaded blob is held until a manifest names it. Which repository it was uploaded to is known to this process alone:
//! a push that a restart interrupts uploads again.

mod accept;
mod find;
mod forget;
mod index;
mod unpack;
mod uploaded;

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::path::PathBuf;

use oci::{Digest, Reference};
use registry::server::Content;
use registry::server::content::{
    ContentError, KeptBlob, KeptManifest, NewManifest, Referrers, ReferrersPage, RepositoryName, Target,
};
use store::db;
use store::{DatabaseError, Store, StoreError};

use crate::Images;
use uploaded::{Uploaded, Uploading};

/// Tells which containers (by id) run now.
pub type RunningContainers =
    Box<dyn Fn() -> Result<HashSet<String>, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// Tells where an image is mounted.
pub type Mounts = Box<dyn Fn(&Digest) -> Option<PathBuf> + Send + Sync>;

/// Is told what clients did, as a word of Docker's events, and to which name or digest.
pub type Told = Box<dyn Fn(&str, &str) + Send + Sync>;

/// The images of a store, served.
pub struct Serving {
    store: Store,
    running: RunningContainers,
    mounts: Mounts,
    told: Told,
    uploaded: Uploaded,
}

impl Serving {
    /// `running` and `mounts` are asked when somebody removes an image: one that runs or is mounted is not removed.
    pub fn new(store: Store, running: RunningContainers, mounts: Mounts, told: Told) -> Self {
        Self { store, running, mounts, told, uploaded: Uploaded::default() }
    }

    fn images(&self) -> Images<'_> {
        Images::new(&self.store)
    }
}

impl Content for Serving {
    type Upload = Uploading;

    fn repositories(&self) -> Result<Vec<String>, ContentError> {
        let (references, manifests) = self
            .store
            .database()
            .read(|reader| Ok((db::images::references(reader)?, db::manifests::list(reader)?)))
            .map_err(trouble::<DatabaseError>)?;
        let kept = manifests.iter().filter_map(|kept| Reference::parse(&kept.repository).ok());
        let names = references.iter().map(|(reference, _)| reference.repository());
        let names: BTreeSet<String> = names.chain(kept.map(|reference| reference.repository())).collect();
        // `localhost:5000/app` cannot be asked for: the specification's names have no colon.
        Ok(names.into_iter().filter(|name| RepositoryName::parse(name).is_some()).collect())
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, ContentError> {
        let found = self.look_into(repository)?;
        if found.is_empty() {
            return Err(ContentError::NameUnknown(repository.clone()));
        }
        let mut tags: Vec<String> =
            found.names.iter().filter_map(|name| name.reference.tag().map(str::to_owned)).collect();
        tags.sort();
        Ok(tags)
    }

    fn manifest(&self, repository: &RepositoryName, target: &Target) -> Result<KeptManifest, ContentError> {
        self.find_manifest(repository, target)
    }

    fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<KeptBlob, ContentError> {
        let unknown = || ContentError::BlobUnknown { repository: repository.clone(), digest: *digest };
        if !self.has_blob(repository, digest)? {
            return Err(unknown());
        }
        match self.store.blobs().open(digest) {
            Ok(file) => {
                let size = file.metadata().map_err(|e| ContentError::Internal(e.into()))?.len();
                Ok(KeptBlob { file, size })
            }
            Err(StoreError::Missing(_)) => Err(unknown()),
            Err(e) => Err(trouble(e)),
        }
    }

    fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        page: &ReferrersPage<'_>,
    ) -> Result<Referrers, ContentError> {
        self.find_referrers(repository, subject, page)
    }

    fn begin_upload(&self) -> Result<Uploading, ContentError> {
        self.store.blobs().ingest().map(Uploading).map_err(trouble)
    }

    fn finish_upload(
        &self,
        repository: &RepositoryName,
        upload: Uploading,
        expected: &Digest,
    ) -> Result<(), ContentError> {
        let name = whole_name(repository)?;
        let _lock = self.store.lock_shared().map_err(trouble)?;
        let _making = self.store.tmp_dir("making").map_err(trouble)?;
        match upload.0.commit(Some(expected)) {
            Ok(_) => self.hold(name, expected),
            Err(StoreError::Mismatch { expected, found }) => Err(ContentError::Mismatch { expected, found }),
            Err(e) => Err(trouble(e)),
        }
    }

    fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, ContentError> {
        let name = whole_name(to)?;
        let _lock = self.store.lock_shared().map_err(trouble)?;
        if !self.has_blob(from, digest)? || !self.store.blobs().contains(digest) {
            return Ok(false);
        }
        self.hold(name, digest)?;
        Ok(true)
    }

    fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: NewManifest<'_>,
    ) -> Result<Option<Digest>, ContentError> {
        self.accept_manifest(repository, manifest)
    }

    fn remove_manifest(&self, repository: &RepositoryName, target: &Target) -> Result<(), ContentError> {
        self.forget_manifest(repository, target)
    }

    fn remove_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), ContentError> {
        self.forget_blob(repository, digest)
    }

    fn tidy(&self) -> Result<(), ContentError> {
        self.forget_old_uploads()
    }
}

/// The whole name of a repository, as rows have it: what a user of this host would type.
fn whole_name(repository: &RepositoryName) -> Result<String, ContentError> {
    Ok(reference(repository)?.name())
}

fn reference(repository: &RepositoryName) -> Result<Reference, ContentError> {
    Reference::parse(repository.as_str()).map_err(|_| ContentError::NameInvalid(repository.clone()))
}

/// A failure that is not the client's fault.
fn trouble<E: Error + Send + Sync + 'static>(error: E) -> ContentError {
    match diag::is_full(&error) {
        true => ContentError::Full(error.into()),
        false => ContentError::Internal(error.into()),
    }
}

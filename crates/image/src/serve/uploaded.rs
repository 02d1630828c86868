//! Blobs that were uploaded and that no manifest names yet.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use oci::Digest;
use registry::server::ContentError;
use registry::server::content::Upload;
use store::{DatabaseError, Durability, Ingest, PARTIAL_LIFETIME, db};

use super::{Serving, trouble};

/// A blob on its way. It has no name, so that nothing is left of it when this process is killed.
pub struct Uploading(pub(super) Ingest);

impl Write for Uploading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Upload for Uploading {
    fn size(&self) -> u64 {
        self.0.size()
    }
}

/// Which repository (by its whole name) each of them was uploaded to.
#[derive(Default)]
pub struct Uploaded(Mutex<HashMap<(String, Digest), Instant>>);

impl Uploaded {
    pub fn contains(&self, repository: &str, digest: &Digest) -> bool {
        self.with(|blobs| blobs.contains_key(&(repository.to_owned(), *digest)))
    }

    pub fn insert(&self, repository: String, digest: Digest) {
        self.with(|blobs| {
            blobs.insert((repository, digest), Instant::now());
        });
    }

    /// Whether it was there, and whether it still is in another repository.
    pub fn remove(&self, repository: &str, digest: &Digest) -> (bool, bool) {
        self.with(|blobs| {
            let was_there = blobs.remove(&(repository.to_owned(), *digest)).is_some();
            (was_there, blobs.keys().any(|(_, other)| other == digest))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<(String, Digest), Instant>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Serving {
    /// Keeps a blob for a repository until a manifest names it.
    pub(super) fn hold(&self, repository: String, digest: &Digest) -> Result<(), ContentError> {
        self.images().hold_blob(digest).map_err(trouble)?;
        self.uploaded.insert(repository, *digest);
        Ok(())
    }

    /// Gives up what has waited for too long.
    pub(super) fn forget_old_uploads(&self) -> Result<(), ContentError> {
        self.uploaded.with(|blobs| blobs.retain(|_, since| since.elapsed() < PARTIAL_LIFETIME));
        let lock = self.store.lock_shared().map_err(trouble)?;
        let ended = self.store.database().write_removal(Durability::Relaxed, |writer| {
            db::manifests::forget_ended_holds(writer, db::now_ns())
        });
        let ended: Result<bool, DatabaseError> = ended;
        if ended.map_err(trouble)? {
            self.store.mark_pending().map_err(trouble)?;
            drop(lock);
            self.images().collect().map_err(trouble)?.finish();
        }
        Ok(())
    }
}

//! Layer trees in overlayfs' own format: `snapshots/<diffid hex>/`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci::DiffId;
use sys::fs::{FileLock, LockKind};

use crate::blobs::list_hex_names;
use crate::{ExclusiveLock, Store, StoreError, TempDir};

/// The snapshots of a store.
#[derive(Clone, Copy)]
pub struct Snapshots<'a> {
    store: &'a Store,
}

impl<'a> Snapshots<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The layer's tree, whether it exists or not; the directory itself is the lowerdir.
    pub fn path(&self, diff_id: &DiffId) -> PathBuf {
        self.store.data().join("snapshots").join(diff_id.0.hex())
    }

    pub fn contains(&self, diff_id: &DiffId) -> bool {
        self.path(diff_id).exists()
    }

    /// What stands for a layer while it is on its way: a symbolic link that a lazy pull makes.
    pub fn lazy_link(&self, diff_id: &DiffId) -> PathBuf {
        self.store.run().join("lazy").join(diff_id.0.hex())
    }

    /// A lock that whoever serves the layer while it is on its way holds exclusively.
    pub fn lazy_lock(&self, diff_id: &DiffId) -> PathBuf {
        self.lazy_link(diff_id).with_extension("lock")
    }

    /// The layer's lowerdir: its tree, or what stands for it.
    pub fn lower_dir(&self, diff_id: &DiffId) -> PathBuf {
        let path = self.path(diff_id);
        if !path.exists() {
            let link = self.lazy_link(diff_id);
            // A filesystem whose server was killed looks alive as long as nothing new is asked of it.
            let dead = || {
                FileLock::try_acquire(self.lazy_lock(diff_id), LockKind::Shared).is_ok_and(|l| l.is_some())
            };
            if link.is_symlink() && !dead() {
                return link;
            }
        }
        path
    }

    /// The lowerdirs of an image, topmost layer first as overlayfs wants them; `diff_ids` has the base first.
    pub fn lower_dirs(&self, diff_ids: &[DiffId]) -> Vec<PathBuf> {
        diff_ids.iter().rev().map(|diff_id| self.lower_dir(diff_id)).collect()
    }

    /// Begins a tree; it is removed again unless committed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn stage(&self) -> Result<Staged, StoreError> {
        let tmp = self.store.tmp_dir("snapshot")?;
        let path = tmp.path().join("tree");
        // Not less than that, whatever the caller's mask: it is the mode of the image's root.
        std::fs::create_dir(&path)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .map_err(|e| StoreError::io("create", &path, e))?;
        Ok(Staged { path, tmp: Some(tmp), snapshots: self.store.data().join("snapshots") })
    }

    /// Takes a finished tree on the same filesystem, such as a container's upper directory.
    pub fn adopt(&self, tree: &Path) -> Staged {
        Staged { path: tree.to_owned(), tmp: None, snapshots: self.store.data().join("snapshots") }
    }

    /// Takes a snapshot that no row names out of sight and returns what removes it; the collector's business.
    pub(crate) fn detach(&self, diff_id: &DiffId) -> Result<TempDir, StoreError> {
        let path = self.path(diff_id);
        let tmp = self.store.tmp_dir("removed")?;
        match std::fs::rename(&path, tmp.path().join("tree")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, e)),
            _ => Ok(tmp),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<DiffId>, StoreError> {
        Ok(list_hex_names(self.store.data().join("snapshots"))?.into_iter().map(DiffId).collect())
    }
}

/// A tree on its way to becoming a snapshot.
pub struct Staged {
    path: PathBuf,
    tmp: Option<TempDir>,
    snapshots: PathBuf,
}

impl Staged {
    /// The tree's root directory, to be filled.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the finished tree into place. One that exists already is kept instead: it is the same.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(self, diff_id: &DiffId) -> Result<(), StoreError> {
        let target = self.snapshots.join(diff_id.0.hex());
        match sys::fs::rename_noreplace(self.path.as_path(), target.as_path()) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(StoreError::io("create", target, e)),
        }
        drop(self.tmp);
        Ok(())
    }

    /// Puts the finished tree in the place of a damaged snapshot, or of a missing one, in one step; the damaged one is deleted.
    ///
    /// Mounts of the old tree keep it: the caller makes sure that there are none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn replace(self, diff_id: &DiffId, _lock: &ExclusiveLock) -> Result<(), StoreError> {
        let target = self.snapshots.join(diff_id.0.hex());
        match sys::fs::exchange(self.path.as_path(), target.as_path()) {
            Ok(()) => {
                drop(self.tmp);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.commit(diff_id),
            Err(e) => Err(StoreError::io("replace", target, e)),
        }
    }
}

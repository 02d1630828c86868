//! Temporary directories that outlive nobody: each has a lock file beside it that its maker holds.
//!
//! Order matters. The lock is made and held before the directory exists, and removed after it is gone; therefore a directory
//! whose lock nobody holds, or that has no lock at all, belongs to nobody.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sys::fs::{FileLock, LockKind};

use crate::StoreError;

/// A directory under `tmp/`; removed with everything in it when dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: FileLock,
}

impl TempDir {
    pub(crate) fn create(tmp: &Path, prefix: &str) -> Result<Self, StoreError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = tmp.join(format!("{prefix}-{}-{serial}", std::process::id()));
            let lock_path = tmp.join(format!("{prefix}-{}-{serial}.lock", std::process::id()));
            let io = |action| move |e| StoreError::io(action, tmp, e);
            let Some(lock) = FileLock::try_acquire(&lock_path, LockKind::Exclusive).map_err(io("lock"))?
            else {
                // A process of another pid namespace with our number, or a reconcile looking at what we just made.
                continue;
            };
            if !is_current(&lock, &lock_path) {
                continue;
            }
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, lock_path, _lock: lock }),
                // Left by a killed process with our number, now under our lock.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    sys::fs::remove_tree(&path).map_err(io("clean"))?;
                    std::fs::create_dir(&path).map_err(io("create in"))?;
                    return Ok(Self { path, lock_path, _lock: lock });
                }
                Err(e) => return Err(StoreError::io("create", &path, e)),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed by a later reconcile, which needs the lock file gone or free.
        if sys::fs::remove_tree(&self.path).is_ok() {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// Whether `lock` is still the file that `path` names: a reconcile may have removed it before we held it.
pub(crate) fn is_current(lock: &FileLock, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (sys::fs::stat(lock), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Removes what no living process holds, after telling `found`.
pub(crate) fn reconcile(tmp: &Path, found: impl Fn() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(tmp).map_err(|e| StoreError::io("read", tmp, e))?;
    for entry in entries {
        let path = entry.map_err(|e| StoreError::io("read", tmp, e))?.path();
        let (directory, lock_path) = match path.extension() {
            Some(extension) if extension == "lock" => (path.with_extension(""), path),
            _ => {
                let lock = PathBuf::from(format!("{}.lock", path.display()));
                if lock.exists() {
                    continue;
                }
                (path, lock)
            }
        };
        // Errors here are not the caller's: somebody else removed it, or will meet the same trouble when it matters.
        match FileLock::try_existing(&lock_path, LockKind::Exclusive) {
            Ok(Some(lock)) if is_current(&lock, &lock_path) => {
                found()?;
                if sys::fs::remove_tree(&directory).is_ok() {
                    let _ = std::fs::remove_file(&lock_path);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let _ = sys::fs::remove_tree(&directory);
            }
            _ => {}
        }
    }
    Ok(())
}

//! Blobs on their way here from somewhere that can be asked again: `partial/<hex>`.
//!
//! Such a file has the beginning of its blob, and whoever fetches it holds its lock. It outlives a killed writer: the next one
//! goes on where that one ended. What it holds is proven only when the whole blob has been hashed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci::Digest;
use sys::fs::{FileLock, LockKind, OFlags};

use crate::blobs::Blobs;
use crate::disk::disk_bytes;
use crate::{ExclusiveLock, Store, StoreError};

/// How long the beginning of a blob is kept for somebody to go on with.
pub const PARTIAL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The beginning of a blob, and the right to add to it.
pub struct Partial {
    path: PathBuf,
    target: PathBuf,
    /// For writing; the lock has a descriptor of its own.
    file: File,
    _lock: FileLock,
    /// Bytes that were there before.
    present: u64,
    /// Bytes that were passed to `write`, those that were there before included.
    position: u64,
}

impl Blobs<'_> {
    /// Takes up a blob; `None` when it is here. Waits for whoever is fetching the same one.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn partial(&self, digest: &Digest) -> Result<Option<Partial>, StoreError> {
        let path = directory(self.store()).join(digest.hex());
        let io = |e| StoreError::io("open", &path, e);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW;
            let opened = match sys::fs::open(&path, flags, 0o600) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    crate::make_private(&directory(self.store()))?;
                    continue;
                }
                other => other.map_err(io)?,
            };
            let file: File = opened.try_clone().map_err(io)?.into();
            let lock = FileLock::wait(opened, LockKind::Exclusive).map_err(io)?;
            if !crate::tmp::is_current(&lock, &path) {
                // Its holder gave it a name, or up.
                continue;
            }
            if self.contains(digest) {
                let _ = std::fs::remove_file(&path);
                return Ok(None);
            }
            let present = file.metadata().map_err(io)?.len();
            let target = self.path(digest);
            return Ok(Some(Partial { path, target, file, _lock: lock, present, position: 0 }));
        }
    }
}

impl Partial {
    /// Bytes that were there when it was taken up.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Reads what was there when it was taken up.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn reader(&self) -> Result<impl Read + Send + use<>, StoreError> {
        let file = File::open(&self.path).map_err(|e| StoreError::io("open", &self.path, e))?;
        Ok(file.take(self.present))
    }

    /// The digest of everything that is there now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn digest(&self) -> Result<Digest, StoreError> {
        let mut hasher = oci::Hasher::new();
        File::open(&self.path)
            .and_then(|mut file| io::copy(&mut file, &mut hasher))
            .map_err(|e| StoreError::io("read", &self.path, e))?;
        Ok(hasher.finish())
    }

    /// Forgets what was there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn restart(&mut self) -> Result<(), StoreError> {
        (self.present, self.position) = (0, 0);
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|e| StoreError::io("empty", &self.path, e))?;
        Ok(())
    }

    /// Gives the blob its name; the caller has hashed exactly what is there. Who waits for the blob waits until this is done.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(self) -> Result<(), StoreError> {
        std::fs::rename(&self.path, &self.target).map_err(|e| StoreError::io("create", &self.target, e))
    }

    /// Removes it.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Takes the blob from its beginning; what is there already is passed over.
impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let known = self.present.saturating_sub(self.position);
        let written = match usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len()) {
            0 => {
                if self.position == self.present {
                    self.file.seek(SeekFrom::Start(self.present))?;
                }
                self.file.write(bytes)?
            }
            passed => passed,
        };
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn directory(store: &Store) -> PathBuf {
    store.data().join("partial")
}

impl Store {
    /// Removes the beginnings of blobs that interrupted pulls have left, however young. Returns the bytes given back.
    pub fn discard_partials(&self, _lock: &ExclusiveLock) -> u64 {
        remove_older(self, Duration::ZERO)
    }
}

/// Removes what nobody has gone on with; nobody is fetching when this is called. Returns the bytes given back.
pub(crate) fn collect(store: &Store) -> u64 {
    remove_older(store, PARTIAL_LIFETIME)
}

fn remove_older(store: &Store, lifetime: Duration) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory(store)) else { return 0 };
    let is_old = |path: &Path| {
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > lifetime))
    };
    let old = entries.flatten().map(|entry| entry.path()).filter(|path| is_old(path));
    old.filter_map(|path| {
        let bytes = disk_bytes(&path);
        std::fs::remove_file(&path).ok().map(|()| bytes)
    })
    .sum()
}

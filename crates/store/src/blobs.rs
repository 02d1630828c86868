//! Content-addressed blobs: `blobs/sha256/<hex>`.
//!
//! A blob is written to an unnamed file (O_TMPFILE) and gets its name once its digest is known, so a killed writer leaves
//! nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use oci::{Digest, Hasher};
use sys::fs::{CWD, OFlags};

use crate::{Store, StoreError};

/// The blobs of a store.
#[derive(Clone, Copy)]
pub struct Blobs<'a> {
    store: &'a Store,
}

impl<'a> Blobs<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    fn directory(&self) -> PathBuf {
        self.store.data().join("blobs/sha256")
    }

    /// Where the blob is, whether it exists or not.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory().join(digest.hex())
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Stores `bytes` and returns their digest; nothing is written when they are there already.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            let mut ingest = self.ingest()?;
            ingest.write_all(bytes).map_err(|e| StoreError::io("write to", self.directory(), e))?;
            ingest.commit(Some(&digest))?;
        }
        Ok(digest)
    }

    /// Begins a blob whose digest is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn ingest(&self) -> Result<Ingest, StoreError> {
        let directory = self.directory();
        let file = sys::fs::open(&directory, OFlags::TMPFILE | OFlags::RDWR, 0o600)
            .map_err(|e| StoreError::io("create a file in", &directory, e))?;
        Ok(Ingest { file: file.into(), directory, hasher: Some(Hasher::new()), size: 0 })
    }

    /// # Errors
    /// [`StoreError::Missing`] when there is no such blob.
    pub fn open(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(*digest),
            _ => StoreError::io("open", path, e),
        })
    }

    /// Reads a whole blob; for manifests and configs.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such blob.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.path(digest);
        std::fs::read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(*digest),
            _ => StoreError::io("read", path, e),
        })
    }

    /// # Errors
    /// [`StoreError::Missing`] when there is no such blob.
    pub fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        let path = self.path(digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing(*digest)),
            Err(e) => Err(StoreError::io("read", path, e)),
        }
    }

    /// Gives a blob its name although something has it: what is there is not what its name says.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when the bytes are not those of `expected`; what was there stays then.
    ///
    /// # Panics
    /// After [`Ingest::without_hashing`].
    pub fn replace(&self, ingest: Ingest, expected: &Digest) -> Result<(), StoreError> {
        let Ingest { file, hasher, .. } = ingest;
        let found = hasher.expect("this blob is hashed while it is written").finish();
        if found != *expected {
            return Err(StoreError::Mismatch { expected: *expected, found });
        }
        // A file without a name cannot take one that exists.
        let tmp = self.store.tmp_dir("blob")?;
        let (named, path) = (tmp.path().join("blob"), self.path(expected));
        sys::fs::link_open_file(&file, CWD, named.as_path())
            .and_then(|()| std::fs::rename(&named, &path))
            .map_err(|e| StoreError::io("replace", path, e))
    }

    /// Removes a blob that no row names; the collector's business.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Digest>, StoreError> {
        list_hex_names(self.directory())
    }
}

/// The digests that name the entries of a directory.
pub(crate) fn list_hex_names(directory: PathBuf) -> Result<Vec<Digest>, StoreError> {
    let io = |e| StoreError::io("read", &directory, e);
    let mut digests = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        digests.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()));
    }
    Ok(digests)
}

/// A blob being written; it has no name until [`Ingest::commit`].
pub struct Ingest {
    file: File,
    directory: PathBuf,
    /// `None` when the caller computes the digest itself.
    hasher: Option<Hasher>,
    size: u64,
}

impl Ingest {
    /// Leaves the hashing to the caller, who passes these bytes through a hasher anyway and ends with
    /// [`Ingest::commit_hashed`].
    pub fn without_hashing(mut self) -> Self {
        self.hasher = None;
        self
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives the blob its name and returns its digest and size.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when the bytes are not those of `expected`.
    ///
    /// # Panics
    /// After [`Ingest::without_hashing`], which is for [`Ingest::commit_hashed`].
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let found = self.hasher.take().expect("this blob's digest is computed by its writer").finish();
        match expected {
            Some(&expected) if expected != found => Err(StoreError::Mismatch { expected, found }),
            _ => self.commit_hashed(found),
        }
    }

    /// Gives the blob its name; `digest` was computed by the caller over exactly the bytes written here.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit_hashed(self, digest: Digest) -> Result<(Digest, u64), StoreError> {
        let path = self.directory.join(digest.hex());
        match sys::fs::link_open_file(&self.file, CWD, path.as_path()) {
            // Somebody else brought the same bytes meanwhile.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok((digest, self.size)),
            Err(e) => Err(StoreError::io("create", path, e)),
            Ok(()) => Ok((digest, self.size)),
        }
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

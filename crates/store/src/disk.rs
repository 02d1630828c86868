//! Bytes on the disk, as du(1) counts them: blocks, and those of directories too.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci::{DiffId, Digest};

use crate::{Store, StoreError, Usage};

/// What each piece of content occupies.
#[derive(Debug, Default)]
pub struct ContentBytes {
    pub blobs: HashMap<Digest, u64>,
    pub snapshots: HashMap<DiffId, u64>,
    /// The beginnings of blobs that are being fetched, or were.
    pub partial: u64,
}

impl ContentBytes {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.blobs.values().chain(self.snapshots.values()).sum::<u64>() + self.partial
    }

    /// What is in `usage`, as far as it is here.
    pub fn of(&self, usage: &Usage) -> u64 {
        let blobs = usage.blobs.iter().filter_map(|digest| self.blobs.get(digest));
        blobs.chain(usage.snapshots.iter().filter_map(|diff_id| self.snapshots.get(diff_id))).sum()
    }
}

impl Store {
    /// Measures all blobs and snapshots, which looks at every file in them.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn content_bytes(&self) -> Result<ContentBytes, StoreError> {
        let blobs =
            self.blobs().list()?.into_iter().map(|digest| (digest, disk_bytes(&self.blobs().path(&digest))));
        let snapshots = self.snapshots().list()?.into_iter();
        let snapshots = snapshots.map(|diff_id| (diff_id, disk_bytes(&self.snapshots().path(&diff_id))));
        Ok(ContentBytes {
            blobs: blobs.collect(),
            snapshots: snapshots.collect(),
            partial: disk_bytes_in(&self.data().join("partial")),
        })
    }
}

/// Bytes that `path` and what is below it occupy. A file with several names counts once; what cannot be read, or is not there, not
/// at all.
pub fn disk_bytes(path: &Path) -> u64 {
    // Blocks have 512 bytes, whatever the file system's are; see stat(2).
    sum(path, &|metadata| metadata.blocks() * 512)
}

/// Bytes of the files at and below `path` by their length, counted as [`disk_bytes`] counts.
pub fn file_bytes(path: &Path) -> u64 {
    sum(path, &|metadata| if metadata.is_dir() { 0 } else { metadata.len() })
}

fn sum(path: &Path, bytes: &dyn Fn(&Metadata) -> u64) -> u64 {
    let Ok(root) = fs::symlink_metadata(path) else { return 0 };
    let mut total = bytes(&root);
    let mut seen = HashSet::new();
    let mut pending = if root.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            total += bytes(&metadata);
        }
    }
    total
}

/// Bytes that all that is in a directory occupies.
pub fn disk_bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| disk_bytes(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_du_says() {
        let base = std::env::temp_dir().join(format!("store-disk-{}", std::process::id()));
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/file"), vec![1; 10_000]).unwrap();
        fs::hard_link(base.join("a/file"), base.join("a/b/again")).unwrap();
        std::os::unix::fs::symlink("nowhere", base.join("link")).unwrap();
        fs::File::create(base.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let du = std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(&base).output().unwrap();
        let du = String::from_utf8(du.stdout).unwrap();
        assert_eq!(du.split_whitespace().next(), Some(&*disk_bytes(&base).to_string()));
        assert_eq!(file_bytes(&base), 10_000 + "nowhere".len() as u64 + (1 << 30));
        assert_eq!(disk_bytes(&base.join("missing")), 0);
        fs::remove_dir_all(&base).unwrap();
    }
}

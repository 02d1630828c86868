//! Disk usage of trees.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that the tree at `path` occupies by file length; files with several names count once, what cannot be read not at all.
pub fn tree_bytes(path: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut pending = vec![path.to_owned()];
    let mut total = 0;
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                total += metadata.len();
            }
        }
    }
    total
}

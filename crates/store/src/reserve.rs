//! Room to remove things on a full disk.
//!
//! To forget a container the database must write a little, and a directory of a snapshot is moved into a new one before it
//! is deleted. Where not one block is free neither works, and nothing that is stored could ever be removed. So a file holds
//! blocks that nobody needs; whoever removes something gives them up when there are no others, and takes them back afterwards.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sys::fs::OFlags;

/// Enough for the transaction of the largest prune; the write-ahead log is folded back after a quarter of it.
const SIZE_BYTES: u64 = 1 << 20;

/// In which it is filled up. What a removal used for the log is missing in the next reserve until the log is folded back.
const STEP_BYTES: u64 = 32 << 10;

/// The file `reserve` of a data root.
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub fn new(data: &Path) -> Self {
        Self { path: data.join("reserve") }
    }

    /// Does `work`, and once more with the reserve given back to the filesystem when the disk was too full for it.
    pub fn spend<T, E: Error + 'static>(&self, mut work: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        match work() {
            Err(error) if diag::is_full(&error) => {
                // Without a reserve somebody else may just have given it up for us, too.
                let _ = std::fs::remove_file(&self.path);
                work()
            }
            done => done,
        }
    }

    /// Fills the reserve up as far as there is room. One that cannot be had now is tried for by the next removal.
    pub fn keep(&self) {
        // Not the length: a file that grew into a full disk may be longer than what it got.
        let held = |metadata: std::fs::Metadata| metadata.blocks() * 512;
        if std::fs::metadata(&self.path).map(held).unwrap_or(0) >= SIZE_BYTES {
            return;
        }
        let Ok(file) = sys::fs::open(self.path.as_path(), OFlags::WRONLY | OFlags::CREATE, 0o600) else {
            return;
        };
        let mut size = SIZE_BYTES;
        while size > 0 && sys::fs::allocate(&file, size).is_err_and(|e| diag::is_full(&e)) {
            size -= STEP_BYTES;
        }
    }
}

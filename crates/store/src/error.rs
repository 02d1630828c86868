//! What can go wrong with content on disk.

use std::io;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use oci::Digest;

use crate::db::DatabaseError;

/// A failed operation on blobs, snapshots or temporary files.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("content {0} is missing from the store")]
    Missing(Digest),
    /// What arrived is not what was announced.
    #[error("wrong content: expected {expected}, got {found}")]
    Mismatch { expected: Digest, found: Digest },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl StoreError {
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Diagnose for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } => Class::of_io(source),
            Self::Missing(_) => Class::Internal,
            Self::Mismatch { .. } => Class::Invalid,
            Self::Database(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("run as root, or choose another root with `--root`".to_owned())
                }
                _ => None,
            },
            Self::Missing(_) => Some(
                "mend it with `hull image check --repair`, or remove the image and pull, load or build it again"
                    .to_owned(),
            ),
            Self::Mismatch { .. } => None,
            Self::Database(e) => e.hint(),
        }
    }
}

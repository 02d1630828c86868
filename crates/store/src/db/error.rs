//! Failures of the database itself.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

/// A transaction could not be made, or a row is not what this version writes.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("cannot {action} the database {}", path.display())]
    File { action: &'static str, path: PathBuf, source: rusqlite::Error },
    /// As an I/O error, which is what it is; SQLite's own text names neither the cause nor the number.
    #[error("cannot {action}")]
    Full { action: String, source: io::Error },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot access table {table:?}")]
    Table { table: &'static str, source: rusqlite::Error },
    #[error("the database {} has schema version {found}, this program knows versions up to {known}", path.display())]
    TooNew { path: PathBuf, found: i64, known: i64 },
}

impl DatabaseError {
    /// For `map_err` on a statement over `table`.
    pub(crate) fn table(table: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::full(format!("write table {table:?}")),
            _ => Self::Table { table, source },
        }
    }

    /// For a failed `action` on the whole of the database at `path`.
    pub(crate) fn file(action: &'static str, path: PathBuf, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                Self::full(format!("{action} the database {}", path.display()))
            }
            _ => Self::File { action, path, source },
        }
    }

    fn full(action: String) -> Self {
        const ENOSPC: i32 = 28;
        Self::Full { action, source: io::Error::from_raw_os_error(ENOSPC) }
    }
}

impl Diagnose for DatabaseError {
    fn class(&self) -> Class {
        use rusqlite::ErrorCode;
        match self {
            Self::File { source, .. } | Self::Table { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Class::Denied,
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Class::Unavailable,
                _ => Class::Internal,
            },
            Self::Lock { source, .. } | Self::Full { source, .. } => Class::of_io(source),
            Self::TooNew { .. } => Class::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } => Some("use the newer hull that last wrote it".to_owned()),
            _ if self.class() == Class::Denied => {
                Some("run as root, or choose another root with `--root`".to_owned())
            }
            _ => None,
        }
    }
}

//! Container logs in Docker's `json-file` format, turned over by size.
//!
//! ```text
//! container.log      being written
//! container.log.1    the one before, and so on up to .<max_files - 1>
//! ```
//!
//! A line is `{"log":"text\n","stream":"stdout","time":"2026-11-23T18:36:01.000000000Z"}`. Text without a line end is a
//! part of a line: lines beyond 16 KiB are cut as Docker cuts them. Nothing is held back between two writes of the
//! container but an unfinished line, so a killed monitor loses no finished one.

mod reader;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use reader::{Follow, LogLine, Query, Reader, Step, read};
pub use writer::{LogError, LogWriter};

/// The size at which a log file is turned over unless the user says otherwise.
///
/// Docker's own default is no limit, the most common way its hosts fill up; 20 MiB x 5 keeps some hundred thousand lines.
pub const DEFAULT_MAX_BYTES: u64 = 20 * 1024 * 1024;
/// How many files are kept unless the user says otherwise, the current one included.
pub const DEFAULT_MAX_FILES: u32 = 5;

/// Where a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The `n`th file of the log at `path`; 0 is the one being written.
fn file_path(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

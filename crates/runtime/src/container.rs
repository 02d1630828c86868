//! Containers that other engines drive, one command at a time: what `hull oci` is made of.
//!
//! Each has a directory below the root that the caller chose, gone with the container and, being on a tmpfs, with a reboot:
//!
//! ```text
//! <root>/<id>/state.json    what is known of it (`record.rs`), replaced in one step
//!             config.json   its configuration as it was when it was created
//!             gate          the socket where its first process waits to be started
//!             lock          held by the command that is changing the container, and nobody else
//! ```
//!
//! Nothing says which status it has: that follows from what is the case (`status.rs`), so that no killed command can leave a lie.
//! A directory is prepared under another name (`.<id>.<pid>`), so whatever has the name of a container has a record. The record
//! names the control group before the group exists, and the first process before the container is ready: a `create` that was
//! killed, at whatever point, left only what [`Container::delete`] finds through it.
//!
//! Start reading at `create.rs`.

mod bundle;
mod create;
mod delete;
mod error;
mod exec;
mod group;
mod record;
mod status;
mod steer;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci::runtime::{State, Status};
use sys::fs::ProcessLock;

pub use bundle::Bundle;
pub use create::{Fresh, NewContainer};
pub use error::ContainerError;
pub use exec::NewProcess;
pub use record::{Identity, Record};

/// All containers below one root.
#[derive(Clone, Debug)]
pub struct Containers {
    root: PathBuf,
}

/// A container that has a directory.
#[derive(Debug)]
pub struct Container {
    directory: PathBuf,
    record: Record,
}

/// Longest id; it becomes part of names that the kernel limits to 255 bytes.
const MAX_ID: usize = 150;

impl Containers {
    /// Those below `root`, which is made when it is needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Finds one.
    pub fn load(&self, id: &str) -> Result<Container, ContainerError> {
        let directory = self.directory(id)?;
        match Record::read(&directory)? {
            Some(record) => Ok(Container { directory, record }),
            None => Err(ContainerError::NotFound { id: id.to_owned() }),
        }
    }

    /// Finds all, by id.
    pub fn list(&self) -> Result<Vec<Container>, ContainerError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(|source| ContainerError::Files { path: self.root.clone(), source })?,
        };
        let mut containers = Vec::new();
        for directory in entries.iter().map(fs::DirEntry::path) {
            if directory.file_name().and_then(OsStr::to_str).is_some_and(is_id)
                && let Some(record) = Record::read(&directory)?
            {
                containers.push(Container { directory, record });
            }
        }
        containers.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(containers)
    }

    fn directory(&self, id: &str) -> Result<PathBuf, ContainerError> {
        match is_id(id) {
            true => Ok(self.root.join(id)),
            false => Err(ContainerError::Id { id: id.to_owned() }),
        }
    }

    /// Removes what commands that were killed prepared for `id` and never gave its name.
    pub fn sweep(&self, id: &str) {
        let prefix = format!(".{id}.");
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let is_draft = entry.file_name().to_str().is_some_and(|name| {
                name.strip_prefix(&prefix).is_some_and(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
            });
            let held = ProcessLock::is_held(entry.path().join(LOCK).as_path());
            if is_draft && !matches!(held, Ok(true)) && !is_of_the_living(&entry.path()) {
                // The next command that meets it tries again.
                let _ = sys::fs::remove_tree(&entry.path());
            }
        }
    }
}

/// Whether who prepares `draft` may still be about to lock it.
fn is_of_the_living(draft: &Path) -> bool {
    let pid = draft.extension().and_then(OsStr::to_str).unwrap_or_default();
    Path::new("/proc").join(pid).exists()
}

const LOCK: &str = "lock";
const GATE: &str = "gate";
const CONFIG: &str = "config.json";

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// What is known of it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its state as the specification has it.
    pub fn state(&self) -> Result<State, ContainerError> {
        Ok(self.state_as(self.status()?))
    }

    fn state_as(&self, status: Status) -> State {
        let record = &self.record;
        let alive = !matches!(status, Status::Stopped);
        State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            status,
            bundle: record.bundle.clone(),
            pid: record.process.filter(|_| alive).map(|process| process.pid),
            annotations: record.annotations.clone(),
        }
    }

    /// Waits for other commands on this container to end, and looks again at what they made of it.
    fn lock(&mut self) -> Result<ProcessLock, ContainerError> {
        let gone = |id: &str| ContainerError::NotFound { id: id.to_owned() };
        let lock = match ProcessLock::acquire(self.directory.join(LOCK).as_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(self.id())),
            lock => lock.map_err(|source| self.files(source))?,
        };
        self.record = Record::read(&self.directory)?.ok_or_else(|| gone(self.id()))?;
        Ok(lock)
    }

    fn files(&self, source: io::Error) -> ContainerError {
        ContainerError::Files { path: self.directory.clone(), source }
    }
}

fn is_id(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    (1..=MAX_ID).contains(&id.len()) && !id.starts_with('.') && id.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_and_no_ways() {
        for id in ["a", "web-1_x.y+z", &"x".repeat(MAX_ID)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", ".", "..", ".a", "a/b", "a b", "ä", &"x".repeat(MAX_ID + 1)] {
            assert!(!is_id(id), "{id}");
        }
    }
}

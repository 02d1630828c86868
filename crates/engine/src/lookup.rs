//! From what a user types to a container, and to the truth about its process.

use crate::engine::Engine;
use crate::model::{ContainerId, ContainerState, Health, HealthResult, HealthStatus, Status};
use crate::record::{Container, RecordError};
use diag::{Class, Diagnose};
use monitor::state::{Observed, State, Supervision};
use std::io;
use store::DatabaseError;
use store::db::containers::{self, Found};
use sys::fs::{FileLock, LockKind};

/// Why a container could not be found or looked at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LookupError {
    #[error("No such container: {name}")]
    NotFound { name: String },
    #[error("multiple IDs found with provided prefix: {name}")]
    Ambiguous { name: String },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("cannot read the state of container {name}")]
    State { name: String, source: io::Error },
    #[error("cannot lock container {name}")]
    Lock { name: String, source: io::Error },
}

impl Diagnose for LookupError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::Ambiguous { .. } => Class::Invalid,
            Self::Record(error) => error.class(),
            Self::Database(error) => error.class(),
            Self::State { .. } | Self::Lock { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ambiguous { .. } => Some("give more characters of the id".into()),
            Self::Database(error) => error.hint(),
            _ => None,
        }
    }
}

/// The right to start, change or remove a container, against every other process.
#[must_use = "dropping it lets others in"]
pub(crate) struct ContainerLock(#[allow(dead_code)] FileLock);

impl Engine {
    /// Finds a container by id, name or the beginning of its id.
    pub(crate) fn find(&self, key: &str) -> Result<Container, LookupError> {
        match self.store().database().read(|reader| containers::find(reader, key))? {
            Found::One(row) => Ok(Container::from_row(row)?),
            Found::None => Err(LookupError::NotFound { name: key.to_owned() }),
            Found::Ambiguous => Err(LookupError::Ambiguous { name: key.to_owned() }),
        }
    }

    /// Finds a container and takes its lock; what is returned was read under the lock.
    pub(crate) fn find_locked(&self, key: &str) -> Result<(Container, ContainerLock), LookupError> {
        let id = self.find(key)?.id;
        let lock = self.lock_container(&id)?;
        let row = self.store().database().read(|reader| containers::by_id(reader, id.as_str()))?;
        match row {
            Some(row) => Ok((Container::from_row(row)?, lock)),
            None => {
                // Removed while this waited; the lock made its run directory anew.
                let _ = sys::fs::remove_tree(&self.run_dir(&id));
                Err(LookupError::NotFound { name: key.to_owned() })
            }
        }
    }

    /// Waits for the lock of a container, which lives in its run directory.
    pub(crate) fn lock_container(&self, id: &ContainerId) -> Result<ContainerLock, LookupError> {
        let run_dir = self.run_dir(id);
        let path = run_dir.join("op.lock");
        let error = |source| LookupError::Lock { name: id.to_string(), source };
        loop {
            let lock = match FileLock::acquire(&path, LockKind::Exclusive) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    make_private_dir(&run_dir).map_err(error)?;
                    continue;
                }
                result => result.map_err(error)?,
            };
            // A removal unlinks the file under its own lock: then this is a lock on nothing.
            if is_current(&lock, &path) {
                return Ok(ContainerLock(lock));
            }
        }
    }

    /// The state of a container as a user should believe it; puts things right when its monitor was killed.
    ///
    /// One that removes itself and has ended is gone when this returns, whoever removes it: it is not found any more. Not for
    /// holders of its lock, which the removal takes.
    pub(crate) fn observe(&self, container: &Container) -> Result<Observed, LookupError> {
        let observed = self.look(container)?;
        if is_over(container, &observed) && self.reap(container.id.as_str()).is_ok() {
            return Err(LookupError::NotFound { name: container.name.clone() });
        }
        Ok(observed)
    }

    /// As [`Engine::observe`], for the holder of the container's lock.
    pub(crate) fn observe_locked(
        &self,
        container: &Container,
        _lock: &ContainerLock,
    ) -> Result<Observed, LookupError> {
        let observed = self.look(container)?;
        if is_over(container, &observed) && self.erase(container, true).is_ok() {
            return Err(LookupError::NotFound { name: container.name.clone() });
        }
        Ok(observed)
    }

    /// As [`Engine::observe`], but what has ended stays.
    pub(crate) fn look(&self, container: &Container) -> Result<Observed, LookupError> {
        let (run_dir, data_dir) = (self.run_dir(&container.id), self.data_dir(&container.id));
        let read = || {
            monitor::state::read(&run_dir, &data_dir)
                .map_err(|source| LookupError::State { name: container.name.clone(), source })
        };
        let observed = read()?;
        if observed.supervision == Supervision::Orphaned {
            // What cannot be undone now is tried again by the next look.
            let _ = monitor::recover(&run_dir);
            return read();
        }
        Ok(observed)
    }
}

/// Whether a container has ended that goes away with its end.
fn is_over(container: &Container, observed: &Observed) -> bool {
    container.doc.spec.auto_remove && observed.supervision == Supervision::Ended
}

fn is_current(lock: &FileLock, path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (sys::fs::stat(lock), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Makes a directory, and those above it, that only root may enter.
pub(crate) fn make_private_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The monitor's state in the words of the engine's callers.
pub(crate) fn state_of(state: &State) -> ContainerState {
    use monitor::state::{HealthStatus as WireHealth, Status as Wire};
    let time = |ns: i64| (ns > 0).then_some(ns);
    ContainerState {
        status: match state.status {
            Wire::Created => Status::Created,
            Wire::Running => Status::Running,
            Wire::Paused => Status::Paused,
            Wire::Restarting => Status::Restarting,
            Wire::Exited => Status::Exited,
        },
        pid: state.pid,
        exit_code: state.exit_code,
        oom_killed: state.oom_killed,
        error: state.error.clone().unwrap_or_default(),
        started_ns: time(state.started_at_ns),
        finished_ns: time(state.finished_at_ns),
        health: state.health.as_ref().map(|health| Health {
            status: match health.status {
                WireHealth::Starting => HealthStatus::Starting,
                WireHealth::Healthy => HealthStatus::Healthy,
                WireHealth::Unhealthy => HealthStatus::Unhealthy,
            },
            failing_streak: health.failing_streak,
            log: health
                .log
                .iter()
                .map(|probe| HealthResult {
                    start_ns: probe.start_ns,
                    end_ns: probe.end_ns,
                    exit_code: probe.exit_code,
                    output: probe.output.clone(),
                })
                .collect(),
        }),
    }
}

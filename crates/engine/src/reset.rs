//! Removing everything of this engine from the host.

use crate::engine::Engine;
use crate::image_mounts::ImageMount;
use crate::images::settle_lock;
use crate::list::ListError;
use crate::model::{ListOptions, RemoveOptions};
use cgroup::Cgroup;
use diag::{Class, Diagnose, Failure};
use net::NetworkError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{ExclusiveLock, StoreError};
use sys::fs::{FileLock, LockKind};

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ResetError {
    #[error("a build, import or load is running in {}", data.display())]
    Busy { data: PathBuf },
    #[error(transparent)]
    List(#[from] ListError),
    #[error("{} of {total} containers could not be removed", failures.len())]
    Containers { total: usize, failures: Vec<Failure> },
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot unmount {}", path.display())]
    Unmount { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

impl Diagnose for ResetError {
    fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Conflict,
            Self::List(error) => error.class(),
            Self::Containers { failures, .. } => failures.first().map_or(Class::Internal, Failure::class),
            Self::Network(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Unmount { source, .. } | Self::Remove { source, .. } => Class::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { .. } => Some("wait for it or interrupt it, then try again".into()),
            Self::Containers { failures, .. } => failures.first().map(ToString::to_string),
            Self::Network(error) => error.hint(),
            _ => None,
        }
    }
}

/// How long a reset waits for others to let go of the store.
const PATIENCE: Duration = Duration::from_secs(2);

impl Engine {
    /// Kills and removes every container, then networks, firewall table, control groups, images, volumes, and all files below
    /// both roots. Directories that a volume only points to stay.
    ///
    /// # Errors
    /// [`ResetError`]; calling it again goes on where it ended.
    pub fn reset(self) -> Result<(), ResetError> {
        let data = self.store().data().to_owned();
        let run = self.store().run().to_owned();
        let containers = self.list(&ListOptions { all: true, ..ListOptions::default() })?;
        let ids: Vec<String> = containers.iter().map(|container| container.id.to_string()).collect();
        let removed = self.remove_many(&ids, &RemoveOptions { force: true, volumes: true });
        let failures: Vec<Failure> = removed.into_iter().filter_map(Result::err).collect();
        if !failures.is_empty() {
            return Err(ResetError::Containers { total: ids.len(), failures });
        }
        for ImageMount { path, .. } in self.image_mounts() {
            sys::mount::detach(&path).map_err(|source| ResetError::Unmount { path, source })?;
        }
        lazy::end_services(self.store())?;
        let lock = self.lock_exclusively()?.ok_or_else(|| ResetError::Busy { data: data.clone() })?;
        // Whoever brings pulled images to the disk is about to end.
        let settled = FileLock::acquire(settle_lock(self.store()), LockKind::Exclusive);
        drop(settled.map_err(|source| ResetError::Remove { path: settle_lock(self.store()), source })?);
        lazy::remove_remains(self.store())?;
        net::remove_all(self.net_context())?;
        self.remove_groups();
        drop(lock);
        drop(self);
        for root in [run, data] {
            empty(&root)?;
        }
        Ok(())
    }

    /// Waits a little for the store's lock: processes that were just ended, and commands that collect what others left, hold it for
    /// moments.
    pub(crate) fn lock_exclusively(&self) -> Result<Option<ExclusiveLock>, StoreError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let lock = self.store().try_lock_exclusive()?;
            if lock.is_some() || Instant::now() > end {
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes control groups that killed processes left. They are empty by now; one that is not is reported by the next start.
    fn remove_groups(&self) {
        let Ok(hierarchy) = self.hierarchy() else { return };
        let parent = format!("hull-{}", self.instance());
        for group in Cgroup::list(hierarchy, &parent).unwrap_or_default() {
            let _ = group.kill_all().and_then(|()| group.remove());
        }
        cgroup::Supervisor::sweep(hierarchy, &parent);
    }
}

/// Removes everything below `root`, which itself stays.
fn empty(root: &Path) -> Result<(), ResetError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| ResetError::Remove { path, source }
    };
    let entries = match std::fs::read_dir(root) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(error(root))?,
    };
    for entry in entries {
        let path = entry.map_err(error(root))?.path();
        sys::fs::remove_tree(&path).map_err(error(&path))?;
    }
    Ok(())
}

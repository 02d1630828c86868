//! What a container changed in its image's files.

use crate::engine::Engine;
use crate::lookup::LookupError;
use diag::{Class, Diagnose};
use image::{Change, ChangeKind};
use std::io;
use std::path::{Path, PathBuf};

/// Why the changes could not be listed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DiffError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot compare the layers of container {name}")]
    Compare { name: String, source: io::Error },
}

impl Diagnose for DiffError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Compare { source, .. } => Class::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Compare { .. } => None,
        }
    }
}

impl Engine {
    /// Added, changed and deleted paths, sorted.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn diff(&self, name: &str) -> Result<Vec<Change>, DiffError> {
        let container = self.find(name)?;
        // What a killed monitor left running must not go on changing what is compared.
        self.observe(&container)?;
        let lowers = self.store().snapshots().lower_dirs(&container.layers);
        let changes = image::diff(&self.data_dir(&container.id).join("upper"), &lowers);
        changes
            .map(without_mount_points)
            .map_err(|source| DiffError::Compare { name: container.name, source })
    }
}

/// What every container is mounted on; an image that lacks one of them gets it from us and not from the container.
const MOUNT_POINTS: [&str; 10] = [
    "/dev",
    "/dev/console",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
];

fn without_mount_points(mut changes: Vec<Change>) -> Vec<Change> {
    let is_ours = |change: &Change| {
        change.kind == ChangeKind::Added && MOUNT_POINTS.iter().any(|path| change.path == Path::new(path))
    };
    let hidden: Vec<PathBuf> = changes.iter().filter(|c| is_ours(c)).map(|c| c.path.clone()).collect();
    changes.retain(|change| !is_ours(change));
    // A directory that counts as changed only because of what was hidden in it.
    for parent in hidden.iter().filter_map(|path| path.parent()) {
        if !changes.iter().any(|change| change.path != parent && change.path.starts_with(parent)) {
            changes.retain(|change| change.path != parent);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_not_the_containers() {
        fn check(changes: &[(&str, ChangeKind)], expected: &[&str]) {
            let changes =
                changes.iter().map(|(path, kind)| Change { path: path.into(), kind: *kind }).collect();
            let left = without_mount_points(changes);
            assert_eq!(left.iter().map(|c| c.path.to_str().unwrap()).collect::<Vec<_>>(), expected);
        }
        use ChangeKind::{Added, Modified};
        check(&[("/etc", Modified), ("/etc/hosts", Added), ("/x", Added)], &["/x"]);
        check(&[("/etc", Modified), ("/etc/hosts", Added), ("/etc/x", Added)], &["/etc", "/etc/x"]);
        check(&[("/etc", Modified), ("/etc/hosts", Modified)], &["/etc", "/etc/hosts"]);
        check(&[("/etc", Modified)], &["/etc"]);
    }
}

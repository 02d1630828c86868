//! What a container changed in its image's files.

use crate::engine::Engine;
use crate::lookup::LookupError;
use diag::{Class, Diagnose};
use std::io;

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
    pub fn diff(&self, name: &str) -> Result<Vec<image::Change>, DiffError> {
        let container = self.find(name)?;
        let lowers = self.store().snapshots().lower_dirs(&container.layers);
        image::diff(&self.data_dir(&container.id).join("upper"), &lowers)
            .map_err(|source| DiffError::Compare { name: container.name, source })
    }
}

//! A bundle: the directory with a container's configuration.

use std::fs;
use std::path::{Path, PathBuf};

use oci::runtime::Spec;

use super::{CONFIG, ContainerError};

/// A configuration and where it was found.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute.
    pub directory: PathBuf,
    pub spec: Spec,
    pub(super) json: Vec<u8>,
}

impl Bundle {
    /// Reads the configuration of the bundle in `directory`.
    pub fn open(directory: &Path) -> Result<Self, ContainerError> {
        let directory = std::path::absolute(directory)
            .and_then(fs::canonicalize)
            .map_err(|source| ContainerError::NoConfig { path: directory.join(CONFIG), source })?;
        let (json, spec) = read(&directory)?;
        Ok(Self { directory, spec, json })
    }

    /// The root filesystem, which exists.
    pub(super) fn rootfs(&self, id: &str) -> Result<PathBuf, ContainerError> {
        let missing = ContainerError::Incomplete { id: id.to_owned(), what: "root" };
        let path = self.directory.join(&self.spec.root.as_ref().ok_or(missing)?.path);
        match fs::canonicalize(&path) {
            Ok(path) if path.is_dir() => Ok(path),
            Ok(path) => {
                Err(ContainerError::Rootfs { path, source: std::io::ErrorKind::NotADirectory.into() })
            }
            Err(source) => Err(ContainerError::Rootfs { path, source }),
        }
    }
}

/// Reads the configuration in `directory`: the text, and what it says.
pub(super) fn read(directory: &Path) -> Result<(Vec<u8>, Spec), ContainerError> {
    let path = directory.join(CONFIG);
    let json = fs::read(&path).map_err(|source| ContainerError::NoConfig { path: path.clone(), source })?;
    let spec = oci::runtime::from_json(&json).map_err(|source| ContainerError::BadConfig { path, source })?;
    Ok((json, spec))
}

//! Why an image was not copied.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};
use oci::Digest;
use oci::image::{Descriptor, DocumentError};
use registry::RegistryError;
use store::{DatabaseError, StoreError};
use trust::TrustError;

use super::verify::ContentError;
use crate::archive::TarError;
use crate::{LoadError, ResolveError};

/// An image was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{} has no image", path.display())]
    Empty { path: PathBuf },
    #[error("{} has no image {name:?}", path.display())]
    NoSuchName { path: PathBuf, name: String },
    #[error("{} has {count} images", path.display())]
    Several { path: PathBuf, count: usize },
    #[error("{} lacks {what}", path.display())]
    Missing { path: PathBuf, what: String },
    #[error("{} has a malformed {file}", path.display())]
    Syntax { path: PathBuf, file: String, source: serde_json::Error },
    #[error("{} is a damaged archive", path.display())]
    Archive { path: PathBuf, source: TarError },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("manifest {digest} is unreadable")]
    Document { digest: Digest, source: DocumentError },
    #[error("cannot write a manifest")]
    Serialize(#[source] serde_json::Error),
    #[error("{what} {expected} is {found}")]
    Digest { what: &'static str, expected: Digest, found: Digest },
    #[error("blob {digest} is not what it should be")]
    Content { digest: Digest, source: ContentError },
    #[error("cannot read blob {digest}")]
    Blob { digest: Digest, source: io::Error },
    #[error("layer {0} may only be had from its own place and is not copied")]
    Foreign(Digest),
    #[error("indexes are nested too deeply at {0}")]
    Nesting(Digest),
    /// In the words of Docker's engine, as for a pull.
    #[error("no matching manifest for {0} in the manifest list entries")]
    Platform(String),
    #[error("cannot run ssh")]
    Ssh(#[source] io::Error),
    #[error("hull on {host} ended with {status}")]
    Remote { host: String, status: String },
    #[error("cannot prepare a pipe")]
    Pipe(#[source] io::Error),
}

impl From<DatabaseError> for CopyError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl CopyError {
    /// What kept a blob's bytes from coming.
    pub(super) fn source(descriptor: &Descriptor, error: io::Error) -> Self {
        let digest = descriptor.digest;
        match error.downcast::<RegistryError>() {
            Ok(registry) => Self::Registry(registry),
            Err(error) => match error.downcast::<ContentError>() {
                Ok(source) => Self::Content { digest, source },
                Err(source) => Self::Blob { digest, source },
            },
        }
    }
}

impl Diagnose for CopyError {
    fn class(&self) -> Class {
        match self {
            Self::Registry(e) => e.class(),
            Self::Trust(e) => e.class(),
            Self::Resolve(e) => e.class(),
            Self::Store(e) => e.class(),
            Self::Load(e) => e.class(),
            Self::Empty { .. } | Self::NoSuchName { .. } | Self::Platform(_) => Class::NotFound,
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Blob { source, .. } => {
                Class::of_io(source)
            }
            Self::Foreign(_) => Class::Unsupported,
            Self::Ssh(_) | Self::Remote { .. } | Self::Pipe(_) => Class::Unavailable,
            Self::Serialize(_) => Class::Internal,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(e) => e.hint(),
            Self::Trust(e) => e.hint(),
            Self::Resolve(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Load(e) => e.hint(),
            Self::Several { .. } => Some("choose one by its name, behind a colon".to_owned()),
            Self::Platform(_) => Some(
                "choose another one with `--platform os/arch`, or copy all with `--all-platforms`".to_owned(),
            ),
            Self::Ssh(_) => Some("other hosts are reached by the system's own ssh: install it".to_owned()),
            _ => None,
        }
    }
}

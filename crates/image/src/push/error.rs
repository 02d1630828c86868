//! Why an image did not leave.

use diag::{Class, Diagnose};
use registry::RegistryError;
use store::{DatabaseError, StoreError};

use crate::documents::ReadError;

/// An image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// In the words of Docker's engine, which scripts match, like the next two.
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchRepository(String),
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    #[error("cannot push a digest reference")]
    Digest,
    #[error("{reference} has no image for {platform} here")]
    Platform { reference: String, platform: String },
    #[error("{0} has no image whose content is all here")]
    Incomplete(String),
    #[error(transparent)]
    Document(#[from] ReadError),
    #[error("cannot write the manifest")]
    Serialize(#[source] serde_json::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for PushError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for PushError {
    fn class(&self) -> Class {
        match self {
            Self::NoSuchRepository(_) | Self::NoSuchTag(_) | Self::Platform { .. } | Self::Incomplete(_) => {
                Class::NotFound
            }
            Self::Digest => Class::Invalid,
            Self::Document(_) | Self::Serialize(_) => Class::Internal,
            Self::Registry(e) => e.class(),
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchRepository(name) | Self::NoSuchTag(name) => {
                Some(format!("give an image that name with `hull tag IMAGE {name}`"))
            }
            Self::Digest => Some("push the tag: the registry gives it the digest of its content".to_owned()),
            Self::Platform { .. } | Self::Incomplete(_) => {
                Some("bring it with `hull pull --platform os/arch` first".to_owned())
            }
            Self::Registry(e) => e.hint(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

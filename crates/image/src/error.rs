//! Errors that several operations share.

use std::error::Error;

use diag::{Class, Diagnose};
use oci::{DiffId, Digest, ReferenceError};
use store::{DatabaseError, StoreError};

use crate::archive::{PackError, UnpackError};

/// What to do about a damaged image.
pub const HINT_DAMAGED: &str =
    "see what is damaged with `hull image check`, and mend it with `hull image check --repair`";

/// A name did not lead to an image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("No such image: {0}")]
    NotFound(String),
    #[error(
        "image with reference {name} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    Platform { name: String, actual: String, wanted: String },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Its config is missing, or is not what its name says.
    #[error("image {id} is damaged")]
    Config { id: Digest, source: Box<dyn Error + Send + Sync> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for ResolveError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for ResolveError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound(_) | Self::Platform { .. } => Class::NotFound,
            Self::Reference(_) => Class::Invalid,
            Self::Config { .. } => Class::Internal,
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("list what is here with `hull images`".to_owned()),
            Self::Config { .. } => Some(HINT_DAMAGED.to_owned()),
            Self::Store(e) => e.hint(),
            Self::Reference(_) | Self::Platform { .. } => None,
        }
    }
}

/// A layer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("layer is not what was announced: expected diffID {expected}, got {found}")]
    DiffId { expected: DiffId, found: DiffId },
    #[error("cannot unpack the layer")]
    Unpack(#[from] UnpackError),
    #[error("cannot pack the layer")]
    Pack(#[from] PackError),
    #[error("cannot read the layer")]
    Read(#[source] std::io::Error),
    #[error("layer is empty")]
    Empty,
    #[error(
        "{compressed} bytes expand to more than {expanded}: refusing what looks like a decompression bomb"
    )]
    Bomb { compressed: u64, expanded: u64 },
    #[error("layer of media type {0:?} has no content to fetch or is of an unknown kind")]
    MediaType(String),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for LayerError {
    fn class(&self) -> Class {
        match self {
            Self::DiffId { .. } | Self::Empty | Self::Bomb { .. } => Class::Invalid,
            Self::Unpack(e) => e.class(),
            Self::Pack(e) => e.class(),
            Self::Read(e) => Class::of_io(e),
            Self::MediaType(_) => Class::Unsupported,
            Self::Thread(_) => Class::Unavailable,
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

/// An image could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("cannot write the image's {0}")]
    Document(&'static str, #[source] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

impl From<DatabaseError> for CreateError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for CreateError {
    fn class(&self) -> Class {
        match self {
            Self::Document(..) => Class::Internal,
            Self::Store(e) => e.class(),
            Self::Resolve(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Document(..) => None,
            Self::Store(e) => e.hint(),
            Self::Resolve(e) => e.hint(),
        }
    }
}

//! Why a container could not be created.

use crate::create::InvalidSpec;
use crate::lookup::LookupError;
use crate::network::NetworkError;
use crate::volume::VolumeError;
use diag::{Class, Diagnose};
use image::ResolveError;
use std::io;
use std::path::{Path, PathBuf};
use store::db::containers::NameError;
use store::{DatabaseError, StoreError};

/// Why a container could not be created; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CreateError {
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    #[error(transparent)]
    Image(#[from] ResolveError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Other(#[from] LookupError),
    #[error(transparent)]
    Network(NetworkError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", path.display())]
    BindSource { path: PathBuf },
    #[error("error looking up volume plugin {driver}: plugin \"{driver}\" not found")]
    VolumeDriver { driver: String },
    #[error(
        "error gathering device information while adding custom device \"{}\": no such file or directory",
        path.display()
    )]
    Device { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot get random bytes for an id")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl CreateError {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source }
    }
}

impl Diagnose for CreateError {
    fn class(&self) -> Class {
        match self {
            Self::Invalid(error) => error.class(),
            Self::Image(error) => error.class(),
            Self::Name(error) => error.class(),
            Self::Other(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Volume(error) => error.class(),
            Self::BindSource { .. } | Self::Device { .. } => Class::Invalid,
            Self::VolumeDriver { .. } => Class::NotFound,
            Self::Io { source, .. } | Self::Random(source) => Class::of_io(source),
            Self::Store(error) => error.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Name(NameError::Taken { name, .. }) => {
                Some(format!("choose another --name, or remove it with `rm {name}`"))
            }
            Self::Name(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Volume(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::BindSource { .. } => {
                Some("create it, or use `-v`, which creates missing directories".to_owned())
            }
            Self::VolumeDriver { .. } => Some("hull has the driver `local` only".to_owned()),
            _ => None,
        }
    }
}

//! Why a list of manifests was not made, shown or pushed.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};
use oci::Digest;
use registry::RegistryError;

use crate::CopyError;

/// Nothing became of a list of manifests. Texts are those of Docker's client where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ManifestListError {
    #[error("cannot tell where manifest lists are kept: neither DOCKER_CONFIG nor HOME is set")]
    Nowhere,
    /// Among the user's files.
    #[error("No such manifest: {0}")]
    NoSuchDraft(String),
    #[error("{0} not found")]
    Empty(String),
    /// At the registry.
    #[error("no such manifest: {0}")]
    Unknown(String),
    /// The name of the list is for the hint.
    #[error("refusing to amend an existing manifest list with no --amend flag")]
    Exists(String),
    #[error("{0} is a manifest list")]
    IsList(String),
    #[error("manifest for image {manifest} does not exist in {list}")]
    NotInList { manifest: String, list: String },
    #[error("manifest entry for image has unsupported os/arch combination: {0}")]
    Platform(String),
    #[error("manifest {0} must have an OS and Architecture to be pushed to a registry")]
    NoPlatform(String),
    #[error("cannot use source images from a different registry than the target image: {theirs} != {ours}")]
    OtherRegistry { theirs: String, ours: String },
    #[error("{0} cannot be the name of a manifest list: what a digest names is made already")]
    Digest(String),
    #[error("config {digest} does not say what its image is for")]
    Config { digest: Digest, source: serde_json::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is no manifest of a list", path.display())]
    Syntax { path: PathBuf, source: serde_json::Error },
    #[error("{} does not have the bytes of manifest {digest}", path.display())]
    Damaged { path: PathBuf, digest: Digest },
    #[error("cannot write a manifest")]
    Serialize(#[source] serde_json::Error),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Diagnose for ManifestListError {
    fn class(&self) -> Class {
        match self {
            Self::NoSuchDraft(_) | Self::Empty(_) | Self::Unknown(_) | Self::NotInList { .. } => {
                Class::NotFound
            }
            Self::Exists(_) => Class::Conflict,
            Self::Read { source, .. } | Self::Write { source, .. } => Class::of_io(source),
            Self::Serialize(_) => Class::Internal,
            Self::Copy(error) => error.class(),
            Self::Registry(error) => error.class(),
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty(list) | Self::Exists(list) => {
                Some(format!("add to it with `--amend`, or remove it with `hull manifest rm {list}`"))
            }
            Self::IsList(_) => Some(
                "a list has manifests of single images: name those that this one has by their digests"
                    .to_owned(),
            ),
            Self::NoPlatform(_) => {
                Some("say what it is for with `hull manifest annotate --os OS --arch ARCHITECTURE`".to_owned())
            }
            Self::OtherRegistry { .. } => Some("bring them there with `hull image copy` first".to_owned()),
            Self::Syntax { .. } | Self::Damaged { .. } => Some(
                "remove the list with `hull manifest rm` and create it again: older clients of Docker's keep less than is needed"
                    .to_owned(),
            ),
            Self::Copy(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            _ => None,
        }
    }
}

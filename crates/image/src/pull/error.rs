//! Why an image did not come.

use diag::{Class, Diagnose};
use oci::Digest;
use oci::image::DocumentError;
use registry::RegistryError;
use store::{DatabaseError, StoreError};
use trust::TrustError;

use crate::{LayerError, ResolveError};

/// An image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("{reference} is in Docker's image format of before 2016 ({media_type}), which is not supported")]
    Schema1 { reference: String, media_type: String },
    #[error("registry gave an unusable manifest {digest} for {reference}")]
    Document { reference: String, digest: Digest, source: DocumentError },
    #[error("{reference} is no container image: its config is of type {media_type:?}")]
    NotAnImage { reference: String, media_type: String },
    /// In the words of Docker's engine, which scripts match.
    #[error("no matching manifest for {0} in the manifest list entries")]
    Platform(String),
    #[error(
        "image operating system {0:?} cannot be used on this platform: operating system is not supported"
    )]
    OperatingSystem(String),
    #[error("index {0} names indexes that name indexes, and so on: nobody has a use for that")]
    Nesting(Digest),
    #[error("what index {digest} leads to has more than {limit} bytes of documents")]
    TooMany { digest: Digest, limit: usize },
    /// In the words of Docker's engine, too.
    #[error(
        "image with reference {reference} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
    )]
    OtherPlatform { reference: String, wanted: String, actual: String },
    #[error("{what} {digest} has {size} bytes, more than the {limit} one may have")]
    TooLarge { what: &'static str, digest: Digest, size: u64, limit: u64 },
    #[error("registry gave {found} bytes as {what} {digest}, which was announced with {expected}")]
    Size { what: &'static str, digest: Digest, expected: u64, found: u64 },
    #[error("registry gave {found} as {what} {expected}")]
    Digest { what: &'static str, expected: Digest, found: Digest },
    #[error("config {0} is malformed")]
    Config(Digest, #[source] serde_json::Error),
    #[error("config {config} lists {expected} layers, but manifest {manifest} has {found}")]
    LayerCount { config: Digest, expected: usize, manifest: Digest, found: usize },
    #[error("image {0} was removed while it was pulled")]
    Removed(String),
    #[error("cannot take layer {digest}")]
    Layer { digest: Digest, source: LayerError },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for PullError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl PullError {
    /// Whether the same pull may go on where this one ended: nothing is known to be wrong but the way here.
    pub(super) fn is_interruption(&self) -> bool {
        use RegistryError::{Connect, Size, Status, Stopped, Transfer};
        matches!(
            self,
            Self::Registry(
                Connect { .. } | Transfer { .. } | Size { .. } | Stopped | Status { status: 429 | 500.., .. }
            )
        )
    }

    /// A layer's failure; that of the connection it came over is one of the registry's.
    pub(super) fn layer(digest: Digest, source: LayerError) -> Self {
        let LayerError::Read(error) = source else { return Self::Layer { digest, source } };
        match error.downcast::<RegistryError>() {
            Ok(registry) => Self::Registry(registry),
            Err(error) => Self::Layer { digest, source: LayerError::Read(error) },
        }
    }
}

impl Diagnose for PullError {
    fn class(&self) -> Class {
        match self {
            Self::Registry(e) => e.class(),
            Self::Trust(e) => e.class(),
            Self::Schema1 { .. } | Self::NotAnImage { .. } | Self::OperatingSystem(_) => Class::Unsupported,
            Self::Platform(_) | Self::OtherPlatform { .. } | Self::Removed(_) => Class::NotFound,
            Self::Layer { source, .. } => source.class(),
            Self::Resolve(e) => e.class(),
            Self::Store(e) => e.class(),
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(e) => e.hint(),
            Self::Trust(e) => e.hint(),
            Self::Schema1 { reference, .. } => {
                Some(format!("ask whoever made {reference} to build and push it again"))
            }
            Self::Platform(_) => Some("choose another one with `--platform os/arch`".to_owned()),
            Self::Layer { source, .. } => source.hint(),
            Self::Resolve(e) => e.hint(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

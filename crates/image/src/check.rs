//! Checking that everything images need is here and is what it was, and mending what is not.
//!
//! A blob is verified by hashing it. A snapshot has no digest of its own, and packing it does not give the bytes that arrived; so
//! its layer is unpacked once more beside it, by the code that unpacked it first, and the two trees are compared entry by entry.
//! The blob is hashed in the same pass. That needs room for as many layers as there are processors, and memory that grows
//! with nothing but the length of one directory.
//!
//! A check reads under the store's shared lock; nothing it looks at is removed meanwhile.

mod compare;
mod inventory;
mod repair;
mod verify;

use diag::{Class, Diagnose};
use oci::{DiffId, Digest};
use store::{DatabaseError, StoreError};

use crate::{Images, LayerError, ResolveError};

pub use compare::Differences;
pub use repair::{Hold, InUse, Outcome, RepairTools};

/// Something that is not as it was, in one line: `app:latest: layer 0123456789ab: snapshot: etc/passwd is missing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The images that have it, or whatever else does; sorted.
    pub owners: Vec<String>,
    pub part: Part,
    pub fault: Fault,
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A manifest, an index or a config.
    Document {
        what: &'static str,
        digest: Digest,
    },
    /// A blob of a layer, or another one that a manifest lists.
    Blob {
        diff_id: Option<DiffId>,
        digest: Digest,
    },
    Snapshot {
        diff_id: DiffId,
    },
}

/// What is wrong with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Missing,
    /// Its bytes are not those that its name promises.
    Content,
    /// A snapshot that is not what its blob unpacks to.
    Differs(Differences),
    /// There is nothing to compare it with.
    Unverifiable,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.owners.join(", "), self.part, self.fault)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Document { what, digest } => write!(f, "{what} {digest}"),
            Self::Blob { diff_id: Some(diff_id), digest } => {
                write!(f, "layer {}: blob {digest}", diff_id.0.short())
            }
            Self::Blob { diff_id: None, digest } => write!(f, "blob {digest}"),
            Self::Snapshot { diff_id } => write!(f, "layer {}: snapshot", diff_id.0.short()),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => write!(f, "is missing"),
            Self::Content => write!(f, "has other content"),
            Self::Unverifiable => write!(f, "cannot be checked: nothing says what it came from"),
            Self::Differs(Differences { first, count: 1 }) => write!(f, "{first}"),
            Self::Differs(Differences { first, count }) => {
                let more = count - 1;
                write!(
                    f,
                    "{first} (and {more} more {})",
                    if more == 1 { "difference" } else { "differences" }
                )
            }
        }
    }
}

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub images: usize,
    pub blobs: usize,
    pub snapshots: usize,
    pub damage: Vec<Damage>,
}

/// A check could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("cannot unpack layer {diff_id} to compare it")]
    Unpack { diff_id: DiffId, source: LayerError },
    #[error("cannot compare layer {diff_id}")]
    Compare { diff_id: DiffId, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for CheckError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for CheckError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(e) => e.class(),
            Self::Unpack { source, .. } => source.class(),
            Self::Compare { source, .. } => Class::of_io(source),
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(e) => e.hint(),
            Self::Unpack { source, .. } => source.hint(),
            Self::Compare { .. } => None,
            Self::Store(e) => e.hint(),
        }
    }
}

impl Images<'_> {
    /// Verifies what the images `names` consist of, or with no names everything that is kept.
    ///
    /// # Errors
    /// [`CheckError`] when it could not be done; damage is no error.
    pub fn check(&self, names: &[String]) -> Result<Checked, CheckError> {
        let _lock = self.store.lock_shared()?;
        let inventory = inventory::take(self.store, names)?;
        let damage = verify::all(self.store, &inventory)?;
        Ok(Checked {
            images: inventory.images,
            blobs: inventory.blobs(),
            snapshots: inventory.snapshots.len(),
            damage,
        })
    }
}

//! What a pull tells while it goes on.

use oci::{Digest, Reference};

/// Something about a pull.
#[derive(Clone, Copy, Debug)]
pub enum PullEvent<'a> {
    /// The image is not here; the registry will be asked.
    Missing(&'a Reference),
    /// The registry knows the name; this is what it has under it.
    Found(&'a Reference, &'a Digest),
    /// Something about one layer, which is named by its blob.
    Layer { digest: &'a Digest, size: u64, state: LayerState },
    /// The reference names what the registry has; whether it named something else before.
    Done { reference: &'a Reference, digest: &'a Digest, is_new: bool },
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// It will be fetched.
    Waiting,
    /// It was here before.
    Exists,
    /// So many of its bytes have come and are unpacked.
    Fetched(u64),
    Complete,
}

/// Who is told; called by several threads, for each piece of each layer; who waits there holds that layer up.
pub trait PullProgress: Send + Sync {
    fn event(&self, event: PullEvent<'_>);
}

/// Tells nobody.
pub struct NoProgress;

impl PullProgress for NoProgress {
    fn event(&self, _: PullEvent<'_>) {}
}

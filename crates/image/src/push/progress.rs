//! What a push tells while it goes on.

use oci::Digest;

/// Something about one layer of a push, which is named by its diffID where that is known and otherwise by its blob.
#[derive(Clone, Copy, Debug)]
pub struct PushEvent<'a> {
    pub layer: &'a Digest,
    /// Bytes that are to be read for it.
    pub size: u64,
    pub state: PushState<'a>,
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushState<'a> {
    Preparing,
    /// So many of its bytes have been read, compressed and sent.
    Sent(u64),
    Pushed,
    /// The registry has it in this repository.
    Exists,
    /// The registry took it from this other repository.
    Mounted(&'a str),
}

/// Who is told; called by several threads, for each piece of each layer, and must not wait.
pub trait PushProgress: Send + Sync {
    fn event(&self, event: PushEvent<'_>);
}

/// Tells nobody.
pub struct SilentPush;

impl PushProgress for SilentPush {
    fn event(&self, _: PushEvent<'_>) {}
}

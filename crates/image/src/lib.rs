//! Images: import, load, save, tag, inspect, prune; layers packed and unpacked.
//!
//! An image is a config (whose digest is its id), a manifest naming config and layers, and one snapshot per layer. All of them
//! are content of the `store`; database rows make them an image with references. The order is always: content first, then
//! one sync, then the rows in one transaction; so an image that is listed is complete, also after a power cut. What was pulled or
//! loaded is synced only after that ([`store::Store::settle`]), and one that a power cut overtakes is not listed any more.
//!
//! Invariants:
//! - What arrives is verified while it streams: digest, diffID, every name in an archive.
//! - Nothing gets a name before the whole operation has succeeded; a failed or killed one leaves the store as it was. The
//!   exception is a pull that is interrupted: what has come whole is held for a day, for the next one to go on with.
//! - Content is looked up and made under the store's shared lock, and collected under its exclusive one.
//!
//! Start reading at [`Images`]; [`archive`] is used by builds and copies, too.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod archive;
mod change;
mod check;
pub mod chunked;
mod compress;
mod copy;
mod create;
mod crew;
mod diff;
mod documents;
mod error;
mod history;
mod images;
mod import;
mod layer;
mod load;
mod manifest_lists;
mod platforms;
mod pull;
mod push;
mod receive;
mod remote;
mod remove;
mod save;
mod serve;

pub use change::{ChangeError, apply_change};
pub use check::{CheckError, Checked, Damage, Differences, Fault, Hold, InUse, Outcome, Part, RepairTools};
pub use compress::Method as CompressionMethod;
pub use copy::{Copied, CopyError, CopyOptions, Host, Place, PlaceError};
pub use diff::{Change, ChangeKind, diff};
pub use documents::ReadError;
pub use error::{CreateError, HINT_DAMAGED, LayerError, ResolveError};
pub use history::HistoryEntry;
pub use images::{Image, Images, ListedImage};
pub use import::{ImportError, ImportOptions};
pub use layer::Layer;
pub use load::{LoadError, Loaded, read_layout};
pub use manifest_lists::{ListEntry, Listed, ManifestListError, ManifestLists, PushedList};
pub use platforms::PlatformImage;
pub use pull::{
    LayerState, NoProgress, Outline, PullError, PullEvent, PullOptions, PullPolicy, PullPolicyError,
    PullProgress, Pulled, Registries,
};
pub use push::{
    Compress, Platforms, PushError, PushEvent, PushOptions, PushProgress, PushState, Pushed, SilentPush,
};
pub use remote::Remote;
pub use remove::{Pruned, RemoveError, RemoveOptions, Removed};
pub use save::{Format, SaveError, SaveOptions};
pub use serve::{RunningContainers, Serving};

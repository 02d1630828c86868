//! Docker's JSON and Docker's phrases for what the engine tells; every face renders from here.
//!
//! The field names and shapes are those of the Engine API 1.4x and 1.5x ("inspect" bodies, list entries, `info`, `version`, `df`).

mod container;
mod create;
mod host_config;
mod image;
mod network;
mod summary;
mod system;
mod text;
mod volume;

pub use container::container;
pub use create::{create_request, endpoint_request, network_request, update_request};
pub use image::{image, image_manifests, image_step, image_summary};
pub use network::network;
pub use summary::container_summary;
pub use system::{changes, disk_usage, info, stats, top, version};
pub use text::{ago, command, duration, ports, status};
pub use volume::volume;

pub(crate) use host_config::{bind_mode, network_mode, propagation};

//! What callers ask of the engine and what it tells them: requests, summaries, inspections.
//!
//! A request is built by a face (flags, Compose file, API body) and holds what was *asked*; `Engine` resolves it
//! against images, networks and volumes. The parts of [`ContainerSpec`], [`NetworkSpec`] and [`VolumeSpec`] derive serde because
//! the resolved request *is* the durable record: a parallel hierarchy of some forty structs would say the same things twice. The record
//! carries a version of its own (`record`), every struct fills absent fields with defaults, and none of this is a wire format:
//! Docker's JSON is made in `view`.

mod container;
mod inspect;
mod limits;
mod mount;
mod network;
mod request;
mod stats;
mod system;
mod volume;

pub use container::{
    ContainerSpec, Device, HealthCommand, HealthSpec, IpcMode, Isolation, LogSpec, NamespaceMode,
    ProcessSpec, RestartPolicy, SeccompChoice, UserNamespace,
};
pub use inspect::{
    ContainerInspect, ContainerState, ContainerSummary, EndpointInfo, Health, HealthResult, HealthStatus,
    ImageInspect, ImageSummary, MountPoint, PublishedPort, Status,
};
pub use limits::{BlockRate, Limits, Ulimit};
pub use mount::{BindPropagation, IdRange, Mount, MountKind, MountSyntax, Owners};
pub use net::{Ipv4Net as Subnet, Mac, Protocol};
pub use network::{EndpointSpec, NetworkInfo, NetworkMode, NetworkSpec, Networking, Port, PortMapping};
pub use request::{
    CommitSpec, ExecSpec, Filters, FiltersError, ListOptions, LogOptions, RemoveOptions, StopOptions,
    UpdateSpec, WaitCondition,
};
pub use stats::{BlockStats, CpuStats, InterfaceStats, MemoryStats, Stats};
pub use system::{DiskUsage, Info, Pruned, Top, UsageItem, Version};
pub use volume::{VolumeInfo, VolumeSpec};

/// Labels, options and the like, in the order Docker prints them: sorted by key.
pub type Labels = std::collections::BTreeMap<String, String>;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes an id that was read back from the store or made by the engine.
            pub(crate) fn from_string(id: String) -> Self {
                Self(id)
            }

            /// All 64 characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters, as tables show it.
            pub fn short(&self) -> &str {
                &self.0[..self.0.len().min(12)]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// A container's id: 64 hexadecimal characters.
    ContainerId
);
id_type!(
    /// A network's id: 64 hexadecimal characters.
    NetworkId
);

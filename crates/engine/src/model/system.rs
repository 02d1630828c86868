//! The engine about itself.

use super::{ContainerSummary, ImageSummary, VolumeInfo};
use std::path::PathBuf;

/// `hull info`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Info {
    pub instance: String,
    pub data_root: PathBuf,
    pub run_root: PathBuf,
    pub containers: usize,
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
    pub images: usize,
    pub host_name: String,
    pub kernel: String,
    pub operating_system: String,
    pub os_version: String,
    pub architecture: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// 1 (also hybrid hosts) or 2.
    pub cgroup_version: u8,
    /// Controllers hull can use.
    pub cgroup_controllers: Vec<String>,
    pub backing_filesystem: String,
    pub security_options: Vec<String>,
    /// Running containers that have given up some protection.
    pub unprotected: usize,
    /// What this kernel or host lacks, one sentence each.
    pub warnings: Vec<String>,
}

/// `hull version`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Version {
    pub version: String,
    /// The Docker API version whose semantics this engine follows.
    pub api_version: String,
    pub min_api_version: String,
    pub os: String,
    pub architecture: String,
    pub kernel: String,
}

/// `hull top`: one table.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Top {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Pruned {
    pub containers: Vec<String>,
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
    /// References taken away, as `name:tag`.
    pub untagged: Vec<String>,
    /// Image ids deleted.
    pub images: Vec<String>,
    /// Build cache entries deleted.
    pub build_cache: Vec<String>,
    /// Damaged images of which it cannot be told whether the filters mean them, each with what is wrong.
    pub skipped: Vec<String>,
    pub reclaimed_bytes: u64,
}

/// `hull system df`; bytes are those on the disk, as du(1) counts them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DiskUsage {
    /// Blobs and unpacked layers, but for those of the build cache alone.
    pub images_bytes: u64,
    /// What of them goes when all images without containers do; what builds have, too, stays.
    pub images_reclaimable_bytes: u64,
    pub images: Vec<ImageSummary>,
    /// Each with the bytes of its directory as those it has written.
    pub containers: Vec<ContainerSummary>,
    pub volumes: Vec<VolumeInfo>,
    pub build_cache: Vec<UsageItem>,
    /// What only builds have.
    pub build_cache_bytes: u64,
}

/// One entry of the build cache.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct UsageItem {
    pub id: String,
    pub size_bytes: u64,
    pub created_ns: i64,
    pub last_used_ns: i64,
    pub in_use: bool,
}

//! Limits on what a container may use.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Cgroup limits and rlimits; absent means the host's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`; at least 6 MiB.
    pub memory_bytes: Option<u64>,
    /// `--memory-swap`: memory plus swap, -1 for no limit on swap.
    pub memory_swap_bytes: Option<i64>,
    /// `--memory-reservation`.
    pub memory_reservation_bytes: Option<u64>,
    /// `--memory-swappiness`, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--cpus` in billionths; excludes period and quota.
    pub nano_cpus: Option<u64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period_us: Option<u64>,
    /// `--cpu-quota`, microseconds.
    pub cpu_quota_us: Option<i64>,
    /// `--cpuset-cpus`, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`; -1 and 0 mean none.
    pub pids: Option<i64>,
    /// `--blkio-weight`, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// `--device-read-bps`.
    pub read_bps: Vec<BlockRate>,
    /// `--device-write-bps`.
    pub write_bps: Vec<BlockRate>,
    /// `--device-read-iops`.
    pub read_iops: Vec<BlockRate>,
    /// `--device-write-iops`.
    pub write_iops: Vec<BlockRate>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
}

/// A rate for one block device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockRate {
    /// The device node on the host.
    pub device: PathBuf,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// `--ulimit name=soft[:hard]`; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `getrlimit(2)`, lower case and without `RLIMIT_`: `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

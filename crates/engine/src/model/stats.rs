//! What a running container uses.

use std::collections::BTreeMap;

/// One reading; rates need two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// When it was read.
    pub read_ns: i64,
    /// Processor.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: u64,
    /// Limit on them.
    pub pids_limit: Option<u64>,
    /// Network interfaces by name.
    pub interfaces: BTreeMap<String, InterfaceStats>,
    /// Block devices, together.
    pub block: BlockStats,
}

impl Stats {
    /// Percentage of one processor used between `earlier` and this reading, as `docker stats` shows it.
    pub fn cpu_percent(&self, earlier: &Stats) -> f64 {
        let used = self.cpu.usage_ns.saturating_sub(earlier.cpu.usage_ns) as f64;
        let elapsed = self.cpu.host_ns.saturating_sub(earlier.cpu.host_ns) as f64;
        if elapsed > 0.0 { used / elapsed * f64::from(self.cpu.online) * 100.0 } else { 0.0 }
    }
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// Used by the container.
    pub usage_ns: u64,
    /// Of it, in user mode.
    pub user_ns: u64,
    /// Of it, in the kernel.
    pub system_ns: u64,
    /// Used by the whole host, idle included: sum over all processors.
    pub host_ns: u64,
    /// Processors online.
    pub online: u32,
    /// Enforcement periods, those throttled, and for how long.
    pub periods: u64,
    /// Throttled periods.
    pub throttled_periods: u64,
    /// Time throttled.
    pub throttled_ns: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStats {
    /// Charged, page cache included.
    pub usage_bytes: u64,
    /// The highest charge, where the kernel keeps it.
    pub max_usage_bytes: u64,
    /// Inactive page cache, which `docker stats` subtracts.
    pub cache_bytes: u64,
    /// The limit; the host's memory without one.
    pub limit_bytes: u64,
    /// `memory.stat` as the kernel gives it.
    pub detail: BTreeMap<String, u64>,
}

/// Counters of one interface.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct InterfaceStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Block input and output.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct BlockStats {
    pub read_bytes: u64,
    pub write_bytes: u64,
}

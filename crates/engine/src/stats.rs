//! What a running container uses.

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{BlockStats, CpuStats, InterfaceStats, MemoryStats, Stats};
use crate::time::now_ns;
use cgroup::CgroupError;
use diag::{Class, Diagnose};
use std::collections::BTreeMap;
use std::fs;

/// Why a container could not be measured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StatsError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot read the control group of container {name}")]
    Cgroup { name: String, source: CgroupError },
}

impl Diagnose for StatsError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Cgroup { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Cgroup { source, .. } => source.hint(),
        }
    }
}

impl Engine {
    /// One reading; all zero, except for the time, when the container does not run.
    ///
    /// # Errors
    /// [`StatsError`].
    pub fn stats(&self, name: &str) -> Result<Stats, StatsError> {
        let container = self.find(name)?;
        let state = self.observe(&container)?.state;
        let mut stats = Stats { read_ns: now_ns(), ..Stats::default() };
        if !state.status.is_active() || state.pid == 0 {
            return Ok(stats);
        }
        let error = |source| StatsError::Cgroup { name: container.name.clone(), source };
        let group = self.cgroup(&container);
        let used = group.and_then(|group| group.stats()).map_err(error)?;
        stats.cpu = CpuStats {
            usage_ns: used.cpu.total_ns,
            user_ns: used.cpu.user_ns,
            system_ns: used.cpu.system_ns,
            host_ns: host_cpu_ns(),
            online: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            periods: used.cpu.throttling.periods,
            throttled_periods: used.cpu.throttling.throttled_periods,
            throttled_ns: used.cpu.throttling.throttled_ns,
        };
        let memory = used.memory;
        let host = host_memory_bytes();
        stats.memory = MemoryStats {
            usage_bytes: memory.usage,
            max_usage_bytes: memory.peak,
            cache_bytes: memory.inactive_file.min(memory.usage),
            limit_bytes: memory.limit.map_or(host, |limit| limit.min(host)),
            detail: BTreeMap::from([
                ("anon".to_owned(), memory.anonymous),
                ("cache".to_owned(), memory.cache),
                ("inactive_file".to_owned(), memory.inactive_file),
                ("total_inactive_file".to_owned(), memory.inactive_file),
            ]),
        };
        stats.pids = used.pids.current;
        stats.pids_limit = used.pids.limit;
        stats.interfaces = interfaces(state.pid);
        stats.block =
            BlockStats { read_bytes: used.block_io.read_bytes, write_bytes: used.block_io.write_bytes };
        Ok(stats)
    }
}

/// Time of all processors since boot, idle included.
fn host_cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let ticks: u64 =
        line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse::<u64>().ok()).sum();
    // USER_HZ has been 100 on this architecture since it exists.
    ticks * 10_000_000
}

/// Memory of this host.
pub(crate) fn host_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Counters of the interfaces in the network namespace of `pid`, loopback left out.
fn interfaces(pid: i32) -> BTreeMap<String, InterfaceStats> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    parse_interfaces(&text)
}

fn parse_interfaces(text: &str) -> BTreeMap<String, InterfaceStats> {
    let mut found = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let (
            name,
            [
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                _,
                _,
                _,
                _,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
                ..,
            ],
        ) = (name.trim(), counters.as_slice())
            && name != "lo"
        {
            let stats = InterfaceStats {
                rx_bytes: *rx_bytes,
                rx_packets: *rx_packets,
                rx_errors: *rx_errors,
                rx_dropped: *rx_dropped,
                tx_bytes: *tx_bytes,
                tx_packets: *tx_packets,
                tx_errors: *tx_errors,
                tx_dropped: *tx_dropped,
            };
            found.insert(name.to_owned(), stats);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let found = parse_interfaces(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found["eth0"].rx_bytes, found["eth0"].tx_bytes, found["eth0"].tx_dropped), (10, 50, 8));
    }
}

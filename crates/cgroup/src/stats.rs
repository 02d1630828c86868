//! What a group has used.

use std::fs;
use std::path::Path;

use crate::files::{keyed, number, read_optional};
use crate::group::Cgroup;
use crate::{CgroupError, Version};

/// A reading of all counters of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block device traffic.
    pub block_io: BlockIo,
}

/// CPU time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Cpu {
    pub total_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
    pub throttling: Throttling,
}

/// How the CPU limit has been felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it, with the page cache.
    pub usage: u64,
    /// The most it has been, where the kernel remembers.
    pub peak: u64,
    /// The limit, `None` without one.
    pub limit: Option<u64>,
    /// The page cache.
    pub cache: u64,
    /// The part of the page cache that would be given back first.
    pub inactive_file: u64,
    /// Memory that is no copy of a file.
    pub anonymous: u64,
    /// How often the limit was hit, where the kernel counts it.
    pub limit_hits: u64,
}

impl Memory {
    /// The figure `docker stats` shows: usage without what the kernel would reclaim at once.
    pub fn working_set(&self) -> u64 {
        if self.inactive_file < self.usage { self.usage - self.inactive_file } else { self.usage }
    }
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pids {
    pub current: u64,
    pub limit: Option<u64>,
}

/// Block device traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BlockIo {
    pub read_bytes: u64,
    pub write_bytes: u64,
}

impl Cgroup {
    /// Reads all counters; what a kernel or hierarchy does not have stays zero.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let file = |controller: &str, name: &str| match self.directory_of(controller) {
            Some(directory) => read_optional(&directory.join(name)).map(Option::unwrap_or_default),
            None => Ok(String::new()),
        };
        let mut stats = match self.version()? {
            Version::V1 => Stats {
                cpu: cpu_v1(
                    &file("cpuacct", "cpuacct.usage")?,
                    &file("cpuacct", "cpuacct.stat")?,
                    &file("cpu", "cpu.stat")?,
                ),
                memory: memory_v1(
                    &file("memory", "memory.usage_in_bytes")?,
                    &file("memory", "memory.limit_in_bytes")?,
                    &file("memory", "memory.max_usage_in_bytes")?,
                    &file("memory", "memory.failcnt")?,
                    &file("memory", "memory.stat")?,
                ),
                ..Stats::default()
            },
            Version::V2 => Stats {
                cpu: cpu_v2(&file("cpu", "cpu.stat")?),
                memory: memory_v2(
                    &file("memory", "memory.current")?,
                    &file("memory", "memory.max")?,
                    &file("memory", "memory.peak")?,
                    &file("memory", "memory.events")?,
                    &file("memory", "memory.stat")?,
                ),
                ..Stats::default()
            },
        };
        let (current, max) = (file("pids", "pids.current")?, file("pids", "pids.max")?);
        stats.pids = Pids { current: number(&current).unwrap_or(0), limit: number(&max) };
        stats.block_io = match self.version()? {
            Version::V2 => match file("io", "io.stat")? {
                text if text.is_empty() => self.io_of_processes()?,
                text => io_v2(&text),
            },
            Version::V1 => self.io_of_processes()?,
        };
        Ok(stats)
    }

    /// How many processes of the group the kernel has killed for lack of memory.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let Some(directory) = self.directory_of("memory") else { return Ok(0) };
        let file = match self.version()? {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = read_optional(&directory.join(file))?.unwrap_or_default();
        Ok(keyed(&text, "oom_kill").unwrap_or(0))
    }

    /// The traffic of all processes there are, which spares every container on v1 the blkio hierarchy.
    ///
    /// Nothing is lost when one ends: the kernel adds its figures to those of the parent that waits for it.
    fn io_of_processes(&self) -> Result<BlockIo, CgroupError> {
        let mut sum = BlockIo::default();
        for pid in self.pids()? {
            let Ok(text) = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("io")) else {
                continue;
            };
            let text = text.replace(':', "");
            sum.read_bytes += keyed(&text, "read_bytes").unwrap_or(0);
            sum.write_bytes += keyed(&text, "write_bytes").unwrap_or(0);
        }
        Ok(sum)
    }
}

/// `cpuacct.stat` counts in USER_HZ, which is 100 on every architecture Linux still has but one.
const NS_PER_TICK: u64 = 10_000_000;

fn cpu_v1(usage: &str, split: &str, throttling: &str) -> Cpu {
    let of = |key| keyed(throttling, key).unwrap_or(0);
    Cpu {
        total_ns: number(usage).unwrap_or(0),
        user_ns: keyed(split, "user").unwrap_or(0) * NS_PER_TICK,
        system_ns: keyed(split, "system").unwrap_or(0) * NS_PER_TICK,
        throttling: Throttling {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_ns: of("throttled_time"),
        },
    }
}

fn cpu_v2(stat: &str) -> Cpu {
    let of = |key| keyed(stat, key).unwrap_or(0);
    Cpu {
        total_ns: of("usage_usec") * 1000,
        user_ns: of("user_usec") * 1000,
        system_ns: of("system_usec") * 1000,
        throttling: Throttling {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_ns: of("throttled_usec") * 1000,
        },
    }
}

fn memory_v1(usage: &str, limit: &str, peak: &str, hits: &str, stat: &str) -> Memory {
    let of = |key| keyed(stat, key).unwrap_or(0);
    Memory {
        usage: number(usage).unwrap_or(0),
        peak: number(peak).unwrap_or(0),
        limit: number(limit),
        cache: of("total_cache"),
        inactive_file: of("total_inactive_file"),
        anonymous: of("total_rss"),
        limit_hits: number(hits).unwrap_or(0),
    }
}

fn memory_v2(usage: &str, limit: &str, peak: &str, events: &str, stat: &str) -> Memory {
    let of = |key| keyed(stat, key).unwrap_or(0);
    Memory {
        usage: number(usage).unwrap_or(0),
        peak: number(peak).unwrap_or(0),
        limit: number(limit),
        cache: of("file"),
        inactive_file: of("inactive_file"),
        anonymous: of("anon"),
        limit_hits: keyed(events, "max").unwrap_or(0),
    }
}

/// Sums the lines of `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 ...`, one for each device.
fn io_v2(stat: &str) -> BlockIo {
    let sum = |key: &str| {
        let values = stat.split_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    BlockIo { read_bytes: sum("rbytes"), write_bytes: sum("wbytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_files() {
        let cpu = cpu_v1("123\n", "user 2\nsystem 1\n", "nr_periods 4\nnr_throttled 3\nthrottled_time 99\n");
        assert_eq!((cpu.total_ns, cpu.user_ns, cpu.system_ns), (123, 20_000_000, 10_000_000));
        let throttling = Throttling { periods: 4, throttled_periods: 3, throttled_ns: 99 };
        assert_eq!(cpu.throttling, throttling);

        let memory = memory_v1(
            "4096\n",
            "9223372036854771712\n",
            "8192\n",
            "7\n",
            "cache 1\ninactive_file 1\ntotal_cache 30\ntotal_rss 40\ntotal_inactive_file 96\n",
        );
        assert_eq!((memory.usage, memory.peak, memory.limit, memory.limit_hits), (4096, 8192, None, 7));
        assert_eq!((memory.cache, memory.anonymous, memory.working_set()), (30, 40, 4000));
    }

    #[test]
    fn v2_files() {
        let cpu = cpu_v2("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 1\nthrottled_usec 8\n");
        assert_eq!((cpu.total_ns, cpu.user_ns, cpu.throttling.throttled_ns), (5000, 3000, 8000));
        let memory = memory_v2(
            "10\n",
            "20\n",
            "15\n",
            "low 0\nmax 6\noom_kill 1\n",
            "anon 4\nfile 5\ninactive_file 11\n",
        );
        assert_eq!((memory.limit, memory.limit_hits, memory.working_set()), (Some(20), 6, 10));
        let io = io_v2("8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=10 wbytes=20 dbytes=5\n");
        assert_eq!(io, BlockIo { read_bytes: 11, write_bytes: 22 });
    }
}

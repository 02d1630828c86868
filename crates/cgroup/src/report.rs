//! Everything that is counted for a group, device by device, as `events --stats` of an OCI runtime shows it.
//!
//! [`Stats`](crate::Stats) is the part that is looked at often.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::files::{keyed, number, read_optional};
use crate::group::Cgroup;
use crate::stats::{Cpu, Pids};
use crate::{CgroupError, Version};

/// A reading of every counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Report {
    pub cpu: Cpu,
    /// CPU time by CPU in nanoseconds; v1 only.
    pub per_cpu_ns: Vec<u64>,
    pub cpu_pressure: Option<Pressure>,
    pub memory: MemoryReport,
    pub pids: Pids,
    /// Bytes transferred, by device and direction.
    pub io_bytes: Vec<DeviceCount>,
    /// Operations, by device and direction.
    pub io_operations: Vec<DeviceCount>,
    pub io_pressure: Option<Pressure>,
    /// By size of page, such as `2MB`.
    pub huge_pages: BTreeMap<String, Counter>,
}

/// Something that is used, and limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub usage: u64,
    /// The most it has been, where the kernel remembers.
    pub peak: u64,
    /// `None` without one.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MemoryReport {
    pub memory: Counter,
    /// Memory and swap together, where swap is counted.
    pub memory_and_swap: Counter,
    /// Of the kernel; v1 only.
    pub kernel: Counter,
    /// For buffers of TCP; v1 only.
    pub kernel_tcp: Counter,
    /// The page cache.
    pub cache: u64,
    /// `memory.stat` as it is.
    pub raw: BTreeMap<String, u64>,
    pub oom_kills: u64,
    pub pressure: Option<Pressure>,
}

/// A count for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeviceCount {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write`, ...; on v2 these two.
    pub operation: String,
    pub value: u64,
}

/// How much time was lost waiting for something; the kernel's `psi.rst`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All did.
    pub full: Stall,
}

/// Shares of the last 10, 60 and 300 seconds in hundredths of a percent, and all of it in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stall {
    pub average_10: u64,
    pub average_60: u64,
    pub average_300: u64,
    pub total_us: u64,
}

impl Cgroup {
    /// Reads every counter; what a kernel or hierarchy does not have stays empty.
    pub fn report(&self) -> Result<Report, CgroupError> {
        let stats = self.stats()?;
        let file = |controller: &str, name: &str| match self.directory_of(controller) {
            Some(directory) => read_optional(&directory.join(name)).map(Option::unwrap_or_default),
            None => Ok(String::new()),
        };
        let pressure = |name: &str| match self.version()? {
            Version::V1 => Ok(None),
            Version::V2 => file("", name).map(|text| pressure(&text)),
        };
        let mut report = Report {
            cpu: stats.cpu,
            pids: stats.pids,
            cpu_pressure: pressure("cpu.pressure")?,
            io_pressure: pressure("io.pressure")?,
            ..Report::default()
        };
        report.memory = MemoryReport {
            oom_kills: self.oom_kills()?,
            pressure: pressure("memory.pressure")?,
            raw: all_keyed(&file("memory", "memory.stat")?),
            ..MemoryReport::default()
        };
        match self.version()? {
            Version::V1 => add_v1(&mut report, file)?,
            Version::V2 => add_v2(&mut report, file)?,
        }
        report.huge_pages = self.huge_pages()?;
        Ok(report)
    }

    fn huge_pages(&self) -> Result<BTreeMap<String, Counter>, CgroupError> {
        let mut pages = BTreeMap::new();
        let Some(directory) = self.directory_of("hugetlb") else { return Ok(pages) };
        let (usage_file, limit_file) = match self.version()? {
            Version::V1 => ("usage_in_bytes", "limit_in_bytes"),
            Version::V2 => ("current", "max"),
        };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let size = name
                .strip_prefix("hugetlb.")
                .and_then(|rest| rest.strip_suffix(usage_file)?.strip_suffix('.'));
            let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
            let read = |what: &str| -> Result<String, CgroupError> {
                // Reservations include what is used.
                let reserved = read_optional(&directory.join(format!("hugetlb.{size}.rsvd.{what}")))?;
                match reserved {
                    Some(text) => Ok(text),
                    None => of(directory, size, what),
                }
            };
            let failures = match self.version()? {
                Version::V1 => number(&read("failcnt")?),
                Version::V2 => keyed(&of(directory, size, "events")?, "max"),
            };
            let counter = Counter {
                usage: number(&read(usage_file)?).unwrap_or(0),
                peak: number(&read("max_usage_in_bytes")?).unwrap_or(0),
                limit: number(&read(limit_file)?),
                failures: failures.unwrap_or(0),
            };
            pages.insert(size.to_owned(), counter);
        }
        Ok(pages)
    }
}

fn of(directory: &Path, size: &str, what: &str) -> Result<String, CgroupError> {
    read_optional(&directory.join(format!("hugetlb.{size}.{what}"))).map(Option::unwrap_or_default)
}

fn add_v1(
    report: &mut Report,
    file: impl Fn(&str, &str) -> Result<String, CgroupError>,
) -> Result<(), CgroupError> {
    let counter = |prefix: &str| -> Result<Counter, CgroupError> {
        let read = |name: &str| file("memory", &format!("{prefix}.{name}"));
        Ok(Counter {
            usage: number(&read("usage_in_bytes")?).unwrap_or(0),
            peak: number(&read("max_usage_in_bytes")?).unwrap_or(0),
            limit: number(&read("limit_in_bytes")?),
            failures: number(&read("failcnt")?).unwrap_or(0),
        })
    };
    let memory = &mut report.memory;
    memory.memory = counter("memory")?;
    memory.memory_and_swap = counter("memory.memsw")?;
    memory.kernel = counter("memory.kmem")?;
    memory.kernel_tcp = counter("memory.kmem.tcp")?;
    memory.cache = memory.raw.get("total_cache").copied().unwrap_or(0);
    let per_cpu = file("cpuacct", "cpuacct.usage_percpu")?;
    report.per_cpu_ns = per_cpu.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // BFQ's figures where it schedules, the throttling layer's elsewhere.
    let devices = |name: &str| -> Result<Vec<DeviceCount>, CgroupError> {
        for prefix in ["blkio.bfq", "blkio.throttle"] {
            let counts = io_v1(&file("blkio", &format!("{prefix}.{name}_recursive"))?);
            if !counts.is_empty() {
                return Ok(counts);
            }
        }
        Ok(Vec::new())
    };
    report.io_bytes = devices("io_service_bytes")?;
    report.io_operations = devices("io_serviced")?;
    Ok(())
}

fn add_v2(
    report: &mut Report,
    file: impl Fn(&str, &str) -> Result<String, CgroupError>,
) -> Result<(), CgroupError> {
    let counter = |prefix: &str| -> Result<Counter, CgroupError> {
        let read = |name: &str| file("memory", &format!("{prefix}.{name}"));
        Ok(Counter {
            usage: number(&read("current")?).unwrap_or(0),
            peak: number(&read("peak")?).unwrap_or(0),
            limit: number(&read("max")?),
            failures: keyed(&read("events")?, "max").unwrap_or(0),
        })
    };
    let memory = &mut report.memory;
    memory.memory = counter("memory")?;
    let swap = counter("memory.swap")?;
    memory.memory_and_swap = Counter {
        usage: memory.memory.usage + swap.usage,
        peak: memory.memory.peak + swap.peak,
        limit: memory.memory.limit.zip(swap.limit).map(|(memory, swap)| memory + swap),
        failures: swap.failures,
    };
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    let stat = file("io", "io.stat")?;
    report.io_bytes = io_v2(&stat, &[("rbytes", "Read"), ("wbytes", "Write")]);
    report.io_operations = io_v2(&stat, &[("rios", "Read"), ("wios", "Write")]);
    Ok(())
}

fn all_keyed(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines of `8:0 Read 4096`, with a last one for the sum.
fn io_v1(text: &str) -> Vec<DeviceCount> {
    let count = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let (operation, value) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(DeviceCount { major, minor, operation, value })
    };
    text.lines().filter_map(count).collect()
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3`; of each those with the given keys.
fn io_v2(text: &str, keys: &[(&str, &str)]) -> Vec<DeviceCount> {
    let mut counts = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let operation = keys.iter().find(|(known, _)| *known == key).map(|(_, operation)| operation);
            if let (Some(operation), Ok(value)) = (operation, value.parse()) {
                counts.push(DeviceCount { major, minor, operation: (*operation).to_owned(), value });
            }
        }
    }
    counts
}

/// `some avg10=0.12 avg60=0.00 avg300=0.00 total=34`, and the same for `full`; `None` where the kernel does not measure.
fn pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let average = |key: &str| {
            let (whole, hundredths) = value(key)?.split_once('.')?;
            Some(whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
        };
        Some(Stall {
            average_10: average("avg10")?,
            average_60: average("avg60")?,
            average_300: average("avg300")?,
            total_us: value("total")?.parse().ok()?,
        })
    };
    // Old kernels have no `full` for the CPU.
    Some(Pressure { some: line("some")?, full: line("full").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(minor: u64, operation: &str, value: u64) -> DeviceCount {
        DeviceCount { major: 8, minor, operation: operation.into(), value }
    }

    #[test]
    fn devices_of_both_versions() {
        let v1 = "8:0 Read 10\n8:0 Write 20\n8:16 Total 30\nTotal 60\n";
        assert_eq!(io_v1(v1), [count(0, "Read", 10), count(0, "Write", 20), count(16, "Total", 30)]);
        let v2 = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n";
        assert_eq!(
            io_v2(v2, &[("rios", "Read"), ("wios", "Write")]),
            [count(0, "Read", 3), count(0, "Write", 4)]
        );
    }

    #[test]
    fn pressures() {
        let stall = Stall { average_10: 353, average_60: 1000, average_300: 2, total_us: 17 };
        let text = "some avg10=3.53 avg60=10.00 avg300=0.02 total=17\n";
        assert_eq!(pressure(text), Some(Pressure { some: stall, full: Stall::default() }));
        let text = format!("{text}full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
        let full = Stall { total_us: 5, ..Stall::default() };
        assert_eq!(pressure(&text), Some(Pressure { some: stall, full }));
        assert_eq!(pressure(""), None);
    }
}

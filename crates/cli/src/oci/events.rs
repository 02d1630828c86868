//! `events`: what a container uses, in runc's JSON, once or again and again until the container ends.

use std::process::ExitCode;
use std::time::Duration;

use cgroup::Stats;
use diag::Failure;
use runtime::container::ContainerError;
use serde_json::{Value, json};

use super::Call;
use super::error::OciError;
use super::flags::Flag;
use crate::context::print_line;

pub const FLAGS: &[Flag] = &[
    Flag::switch("stats", "Print the figures once and end"),
    Flag::value("interval", "duration", "How often to print them (default \"5s\")"),
];

pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let interval = match call.flags.one("interval") {
        None => Duration::from_secs(5),
        Some(text) => duration(text)
            .filter(|interval| !interval.is_zero())
            .ok_or_else(|| OciError::Value { flag: "interval", value: text.to_owned() })?,
    };
    let container = call.containers().load(call.id())?;
    print_event(container.id(), &container.stats()?);
    if call.flags.is_set("stats")? {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(interval);
        match container.stats() {
            Ok(stats) => print_event(container.id(), &stats),
            Err(ContainerError::NotRunning { .. }) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        }
    }
}

fn print_event(id: &str, stats: &Stats) {
    print_line(json!({ "type": "stats", "id": id, "data": data(stats) }));
}

fn data(stats: &Stats) -> Value {
    let memory = &stats.memory;
    json!({
        "cpu": {
            "usage": { "total": stats.cpu.total_ns, "kernel": stats.cpu.system_ns, "user": stats.cpu.user_ns },
            "throttling": {
                "periods": stats.cpu.throttling.periods,
                "throttledPeriods": stats.cpu.throttling.throttled_periods,
                "throttledTime": stats.cpu.throttling.throttled_ns,
            },
        },
        "memory": {
            "cache": memory.cache,
            "usage": {
                "limit": memory.limit.unwrap_or(u64::MAX),
                "usage": memory.usage,
                "max": memory.peak,
                "failcnt": memory.limit_hits,
            },
        },
        "pids": { "current": stats.pids.current, "limit": stats.pids.limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": [
                { "op": "Read", "value": stats.block_io.read_bytes },
                { "op": "Write", "value": stats.block_io.write_bytes },
            ],
        },
    })
}

/// A length of time as Go writes it: `500ms`, `5s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("5"), None);
    }
}

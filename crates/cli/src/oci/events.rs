//! `events`: what a container uses, in runc's JSON, once or again and again until the container ends.

use std::process::ExitCode;
use std::time::Duration;

use cgroup::{Counter, DeviceCount, Pressure, Report, Stall};
use diag::Failure;
use runtime::container::ContainerError;
use serde_json::{Map, Value, json};

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
    let mut report = container.report()?;
    print_event(container.id(), &report);
    if call.flags.is_set("stats")? {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(interval);
        let kills = report.memory.oom_kills;
        report = match container.report() {
            Ok(report) => report,
            Err(ContainerError::NotRunning { .. }) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        };
        if report.memory.oom_kills > kills {
            print_line(json!({ "type": "oom", "id": container.id() }));
        }
        print_event(container.id(), &report);
    }
}

fn print_event(id: &str, report: &Report) {
    print_line(json!({ "type": "stats", "id": id, "data": data(report) }));
}

fn data(report: &Report) -> Value {
    let Report { cpu, memory, pids, .. } = report;
    let huge_pages = report.huge_pages.iter();
    let mut data = json!({
        "cpu": {
            "usage": { "total": cpu.total_ns, "percpu": report.per_cpu_ns, "kernel": cpu.system_ns, "user": cpu.user_ns },
            "throttling": {
                "periods": cpu.throttling.periods,
                "throttledPeriods": cpu.throttling.throttled_periods,
                "throttledTime": cpu.throttling.throttled_ns,
            },
        },
        "memory": {
            "cache": memory.cache,
            "usage": counter(&memory.memory),
            "swap": counter(&memory.memory_and_swap),
            "kernel": counter(&memory.kernel),
            "kernelTCP": counter(&memory.kernel_tcp),
            "raw": memory.raw,
        },
        "pids": { "current": pids.current, "limit": pids.limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": devices(&report.io_bytes),
            "ioServicedRecursive": devices(&report.io_operations),
        },
        "hugetlb": huge_pages.map(|(size, pages)| (size.clone(), counter(pages))).collect::<Map<_, _>>(),
    });
    // Only where the kernel measures it.
    for (part, pressure) in
        [("cpu", &report.cpu_pressure), ("memory", &memory.pressure), ("blkio", &report.io_pressure)]
    {
        if let Some(pressure) = pressure {
            data[part]["psi"] = stalls(pressure);
        }
    }
    data
}

fn counter(counter: &Counter) -> Value {
    json!({
        "limit": counter.limit.unwrap_or(u64::MAX),
        "usage": counter.usage,
        "max": counter.peak,
        "failcnt": counter.failures,
    })
}

fn devices(counts: &[DeviceCount]) -> Vec<Value> {
    let entry = |count: &DeviceCount| json!({ "major": count.major, "minor": count.minor, "op": count.operation, "value": count.value });
    counts.iter().map(entry).collect()
}

fn stalls(pressure: &Pressure) -> Value {
    let percent = |hundredths: u64| hundredths as f64 / 100.0;
    let stall = |stall: &Stall| {
        json!({
            "avg10": percent(stall.average_10),
            "avg60": percent(stall.average_60),
            "avg300": percent(stall.average_300),
            "total": stall.total_us,
        })
    };
    json!({ "some": stall(&pressure.some), "full": stall(&pressure.full) })
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
    fn pressure_is_there_where_it_is_measured() {
        let stall = Stall { average_10: 353, total_us: 17, ..Stall::default() };
        let cpu_pressure = Some(Pressure { some: stall, full: Stall::default() });
        let data = data(&Report { cpu_pressure, ..Report::default() });
        assert_eq!(
            data["cpu"]["psi"]["some"],
            json!({ "avg10": 3.53, "avg60": 0.0, "avg300": 0.0, "total": 17 })
        );
        assert_eq!(data["memory"].get("psi"), None);
        assert_eq!(data["memory"]["swap"]["limit"], u64::MAX);
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("5"), None);
    }
}

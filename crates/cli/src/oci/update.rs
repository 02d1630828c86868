//! `update`: other limits for a container that runs.

use std::io::Read as _;
use std::process::ExitCode;

use diag::Failure;
use oci::runtime::{LinuxPids, LinuxResources};

use super::Call;
use super::error::OciError;
use super::flags::{Flag, Parsed};

pub const FLAGS: &[Flag] = &[
    Flag::value(
        "resources",
        "path",
        "A file with the resources of the specification, \"-\" for standard input",
    )
    .short('r'),
    Flag::value("blkio-weight", "number", "The weight for block devices (10 to 1000)"),
    Flag::value("cpu-period", "us", "The period of the CPU quota"),
    Flag::value("cpu-quota", "us", "The CPU time in each period"),
    Flag::value("cpu-burst", "us", "The CPU time that may be saved up"),
    Flag::value("cpu-share", "number", "The CPU weight among containers"),
    Flag::value("cpu-rt-period", "us", "The period of the realtime CPU time"),
    Flag::value("cpu-rt-runtime", "us", "The realtime CPU time in each period"),
    Flag::value("cpuset-cpus", "list", "The CPUs to use"),
    Flag::value("cpuset-mems", "list", "The memory nodes to use"),
    Flag::value("cpu-idle", "number", "1 to run only when nobody else does"),
    Flag::value("memory", "bytes", "The memory limit"),
    Flag::value("memory-reservation", "bytes", "The soft memory limit"),
    Flag::value("memory-swap", "bytes", "The limit of memory and swap together, -1 for none"),
    Flag::value("pids-limit", "number", "The limit of processes, -1 for none"),
];

pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let flags = &call.flags;
    let mut resources = match flags.one("resources") {
        Some(path) => read(path)?,
        None => LinuxResources::default(),
    };
    apply(flags, &mut resources)?;
    call.containers().load(call.id())?.update(&resources)?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &str) -> Result<LinuxResources, OciError> {
    let mut json = Vec::new();
    let read = match path {
        "-" => std::io::stdin().read_to_end(&mut json).map(drop),
        path => std::fs::read(path).map(|read| json = read),
    };
    read.map_err(|source| OciError::Read { path: path.into(), source })?;
    serde_json::from_slice(&json).map_err(|source| OciError::Json { path: path.into(), source })
}

fn apply(flags: &Parsed, resources: &mut LinuxResources) -> Result<(), OciError> {
    let size = |name: &'static str| -> Result<Option<i64>, OciError> {
        flags
            .one(name)
            .map(|text| bytes(text).ok_or_else(|| OciError::Value { flag: name, value: text.to_owned() }))
            .transpose()
    };
    let cpu = resources.cpu.get_or_insert_default();
    cpu.period = flags.number("cpu-period")?.or(cpu.period);
    cpu.quota = flags.number("cpu-quota")?.or(cpu.quota);
    cpu.burst = flags.number("cpu-burst")?.or(cpu.burst);
    cpu.shares = flags.number("cpu-share")?.or(cpu.shares);
    cpu.realtime_period = flags.number("cpu-rt-period")?.or(cpu.realtime_period);
    cpu.realtime_runtime = flags.number("cpu-rt-runtime")?.or(cpu.realtime_runtime);
    cpu.idle = flags.number("cpu-idle")?.or(cpu.idle);
    if let Some(list) = flags.one("cpuset-cpus") {
        cpu.cpus = Some(list.to_owned());
    }
    if let Some(list) = flags.one("cpuset-mems") {
        cpu.mems = Some(list.to_owned());
    }
    let memory = resources.memory.get_or_insert_default();
    memory.limit = size("memory")?.or(memory.limit);
    memory.reservation = size("memory-reservation")?.or(memory.reservation);
    memory.swap = size("memory-swap")?.or(memory.swap);
    if let Some(weight) = flags.number("blkio-weight")? {
        resources.block_io.get_or_insert_default().weight = Some(weight);
    }
    if let Some(limit) = flags.number("pids-limit")? {
        resources.pids = Some(LinuxPids { limit });
    }
    Ok(())
}

/// A number of bytes with or without a unit: `512m`.
fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let units = [('k', 10), ('m', 20), ('g', 30), ('t', 40)];
    let unit = units.iter().find_map(|(letter, shift)| Some((text.strip_suffix(*letter)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let expected = [
            ("7", Some(7)),
            ("512m", Some(512 << 20)),
            ("1GB", Some(1 << 30)),
            ("-1", Some(-1)),
            ("x", None),
        ];
        for (text, size) in expected {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}

//! The properties of a scope.

use oci::runtime::LinuxResources;

pub use super::dbus::Value;
use crate::limits::{self, Setting};
use crate::{CgroupError, Version};

/// What every scope of ours has.
pub fn of_scope(slice: &str, unit: &str, member: i32) -> Vec<(String, Value)> {
    let on = ["Delegate", "CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"];
    let mut all = vec![
        ("Description".to_owned(), Value::String(format!("hull container {unit}"))),
        ("Slice".to_owned(), Value::String(slice.to_owned())),
        ("PIDs".to_owned(), Value::U32s(vec![member as u32])),
        // Containers end before or after what started them, as they like.
        ("DefaultDependencies".to_owned(), Value::Bool(false)),
    ];
    all.extend(on.map(|name| (name.to_owned(), Value::Bool(true))));
    all
}

/// What systemd knows of `resources`, from the same files and values that are written.
pub fn of_resources(
    version: Version,
    resources: &LinuxResources,
) -> Result<Vec<(String, Value)>, CgroupError> {
    let settings = limits::settings(version, resources)?;
    let value = |file: &str| {
        let choices = settings.iter().rev().flat_map(|setting: &Setting| &setting.choices);
        choices.filter(|(name, _)| name == file).map(|(_, value)| value.as_str()).next()
    };
    let mut all = Vec::new();
    for (file, property) in NUMBERS {
        if let Some(number) = value(file).and_then(amount) {
            all.push(((*property).to_owned(), Value::U64(number)));
        }
    }
    for (file, property) in SETS {
        if let Some(list) = value(file).and_then(bits) {
            all.push(((*property).to_owned(), Value::Bytes(list)));
        }
    }
    let quota = match version {
        Version::V2 => value("cpu.max").map(|both| both.split_once(' ').unwrap_or((both, "100000"))),
        Version::V1 => {
            value("cpu.cfs_quota_us").map(|quota| (quota, value("cpu.cfs_period_us").unwrap_or("100000")))
        }
    };
    if let Some((quota, period)) = quota {
        all.extend(cpu_quota(quota, period).into_iter().flatten());
    }
    Ok(all)
}

/// Files with one number, and systemd's name for it.
const NUMBERS: &[(&str, &str)] = &[
    ("memory.max", "MemoryMax"),
    ("memory.low", "MemoryLow"),
    ("memory.high", "MemoryHigh"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("cpu.weight", "CPUWeight"),
    ("cpu.shares", "CPUShares"),
    ("pids.max", "TasksMax"),
    ("io.weight", "IOWeight"),
    ("blkio.weight", "BlockIOWeight"),
];

const SETS: &[(&str, &str)] = &[("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")];

/// systemd writes "no limit" as the largest number.
fn amount(text: &str) -> Option<u64> {
    match text {
        "max" | "-1" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

fn cpu_quota(quota: &str, period: &str) -> Option<[(String, Value); 2]> {
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    let per_second = match quota.parse::<u64>() {
        // Whole percents, rounded up, are all that systemd keeps.
        Ok(quota) => (quota.saturating_mul(1_000_000) / period).next_multiple_of(10_000),
        Err(_) => u64::MAX,
    };
    Some([
        ("CPUQuotaPerSecUSec".to_owned(), Value::U64(per_second)),
        ("CPUQuotaPeriodUSec".to_owned(), Value::U64(period)),
    ])
}

/// A list such as `0-2,7` as a bit mask, lowest byte first.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= 1 << 16 {
            return None;
        }
        for bit in first..=last {
            bytes.resize(bytes.len().max(bit / 8 + 1), 0);
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bytes)
}

/// Reads annotations `org.systemd.property.<name>`, whose values are GVariant text; times in seconds are converted.
pub fn of_annotations<'a>(
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<(String, Value)>, CgroupError> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else { continue };
        let invalid = || CgroupError::Invalid {
            what: "annotation org.systemd.property",
            value: format!("{name}={text}"),
        };
        // The unit is ours, whatever the annotations say of it.
        if name.is_empty() || ["PIDs", "Slice", "Delegate"].contains(&name) {
            return Err(invalid());
        }
        let value = parse(text.trim()).ok_or_else(invalid)?;
        all.push(match (name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')), value) {
            (Some(stem), value) => {
                let seconds = match value {
                    Value::I32(seconds) => u64::try_from(seconds).ok(),
                    Value::U32(seconds) => Some(seconds.into()),
                    Value::U64(seconds) => Some(seconds),
                    _ => None,
                };
                let micros =
                    seconds.and_then(|seconds| seconds.checked_mul(1_000_000)).ok_or_else(invalid)?;
                (format!("{stem}USec"), Value::U64(micros))
            }
            (None, value) => (name.to_owned(), value),
        });
    }
    Ok(all)
}

/// The GVariant text of the types that properties of units have.
fn parse(text: &str) -> Option<Value> {
    let quoted = |text: &str| {
        let quote = text.chars().next().filter(|c| ['\'', '"'].contains(c))?;
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains([quote, '\\'])).then(|| inner.to_owned())
    };
    if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return list.split(',').map(|one| quoted(one.trim())).collect::<Option<_>>().map(Value::Strings);
    }
    Some(match text.split_once(' ') {
        Some(("uint64" | "@t", number)) => Value::U64(number.trim().parse().ok()?),
        Some(("int64" | "@x", number)) => Value::I64(number.trim().parse().ok()?),
        Some(("uint32" | "@u", number)) => Value::U32(number.trim().parse().ok()?),
        Some(("int32" | "@i", number)) => Value::I32(number.trim().parse().ok()?),
        _ if text == "true" || text == "false" => Value::Bool(text == "true"),
        _ => match text.parse() {
            Ok(number) => Value::I32(number),
            Err(_) => Value::String(quoted(text)?),
        },
    })
}

#[cfg(test)]
mod tests {
    use oci::runtime::{LinuxCpu, LinuxMemory, LinuxPids};

    use super::*;

    #[test]
    fn systemd_is_told_what_is_written() {
        let resources = LinuxResources {
            memory: Some(LinuxMemory { limit: Some(64), swap: Some(-1), ..Default::default() }),
            cpu: Some(LinuxCpu {
                shares: Some(1024),
                quota: Some(15_100),
                period: Some(50_000),
                cpus: Some("0,9-10".into()),
                ..Default::default()
            }),
            pids: Some(LinuxPids { limit: -1 }),
            ..Default::default()
        };
        let check = |version, expected: &[(&str, Value)]| {
            let found = of_resources(version, &resources).expect("it is valid");
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            assert_eq!(found, expected);
        };
        let common = [
            ("TasksMax", Value::U64(u64::MAX)),
            ("AllowedCPUs", Value::Bytes(vec![1, 6])),
            ("CPUQuotaPerSecUSec", Value::U64(310_000)),
            ("CPUQuotaPeriodUSec", Value::U64(50_000)),
        ];
        let memory = [
            ("MemoryMax", Value::U64(64)),
            ("MemorySwapMax", Value::U64(u64::MAX)),
            ("CPUWeight", Value::U64(100)),
        ];
        check(Version::V2, &[&memory[..], &common].concat());
        let memory = [("MemoryLimit", Value::U64(64)), ("CPUShares", Value::U64(1024))];
        check(Version::V1, &[&memory[..], &common].concat());
    }

    #[test]
    fn annotations_become_properties() {
        let check = |name: &str, text: &str, expected: Option<(&str, Value)>| {
            let annotations =
                [(format!("org.systemd.property.{name}"), text.to_owned()), ("other".into(), "x".into())];
            let found = of_annotations(annotations.iter().map(|(key, value)| (key, value)));
            let expected = expected.map(|(name, value)| vec![(name.to_owned(), value)]);
            assert_eq!(found.ok(), expected, "{name}={text}");
        };
        check("TimeoutStopUSec", "uint64 123", Some(("TimeoutStopUSec", Value::U64(123))));
        check("TimeoutStopSec", "5", Some(("TimeoutStopUSec", Value::U64(5_000_000))));
        check(
            "CollectMode",
            "'inactive-or-failed'",
            Some(("CollectMode", Value::String("inactive-or-failed".into()))),
        );
        check(
            "Before",
            "['a.service', \"b.service\"]",
            Some(("Before", Value::Strings(vec!["a.service".into(), "b.service".into()]))),
        );
        check("SendSIGHUP", "true", Some(("SendSIGHUP", Value::Bool(true))));
        check("X", "-3", Some(("X", Value::I32(-3))));
        check("PIDs", "5", None);
        check("X", "bare words", None);
        check("TimeoutSec", "'x'", None);
    }
}

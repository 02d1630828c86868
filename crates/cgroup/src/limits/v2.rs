//! The files of cgroup v2.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxRdma, LinuxResources};

use super::{BLOCK_WEIGHT, Setting, THROTTLE, amount, file_name, pids_limit, refuse_leaf_weights, throttles};
use crate::{CgroupError, Version};

pub fn settings(resources: &LinuxResources) -> Result<Vec<Setting>, CgroupError> {
    let mut out = Vec::new();
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, &mut out)?;
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut out)?;
    }
    if let Some(pids) = &resources.pids {
        out.push(Setting::new("pids", "pids.max", pids_limit(pids.limit), "a limit of processes"));
    }
    if let Some(io) = &resources.block_io {
        block_io(io, &mut out)?;
    }
    for page in &resources.hugepage_limits {
        let size = file_name(&page.page_size, "huge page size")?;
        // What is reserved counts, too, where the kernel (5.7) can: a limit on use alone kills with SIGBUS.
        for (file, optional) in [("rsvd.max", true), ("max", false)] {
            let file = format!("hugetlb.{size}.{file}");
            let setting = Setting::new("hugetlb", file, page.limit, format!("a limit of {size} huge pages"));
            out.push(Setting { optional, ..setting });
        }
    }
    if resources.network.as_ref().is_some_and(|n| n.class_id.is_some() || !n.priorities.is_empty()) {
        return Err(unsupported("a network class or priority"));
    }
    for (device, limit) in &resources.rdma {
        out.push(Setting::new("rdma", "rdma.max", rdma(device, limit), "an RDMA limit"));
    }
    for (file, value) in &resources.unified {
        let file = file_name(file, "control group setting")?;
        let what = format!("the setting {file}");
        let prefix = file.split('.').next().unwrap_or("");
        let controller = CONTROLLERS.into_iter().find(|c| *c == prefix).unwrap_or("");
        // Of multi-line values each line is one setting.
        out.extend(value.lines().map(|line| Setting::new(controller, file.clone(), line, what.clone())));
    }
    Ok(out)
}

/// The controllers a group can be given.
pub const CONTROLLERS: [&str; 8] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc"];

fn unsupported(what: &str) -> CgroupError {
    CgroupError::Unsupported { what: what.to_string(), version: Version::V2 }
}

fn cpu(cpu: &LinuxCpu, out: &mut Vec<Setting>) -> Result<(), CgroupError> {
    if cpu.realtime_runtime.is_some_and(|r| r != 0) || cpu.realtime_period.is_some_and(|p| p != 0) {
        return Err(unsupported("a realtime limit"));
    }
    if let Some(shares) = cpu.shares.filter(|&s| s != 0) {
        out.push(Setting::new("cpu", "cpu.weight", cpu_weight(shares), "a CPU weight"));
    }
    let (quota, period) = (cpu.quota.filter(|&q| q != 0), cpu.period.filter(|&p| p != 0));
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|&q| q > 0).map_or("max".to_string(), |q| q.to_string());
        // Without a period the kernel keeps the one it has, 100 ms in a new group.
        let value = period.map_or(quota.clone(), |period| format!("{quota} {period}"));
        out.push(Setting::new("cpu", "cpu.max", value, "a CPU limit"));
    }
    if let Some(burst) = cpu.burst {
        out.push(Setting::new("cpu", "cpu.max.burst", burst, "a CPU burst"));
    }
    if let Some(idle) = cpu.idle {
        out.push(Setting::new("cpu", "cpu.idle", idle, "CPU idle scheduling"));
    }
    let lists =
        [("cpuset.cpus", &cpu.cpus, "a set of CPUs"), ("cpuset.mems", &cpu.mems, "a set of memory nodes")];
    for (file, list, what) in lists {
        if let Some(list) = list.as_ref().filter(|l| !l.is_empty()) {
            out.push(Setting::new("cpuset", file, list, what));
        }
    }
    Ok(())
}

/// Converts v1 shares (2 to 262144, default 1024) to a v2 weight (1 to 10000, default 100).
///
/// The curve runs through the three pairs of minimum, default and maximum, as crun's and runc's does since 2025; the straight
/// line they used before gave 39 for the default.
fn cpu_weight(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

fn memory(memory: &LinuxMemory, out: &mut Vec<Setting>) -> Result<(), CgroupError> {
    if memory.kernel.is_some_and(|k| k > 0) || memory.kernel_tcp.is_some_and(|k| k > 0) {
        return Err(unsupported("a kernel memory limit"));
    }
    if memory.swappiness.is_some() {
        return Err(unsupported("a swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(unsupported("a disabled OOM killer"));
    }
    if memory.use_hierarchy == Some(false) {
        return Err(unsupported("memory that is not counted in the groups above"));
    }
    let limit = memory.limit.filter(|&l| l != 0);
    if let Some(swap) = swap_alone(limit, memory.swap.filter(|&s| s != 0))? {
        let mut setting = Setting::new("memory", "memory.swap.max", swap, "a swap limit (swap accounting)");
        setting.optional = memory.swap == Some(-1)
            || limit.is_some_and(|limit| memory.swap == Some(limit.saturating_mul(2)))
            || memory.swap.is_none();
        out.push(setting);
    }
    if let Some(limit) = limit {
        let value = amount("memory limit", limit, "max")?;
        let mut setting = Setting::new("memory", "memory.max", value, "a memory limit");
        if memory.check_before_update == Some(true) {
            setting.not_below = Some("memory.current");
        }
        out.push(setting);
    }
    if let Some(reservation) = memory.reservation.filter(|&r| r != 0) {
        let value = amount("memory reservation", reservation, "max")?;
        out.push(Setting::new("memory", "memory.low", value, "a memory reservation"));
    }
    Ok(())
}

/// The swap v2 limits by itself, from the sum of memory and swap that the specification has.
fn swap_alone(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, CgroupError> {
    let invalid = |value: i64| CgroupError::Invalid { what: "swap limit", value: value.to_string() };
    match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_string())),
        (_, None) => Ok(None),
        (Some(limit), Some(swap)) if limit >= 0 && swap >= limit => Ok(Some((swap - limit).to_string())),
        (_, Some(swap)) => Err(invalid(swap)),
    }
}

fn block_io(io: &LinuxBlockIo, out: &mut Vec<Setting>) -> Result<(), CgroupError> {
    refuse_leaf_weights(Version::V2, io)?;
    // BFQ keeps v1's scale of 10 to 1000; the generic controller has 1 to 10000.
    let generic = |weight: u16| 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
    if let Some(weight) = io.weight.filter(|&w| w != 0) {
        let mut setting = Setting::new("io", "io.bfq.weight", weight, BLOCK_WEIGHT);
        setting.choices.push(("io.weight".into(), generic(weight).to_string()));
        out.push(setting);
    }
    for d in &io.weight_device {
        let weight = d.weight.unwrap_or(0);
        let device = format!("{}:{}", d.major, d.minor);
        let mut setting = Setting::new("io", "io.bfq.weight", format!("{device} {weight}"), BLOCK_WEIGHT);
        setting.choices.push(("io.weight".into(), format!("{device} {}", generic(weight))));
        out.push(setting);
    }
    for (_, key, devices) in throttles(io) {
        for d in devices {
            out.push(Setting::new(
                "io",
                "io.max",
                format!("{}:{} {key}={}", d.major, d.minor, d.rate),
                THROTTLE,
            ));
        }
    }
    Ok(())
}

/// A line for `rdma.max`, which is the same in both versions.
pub fn rdma(device: &str, limit: &LinuxRdma) -> String {
    let value = |v: Option<u32>| v.map_or("max".to_string(), |v| v.to_string());
    format!("{device} hca_handle={} hca_object={}", value(limit.hca_handles), value(limit.hca_objects))
}

#[cfg(test)]
mod tests {
    use oci::runtime::{LinuxPids, LinuxThrottleDevice};

    use super::super::lines;
    use super::*;

    fn check(resources: LinuxResources, expected: &[&str]) {
        assert_eq!(lines(settings(&resources)), expected);
    }

    fn check_memory(memory: LinuxMemory, expected: &[&str]) {
        check(LinuxResources { memory: Some(memory), ..Default::default() }, expected);
    }

    fn check_cpu(cpu: LinuxCpu, expected: &[&str]) {
        check(LinuxResources { cpu: Some(cpu), ..Default::default() }, expected);
    }

    #[test]
    fn swap_is_counted_apart() {
        let memory = |limit, swap| LinuxMemory { limit, swap, ..Default::default() };
        check_memory(memory(Some(64), Some(128)), &["memory.swap.max=64", "memory.max=64"]);
        check_memory(memory(Some(64), Some(64)), &["memory.swap.max=0", "memory.max=64"]);
        check_memory(memory(Some(64), Some(-1)), &["memory.swap.max=max", "memory.max=64"]);
        check_memory(memory(Some(64), None), &["memory.max=64"]);
        check_memory(memory(Some(-1), None), &["memory.swap.max=max", "memory.max=max"]);
        check_memory(memory(Some(64), Some(32)), &["invalid swap limit: `32`"]);
        check_memory(memory(None, Some(32)), &["invalid swap limit: `32`"]);
    }

    #[test]
    fn what_v2_lacks_is_refused() {
        check_memory(
            LinuxMemory { swappiness: Some(10), ..Default::default() },
            &["a swappiness is not possible with cgroup v2"],
        );
        check_memory(LinuxMemory { disable_oom_killer: Some(false), ..Default::default() }, &[]);
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (1, 1), (1 << 30, 10_000)] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert!(cpu_weight(512) < 100 && cpu_weight(2048) > 100);
    }

    #[test]
    fn cpu_max_has_both() {
        let cpu = |quota, period| LinuxCpu { quota, period, ..Default::default() };
        check_cpu(cpu(Some(50_000), Some(100_000)), &["cpu.max=50000 100000"]);
        check_cpu(cpu(Some(50_000), None), &["cpu.max=50000"]);
        check_cpu(cpu(Some(-1), Some(100_000)), &["cpu.max=max 100000"]);
        check_cpu(cpu(None, None), &[]);
    }

    #[test]
    fn io_and_pids() {
        let throttle = LinuxThrottleDevice { major: 8, minor: 0, rate: 9 };
        let io = LinuxBlockIo {
            weight: Some(1000),
            throttle_write_iops_device: vec![throttle],
            ..Default::default()
        };
        check(
            LinuxResources { pids: Some(LinuxPids { limit: 7 }), block_io: Some(io), ..Default::default() },
            &["pids.max=7", "io.bfq.weight=1000 or io.weight=10000", "io.max=8:0 wiops=9"],
        );
    }

    #[test]
    fn unified_settings_stay_in_the_group() {
        let unified = |file: &str, value: &str| LinuxResources {
            unified: [(file.to_string(), value.to_string())].into(),
            ..Default::default()
        };
        check(unified("memory.high", "5\n"), &["memory.high=5"]);
        check(unified("../cgroup.procs", "1"), &["invalid control group setting: `../cgroup.procs`"]);
    }
}

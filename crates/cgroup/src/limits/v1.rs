//! The files of cgroup v1.

use std::fmt::Write as _;

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{BLOCK_WEIGHT, Setting, THROTTLE, amount, file_name, pids_limit, refuse_leaf_weights, throttles};
use crate::{CgroupError, Version};

pub fn settings(resources: &LinuxResources) -> Result<Vec<Setting>, CgroupError> {
    let mut out = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpuset(cpu, &mut out);
        cpu_time(cpu, &mut out);
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
        for (file, optional) in [("rsvd.limit_in_bytes", true), ("limit_in_bytes", false)] {
            let file = format!("hugetlb.{size}.{file}");
            let setting = Setting::new("hugetlb", file, page.limit, format!("a limit of {size} huge pages"));
            out.push(Setting { optional, ..setting });
        }
    }
    if let Some(network) = &resources.network {
        if let Some(class) = network.class_id {
            out.push(Setting::new("net_cls", "net_cls.classid", class, "a network class"));
        }
        for p in &network.priorities {
            let value = format!("{} {}", p.name, p.priority);
            out.push(Setting::new("net_prio", "net_prio.ifpriomap", value, "a network priority"));
        }
    }
    for (device, limit) in &resources.rdma {
        out.push(Setting::new("rdma", "rdma.max", super::v2::rdma(device, limit), "an RDMA limit"));
    }
    if let Some(file) = resources.unified.keys().next() {
        return Err(CgroupError::Unsupported { what: format!("the setting {file}"), version: Version::V1 });
    }
    Ok(out)
}

fn cpu_time(cpu: &LinuxCpu, out: &mut Vec<Setting>) {
    let mut push = |file, value: Option<String>, what| {
        out.extend(value.map(|value| Setting::new("cpu", file, value, what)));
    };
    let text = |value: Option<u64>| value.map(|v| v.to_string());
    // 0 means "not set" to Docker's clients, as it does in the specification's own examples.
    push("cpu.shares", text(cpu.shares.filter(|&s| s != 0)), "a CPU weight");
    push("cpu.cfs_period_us", text(cpu.period.filter(|&p| p != 0)), "a CPU period");
    push("cpu.cfs_quota_us", cpu.quota.filter(|&q| q != 0).map(|q| q.to_string()), "a CPU limit");
    push("cpu.cfs_burst_us", text(cpu.burst), "a CPU burst");
    push("cpu.rt_period_us", text(cpu.realtime_period.filter(|&p| p != 0)), "a realtime period");
    push(
        "cpu.rt_runtime_us",
        cpu.realtime_runtime.filter(|&r| r != 0).map(|r| r.to_string()),
        "a realtime limit",
    );
    push("cpu.idle", cpu.idle.map(|i| i.to_string()), "CPU idle scheduling");
}

fn cpuset(cpu: &LinuxCpu, out: &mut Vec<Setting>) {
    let lists =
        [("cpuset.cpus", &cpu.cpus, "a set of CPUs"), ("cpuset.mems", &cpu.mems, "a set of memory nodes")];
    for (file, list, what) in lists {
        if let Some(list) = list.as_ref().filter(|l| !l.is_empty()) {
            out.push(Setting::new("cpuset", file, list, what));
        }
    }
}

fn memory(memory: &LinuxMemory, out: &mut Vec<Setting>) -> Result<(), CgroupError> {
    let limit = memory.limit.filter(|&l| l != 0);
    if let Some(limit) = limit {
        let value = amount("memory limit", limit, "-1")?;
        let mut setting = Setting::new("memory", "memory.limit_in_bytes", value, "a memory limit");
        if memory.check_before_update == Some(true) {
            setting.not_below = Some("memory.usage_in_bytes");
        }
        out.push(setting);
    }
    // A memory limit that is lifted takes the limit of both with it; the kernel refuses the former without the latter.
    let swap = memory.swap.filter(|&s| s != 0).or((limit == Some(-1)).then_some(-1));
    if let Some(swap) = swap {
        let value = amount("swap limit", swap, "-1")?;
        let what = "a swap limit (swap accounting)";
        let mut setting = Setting::new("memory", "memory.memsw.limit_in_bytes", value, what);
        // Twice the memory is what Docker asks for when the user asked for no swap limit at all.
        setting.optional = swap == -1 || limit.is_some_and(|limit| swap == limit.saturating_mul(2));
        out.push(setting);
    }
    if let Some(reservation) = memory.reservation.filter(|&r| r != 0) {
        let value = amount("memory reservation", reservation, "-1")?;
        out.push(Setting::new("memory", "memory.soft_limit_in_bytes", value, "a memory reservation"));
    }
    if let Some(kernel_tcp) = memory.kernel_tcp.filter(|&k| k != 0) {
        let value = amount("TCP memory limit", kernel_tcp, "-1")?;
        out.push(Setting::new("memory", "memory.kmem.tcp.limit_in_bytes", value, "a TCP memory limit"));
    }
    if memory.kernel.is_some_and(|k| k > 0) {
        // Linux 5.16 made it impossible; runc and the specification dropped it.
        let what = "a kernel memory limit".to_string();
        return Err(CgroupError::Unsupported { what, version: Version::V1 });
    }
    if let Some(swappiness) = memory.swappiness {
        if swappiness > 100 {
            return Err(CgroupError::Invalid { what: "swappiness", value: swappiness.to_string() });
        }
        out.push(Setting::new("memory", "memory.swappiness", swappiness, "a swappiness"));
    }
    if let Some(hierarchical) = memory.use_hierarchy {
        let value = u8::from(hierarchical);
        out.push(Setting {
            // Where the file has gone, every group is hierarchical.
            optional: hierarchical,
            ..Setting::new(
                "memory",
                "memory.use_hierarchy",
                value,
                "memory that is not counted in the groups above",
            )
        });
    }
    if memory.disable_oom_killer == Some(true) {
        out.push(Setting::new("memory", "memory.oom_control", 1, "a disabled OOM killer"));
    }
    Ok(())
}

fn block_io(io: &LinuxBlockIo, out: &mut Vec<Setting>) -> Result<(), CgroupError> {
    refuse_leaf_weights(Version::V1, io)?;
    if let Some(weight) = io.weight.filter(|&w| w != 0) {
        let mut setting = Setting::new("blkio", "blkio.weight", weight, BLOCK_WEIGHT);
        setting.choices.push(("blkio.bfq.weight".into(), weight.to_string()));
        out.push(setting);
    }
    for device in &io.weight_device {
        let mut value = format!("{}:{} ", device.major, device.minor);
        let _ = write!(value, "{}", device.weight.unwrap_or(0));
        let mut setting = Setting::new("blkio", "blkio.weight_device", &value, BLOCK_WEIGHT);
        setting.choices.push(("blkio.bfq.weight_device".into(), value));
        out.push(setting);
    }
    for (file, _, devices) in throttles(io) {
        for d in devices {
            out.push(Setting::new("blkio", file, format!("{}:{} {}", d.major, d.minor, d.rate), THROTTLE));
        }
    }
    Ok(())
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
    fn nothing_asked_nothing_written() {
        check(LinuxResources::default(), &[]);
        check_cpu(LinuxCpu { shares: Some(0), quota: Some(0), ..Default::default() }, &[]);
        check_memory(LinuxMemory { limit: Some(0), ..Default::default() }, &[]);
    }

    #[test]
    fn memory_and_swap() {
        check_memory(
            LinuxMemory { limit: Some(64), swap: Some(128), reservation: Some(32), ..Default::default() },
            &["memory.limit_in_bytes=64", "memory.memsw.limit_in_bytes=128", "memory.soft_limit_in_bytes=32"],
        );
        check_memory(
            LinuxMemory { limit: Some(-1), ..Default::default() },
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
        );
        check_memory(LinuxMemory { limit: Some(-2), ..Default::default() }, &["invalid memory limit: `-2`"]);
        check_memory(
            LinuxMemory { swappiness: Some(101), ..Default::default() },
            &["invalid swappiness: `101`"],
        );
    }

    #[test]
    fn cpu_quota_and_sets() {
        check_cpu(
            LinuxCpu {
                shares: Some(512),
                quota: Some(150_000),
                period: Some(100_000),
                cpus: Some("0-1".into()),
                mems: Some(String::new()),
                ..Default::default()
            },
            &["cpuset.cpus=0-1", "cpu.shares=512", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"],
        );
    }

    #[test]
    fn pids_and_block_io() {
        let throttle = LinuxThrottleDevice { major: 8, minor: 16, rate: 1 << 20 };
        let io = LinuxBlockIo {
            weight: Some(300),
            throttle_read_bps_device: vec![throttle],
            ..Default::default()
        };
        check(
            LinuxResources { pids: Some(LinuxPids { limit: -1 }), block_io: Some(io), ..Default::default() },
            &[
                "pids.max=max",
                "blkio.weight=300 or blkio.bfq.weight=300",
                "blkio.throttle.read_bps_device=8:16 1048576",
            ],
        );
    }

    #[test]
    fn v2_settings_are_refused() {
        let unified = [("memory.high".to_string(), "1".to_string())].into();
        check(
            LinuxResources { unified, ..Default::default() },
            &["the setting memory.high is not possible with cgroup v1"],
        );
    }
}

//! Limits in the words of the runtime-spec.

use crate::create::validate;
use crate::model::{BlockRate, Limits};
use crate::start::StartError;
use oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice, Rlimit,
};
use std::os::unix::fs::MetadataExt;

/// Fills `resources` with `limits`; absent limits leave it as it is.
///
/// # Errors
/// A block device that does not exist.
pub(crate) fn resources(limits: &Limits, resources: &mut LinuxResources) -> Result<(), StartError> {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let memory = limits.memory_bytes.filter(|bytes| *bytes > 0);
    let swap = limits.memory_swap_bytes.filter(|swap| *swap != 0);
    let memory = LinuxMemory {
        limit: memory.map(signed),
        reservation: limits.memory_reservation_bytes.filter(|bytes| *bytes > 0).map(signed),
        // Docker's default: as much swap as memory.
        swap: swap.or_else(|| memory.map(|bytes| signed(bytes.saturating_mul(2)))),
        swappiness: limits.memory_swappiness,
        disable_oom_killer: limits.oom_kill_disable.then_some(true),
        ..LinuxMemory::default()
    };
    if memory != LinuxMemory::default() {
        resources.memory = Some(memory);
    }
    let positive = |value: Option<u64>| value.filter(|value| *value > 0);
    let mut cpu = LinuxCpu {
        shares: positive(limits.cpu_shares),
        period: positive(limits.cpu_period_us),
        quota: limits.cpu_quota_us.filter(|quota| *quota != 0),
        cpus: limits.cpuset_cpus.clone().filter(|set| !set.is_empty()),
        mems: limits.cpuset_mems.clone().filter(|set| !set.is_empty()),
        ..LinuxCpu::default()
    };
    if let Some(nano) = positive(limits.nano_cpus) {
        cpu.period = Some(100_000);
        cpu.quota = Some(signed(nano / 10_000));
    }
    if cpu != LinuxCpu::default() {
        resources.cpu = Some(cpu);
    }
    if let Some(limit) = limits.pids {
        resources.pids = Some(LinuxPids { limit: if limit <= 0 { -1 } else { limit } });
    }
    let block_io = LinuxBlockIo {
        weight: limits.blkio_weight.filter(|weight| *weight > 0),
        throttle_read_bps_device: throttles(&limits.read_bps)?,
        throttle_write_bps_device: throttles(&limits.write_bps)?,
        throttle_read_iops_device: throttles(&limits.read_iops)?,
        throttle_write_iops_device: throttles(&limits.write_iops)?,
        ..LinuxBlockIo::default()
    };
    if block_io != LinuxBlockIo::default() {
        resources.block_io = Some(block_io);
    }
    Ok(())
}

impl Limits {
    /// The limits on memory, processors and processes that steps of a build can have.
    ///
    /// # Errors
    /// [`StartError`] when they contradict each other.
    pub fn of_steps(&self) -> Result<(LinuxResources, Vec<Rlimit>), StartError> {
        validate::limits(self).map_err(StartError::from)?;
        let mut all = LinuxResources::default();
        resources(self, &mut all)?;
        Ok((all, self.ulimits.iter().map(super::rlimit).collect()))
    }
}

/// How many processes a container may have that says nothing: 15 % of what the kernel has room for, as systemd gives a service.
///
/// So that a fork bomb takes neither the host's last process nor hull's means to end it. `--pids-limit -1` is without limit.
pub(crate) fn default_pids() -> Option<LinuxPids> {
    let room = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"];
    let room = room.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok());
    Some(LinuxPids { limit: room.min()? * 15 / 100 })
}

fn throttles(rates: &[BlockRate]) -> Result<Vec<LinuxThrottleDevice>, StartError> {
    let throttle = |rate: &BlockRate| {
        let metadata = std::fs::metadata(&rate.device)
            .map_err(|source| StartError::Device { path: rate.device.clone(), source })?;
        let (major, minor) = sys::fs::device_numbers(metadata.rdev());
        Ok(LinuxThrottleDevice { major: major.into(), minor: minor.into(), rate: rate.rate })
    };
    rates.iter().map(throttle).collect()
}

//! Limits of the container's control group.

use std::collections::BTreeMap;

use super::object;

object! {
    /// Everything a control group limits; `cgroup` maps it to v1 or v2.
    #[derive(Default)]
    LinuxResources {
        ;
        devices: Vec<LinuxDeviceCgroup>,
        memory: Option<LinuxMemory>,
        cpu: Option<LinuxCpu>,
        pids: Option<LinuxPids>,
        #[serde(rename = "blockIO")]
        block_io: Option<LinuxBlockIo>,
        hugepage_limits: Vec<LinuxHugepageLimit>,
        network: Option<LinuxNetwork>,
        rdma: BTreeMap<String, LinuxRdma>,
        unified: BTreeMap<String, String>,
    }
}

object! {
    /// A rule for device access; a later rule overrides an earlier one.
    #[derive(Default)]
    LinuxDeviceCgroup {
        allow: bool,
        ;
        /// `a` (all), `c` or `b`; absent means all.
        r#type: Option<String>,
        /// Absent means every major number.
        major: Option<i64>,
        /// Absent means every minor number.
        minor: Option<i64>,
        /// Some of `rwm`.
        access: Option<String>,
    }
}

object! {
    /// Memory limits in bytes; -1 means unlimited.
    #[derive(Copy, Default)]
    LinuxMemory {
        ;
        limit: Option<i64>,
        reservation: Option<i64>,
        /// Memory and swap together.
        swap: Option<i64>,
        kernel: Option<i64>,
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        use_hierarchy: Option<bool>,
        check_before_update: Option<bool>,
    }
}

object! {
    /// CPU time and placement; periods, quotas, bursts and run times are microseconds.
    #[derive(Default)]
    LinuxCpu {
        ;
        shares: Option<u64>,
        quota: Option<i64>,
        burst: Option<u64>,
        period: Option<u64>,
        realtime_runtime: Option<i64>,
        realtime_period: Option<u64>,
        cpus: Option<String>,
        mems: Option<String>,
        idle: Option<i64>,
    }
}

object! {
    /// The number of processes and threads; 0 or less means unlimited.
    #[derive(Copy, Default)]
    LinuxPids {
        limit: i64,
        ;
    }
}

object! {
    /// Weights and throttles of block devices.
    #[derive(Default)]
    LinuxBlockIo {
        ;
        weight: Option<u16>,
        leaf_weight: Option<u16>,
        weight_device: Vec<LinuxWeightDevice>,
        throttle_read_bps_device: Vec<LinuxThrottleDevice>,
        throttle_write_bps_device: Vec<LinuxThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: Vec<LinuxThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: Vec<LinuxThrottleDevice>,
    }
}

object! {
    /// The weight of one block device.
    #[derive(Copy, Default)]
    LinuxWeightDevice {
        major: i64,
        minor: i64,
        ;
        weight: Option<u16>,
        leaf_weight: Option<u16>,
    }
}

object! {
    /// Bytes or operations a second of one block device.
    #[derive(Copy, Default)]
    LinuxThrottleDevice {
        major: i64,
        minor: i64,
        ;
        rate: u64,
    }
}

object! {
    /// Bytes of huge pages of one size (`2MB`).
    #[derive(Default)]
    LinuxHugepageLimit {
        page_size: String,
        limit: u64,
        ;
    }
}

object! {
    /// Marks of the container's packets.
    #[derive(Default)]
    LinuxNetwork {
        ;
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        priorities: Vec<LinuxInterfacePriority>,
    }
}

object! {
    /// The priority of traffic on one interface.
    #[derive(Default)]
    LinuxInterfacePriority {
        name: String,
        priority: u32,
        ;
    }
}

object! {
    /// RDMA handles and objects.
    #[derive(Copy, Default)]
    LinuxRdma {
        ;
        hca_handles: Option<u32>,
        hca_objects: Option<u32>,
    }
}

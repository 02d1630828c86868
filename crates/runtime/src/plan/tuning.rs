//! How the process is scheduled, where its memory comes from, and what it takes the kernel for.

use std::io;

use oci::runtime::{
    CpuAffinity, IoPriorityClass, Linux, LinuxIoPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxScheduler, Process,
};
use sys::schedule::{self, Attributes};

use super::{Named, invalid};
use crate::LaunchError;
use crate::channel::{At, Fault};
use crate::error::Step;

/// What the specification asks for; most containers have nothing of it.
#[derive(Debug, Default)]
pub struct Tuning {
    scheduler: Option<Attributes>,
    io_priority: Option<u16>,
    personality: Option<u32>,
    memory_policy: Option<MemoryPolicy>,
    /// Of a further process, before it enters its control group.
    pub initial_affinity: Option<Vec<u64>>,
    /// And after.
    pub final_affinity: Option<Vec<u64>>,
}

#[derive(Debug)]
struct MemoryPolicy {
    mode: i32,
    nodes: Vec<u64>,
}

impl Tuning {
    pub fn new(process: &Process, linux: Option<&Linux>) -> Result<Self, LaunchError> {
        let mut tuning = Self::default();
        if let Some(scheduler) = &process.scheduler {
            tuning.scheduler = Some(attributes(scheduler)?);
        }
        if let Some(priority) = &process.io_priority {
            tuning.io_priority = Some(io_priority(*priority)?);
        }
        if let Some(CpuAffinity { initial, r#final }) = &process.exec_cpu_affinity {
            tuning.initial_affinity = affinity("initial", initial.as_deref())?;
            tuning.final_affinity = affinity("final", r#final.as_deref())?;
        }
        if let Some(value) = linux.and_then(|linux| linux.personality.as_ref()) {
            tuning.personality = Some(personality(value)?);
        }
        if let Some(policy) = linux.and_then(|linux| linux.memory_policy.as_ref()) {
            tuning.memory_policy = Some(memory_policy(policy)?);
        }
        Ok(tuning)
    }

    /// Whether there is something that takes rights on the host.
    pub fn is_scheduled(&self) -> bool {
        self.scheduler.is_some() || self.io_priority.is_some()
    }

    /// Schedules the process `pid` (0: the caller).
    pub fn schedule(&self, pid: i32) -> Result<(), Fault> {
        if let Some(attributes) = &self.scheduler {
            schedule::set(pid, attributes).at(Step::Limit, || "process.scheduler".to_owned())?;
        }
        if let Some(priority) = self.io_priority {
            schedule::set_io_priority(pid, priority).at(Step::Limit, || "process.ioPriority".to_owned())?;
        }
        Ok(())
    }

    /// Does what the process may do to itself.
    pub fn adapt(&self) -> Result<(), Fault> {
        if let Some(domain) = self.personality {
            schedule::set_personality(domain).at(Step::Limit, || "linux.personality".to_owned())?;
        }
        if let Some(MemoryPolicy { mode, nodes }) = &self.memory_policy {
            schedule::set_memory_policy(*mode, nodes).at(Step::Limit, || "linux.memoryPolicy".to_owned())?;
        }
        Ok(())
    }
}

/// Moves the caller to `processors`, when some are given.
pub fn move_to(processors: Option<&Vec<u64>>, which: &str) -> Result<(), Fault> {
    let moved: io::Result<()> = processors.map_or(Ok(()), |processors| schedule::set_affinity(processors));
    moved.at(Step::Limit, || format!("process.execCPUAffinity.{which}"))
}

pub const POLICIES: Named<u32> = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

pub const SCHEDULER_FLAGS: Named<u64> = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

fn attributes(scheduler: &LinuxScheduler) -> Result<Attributes, LaunchError> {
    let field = |name: &str| format!("process.scheduler.{name}");
    let LinuxScheduler { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
    let policy = policy.as_deref().unwrap_or_default();
    let number = super::named(POLICIES, policy, || field("policy"))?;
    if !(-20..=19).contains(nice) {
        return Err(invalid(field("nice"), format!("{nice} is not between -20 and 19")));
    }
    let real_time = matches!(policy, "SCHED_FIFO" | "SCHED_RR");
    if *priority != 0 && !real_time {
        return Err(invalid(field("priority"), format!("{policy} has none")));
    }
    if real_time && !(1..=99).contains(priority) {
        return Err(invalid(field("priority"), format!("{priority} is not between 1 and 99")));
    }
    if policy != "SCHED_DEADLINE" && (*runtime, *deadline, *period) != (0, 0, 0) {
        return Err(invalid(field("runtime, deadline and period"), format!("{policy} has none")));
    }
    let flags = super::flags(SCHEDULER_FLAGS, flags, || field("flags"))?;
    Ok(Attributes {
        policy: number,
        flags,
        nice: *nice,
        priority: *priority as u32,
        runtime: *runtime,
        deadline: *deadline,
        period: *period,
    })
}

fn io_priority(LinuxIoPriority { class, priority }: LinuxIoPriority) -> Result<u16, LaunchError> {
    let class: u16 = match class {
        IoPriorityClass::RealTime => 1,
        IoPriorityClass::BestEffort => 2,
        IoPriorityClass::Idle => 3,
    };
    match u16::try_from(priority).ok().filter(|level| *level < 8) {
        Some(level) => Ok(class << 13 | level),
        None => Err(invalid("process.ioPriority.priority", format!("{priority} is not between 0 and 7"))),
    }
}

fn affinity(which: &str, list: Option<&str>) -> Result<Option<Vec<u64>>, LaunchError> {
    let Some(list) = list.filter(|list| !list.trim().is_empty()) else { return Ok(None) };
    bits(list).map(Some).map_err(|why| invalid(format!("process.execCPUAffinity.{which}"), why))
}

pub const DOMAINS: Named<u32> = &[("LINUX", 0), ("LINUX32", 8)];

fn personality(LinuxPersonality { domain, flags }: &LinuxPersonality) -> Result<u32, LaunchError> {
    if let Some(flag) = flags.first() {
        return Err(invalid("linux.personality.flags", format!("there is none called {flag:?}")));
    }
    let domain = domain.as_deref().unwrap_or_default();
    super::named(DOMAINS, domain, || "linux.personality.domain".to_owned())
}

pub const MEMORY_MODES: Named<i32> = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

pub const MEMORY_FLAGS: Named<u64> = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy, LaunchError> {
    let field = |name: &str| format!("linux.memoryPolicy.{name}");
    let LinuxMemoryPolicy { mode, nodes, flags } = policy;
    let mode = mode.as_deref().unwrap_or_default();
    let number = super::named(MEMORY_MODES, mode, || field("mode"))?;
    let flags = super::flags(MEMORY_FLAGS, flags, || field("flags"))?;
    let list = nodes.as_deref().unwrap_or_default().trim();
    let nodes = match (mode, list.is_empty()) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", false) => {
            return Err(invalid(field("nodes"), format!("{mode} has none")));
        }
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", true) => Vec::new(),
        (_, true) => return Err(invalid(field("nodes"), format!("{mode} needs some"))),
        (_, false) => bits(list).map_err(|why| invalid(field("nodes"), why))?,
    };
    Ok(MemoryPolicy { mode: number | flags as i32, nodes })
}

/// More than any kernel can be built for.
const MAX_BITS: usize = 8192;

/// The bits of a list such as `0-3, 7`.
fn bits(list: &str) -> Result<Vec<u64>, String> {
    let mut bits = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < MAX_BITS);
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                bits.resize(bits.len().max(last / 64 + 1), 0);
                (first..=last).for_each(|bit| bits[bit / 64] |= 1 << (bit % 64));
            }
            _ => return Err(format!("{part:?} is not a number or a range of numbers")),
        }
    }
    match bits.is_empty() {
        true => Err("the list is empty".to_owned()),
        false => Ok(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bits() {
        assert_eq!(bits("0-3, 7"), Ok(vec![0b1000_1111]));
        assert_eq!(bits("64,1"), Ok(vec![2, 1]));
        for wrong in ["", ",", "3-1", "a", "1-", "99999", "-1", "1-2-3", "18446744073709551616"] {
            assert!(bits(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! How the kernel schedules a process: policy, processors, I/O priority, memory nodes, execution domain.

use std::io;
use std::ptr;

/// Policy and parameters for [`set`]; see sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_OTHER` and so on, by number.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// These three are nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// `struct sched_attr` of linux/sched/types.h, in its second size.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Schedules the process `pid` (0: the caller) in another way.
pub fn set(pid: i32, attributes: &Attributes) -> io::Result<()> {
    let Attributes { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr {
        size,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the kernel reads `attr`, whose first field is its size, and keeps nothing of it.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) })
}

/// Gives the process `pid` (0: the caller) an I/O priority: class and level as ioprio_set(2) packs them.
pub fn set_io_priority(pid: i32, priority: u16) -> io::Result<()> {
    // SAFETY: ioprio_set reads integers.
    check(unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, libc::c_int::from(priority))
    })
}

/// From linux/ioprio.h.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// Lets the caller run on these processors only, one bit each.
pub fn set_affinity(processors: &[u64]) -> io::Result<()> {
    let bytes = size_of_val(processors);
    // SAFETY: the kernel reads `bytes` bytes of the slice, which has as many.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, processors.as_ptr()) })
}

/// Has the kernel take the caller's memory from `nodes`, one bit each, in the way of `mode` (`MPOL_*` with its flags).
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> io::Result<()> {
    // One more than there are: the kernel does not count the last bit (set_mempolicy(2), "BUGS" of numa(3)).
    let count = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads the `count - 1` bits of the slice, or nothing through the null pointer when `count` is 0.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, count) })
}

/// Sets the caller's execution domain, which its programs inherit; see personality(2).
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: personality reads an integer.
    check(unsafe { libc::personality(domain.into()) }.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

//! Creates, limits, freezes, measures and kills control groups, v1 (hybrid) and v2.
//!
//! A [`Cgroup`] is named like a path, `hull-<instance>/<container id>`. On v2 it is that directory, and its parent hands the
//! controllers down. On v1 it is one flat directory `hull-<instance>-<container id>` in each hierarchy that is needed: without
//! inheritance to arrange, a parent directory would only double the number of mkdir and rmdir calls of every start.
//!
//! Where somebody else says where a group is (`linux.cgroupsPath`), a [`Place`] makes it: nested like that in every hierarchy,
//! or a scope of systemd.
//!
//! Invariants:
//! - A failed [`Cgroup::create`] leaves no directory behind, and [`Cgroup::remove`] takes the parent with the last child,
//!   unless the parent is somebody else's.
//! - A limit is set or refused by name; nothing that was asked for is ignored.
//! - What a value looks like in each version is decided by pure functions ([`limits`]) from [`LinuxResources`] to a list of
//!   files and values; everything else only writes them.
//!
//! Start reading at [`group`]; [`hierarchy`] is how the mounted version is found.
//!
//! [`LinuxResources`]: oci::runtime::LinuxResources

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod delegation;
mod devices;
mod error;
mod files;
mod group;
mod hierarchy;
mod limits;
mod place;
mod report;
mod stats;
mod supervisor;
mod systemd;

pub use delegation::Delegation;
pub use error::CgroupError;
pub use group::Cgroup;
pub use hierarchy::{Hierarchy, V1Mount, Version};
pub use place::{Made, Manager, Place};
pub use report::{Counter, DeviceCount, MemoryReport, Pressure, Report, Stall};
pub use stats::{BlockIo, Cpu, Memory, Pids, Stats, Throttling};
pub use supervisor::Supervisor;
pub use systemd::{Placeholder, Scope};

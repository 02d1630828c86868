//! Who gets user ids of his own, and what a specification needs for it.

use std::os::fd::AsFd;
use std::path::Path;

use diag::{Class, Diagnose};
use oci::runtime::{Mount, Spec};
use serde::{Deserialize, Serialize};

/// Whose user namespace a container gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// The host's, or the one the spec says to join.
    #[default]
    Given,
    /// One of its own, with a range of ids nobody else has.
    Own {
        /// Whether the container must not run where that cannot be had.
        required: bool,
    },
}

/// `HULL_USERNS` has a value that means nothing.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("HULL_USERNS is {value:?}, not one of private, require and host")]
pub struct PolicyError {
    value: String,
}

impl Diagnose for PolicyError {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

/// What containers get that do not say (`HULL_USERNS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// `private`: user ids of their own where the system can do it, and a warning where it cannot.
    #[default]
    Prefer,
    /// `require`: user ids of their own, or they do not start.
    Require,
    /// `host`: the host's.
    Host,
}

impl Policy {
    /// The policy of this process's environment.
    ///
    /// # Errors
    /// A value that is none of the three.
    pub fn from_environment() -> Result<Self, PolicyError> {
        match std::env::var("HULL_USERNS").unwrap_or_default() {
            value if matches!(value.as_str(), "" | "private") => Ok(Self::Prefer),
            value if value == "require" => Ok(Self::Require),
            value if value == "host" => Ok(Self::Host),
            value => Err(PolicyError { value }),
        }
    }
}

impl From<Policy> for Users {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Prefer => Self::Own { required: false },
            Policy::Require => Self::Own { required: true },
            Policy::Host => Self::Given,
        }
    }
}

/// Fits a specification to a user namespace with 65,536 ids: bind mounts show the owners their files have, root's as root's.
pub fn fit(spec: &mut Spec) {
    fit_groups(spec);
    spec.mounts.iter_mut().for_each(map_owners);
}

/// Fits only the sysctl that names groups: those beyond the last one are refused.
pub fn fit_groups(spec: &mut Spec) {
    let linux = spec.linux.get_or_insert_default();
    if let Some(range) = linux.sysctl.get_mut("net.ipv4.ping_group_range")
        && range == "0 2147483647"
    {
        *range = "0 65535".to_owned();
    }
}

/// Shows the files of a bind mount with the owners they have, root's as root's.
fn map_owners(mount: &mut Mount) {
    let has = |word: &str| mount.options.iter().any(|option| option == word);
    let word = match (has("rbind"), has("bind")) {
        (true, _) => "ridmap",
        (false, true) => "idmap",
        (false, false) => return,
    };
    let mapped = has("idmap") || has("ridmap");
    if !mapped && mount.source.as_deref().is_some_and(can_be_mapped) {
        mount.options.push(word.to_owned());
    }
}

/// Whether the files at `path` have owners worth mapping: those of the kernel's own file systems (procfs, sysfs, devices) have
/// not, and what another container shows of its own has the owners it has there.
fn can_be_mapped(path: &Path) -> bool {
    if crate::foreign::parse(path).is_some() {
        return false;
    }
    const KERNEL: [i64; 9] = [
        sys::mount::PROC_MAGIC,
        0x6265_6572, // sysfs
        sys::mount::DEVPTS_MAGIC,
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0xcafe_4a11, // bpf
        0x1980_0202, // mqueue
    ];
    let magic = sys::fs::open(path, sys::fs::OFlags::PATH, 0)
        .and_then(|fd| sys::mount::file_system_magic(fd.as_fd()));
    magic.is_ok_and(|magic| !KERNEL.contains(&magic)) && !path.starts_with("/dev")
}

//! Capabilities and resource limits, from names to numbers.

use oci::runtime::Process;
use sys::capability::{Capability, CapabilitySet};

use super::invalid;
use crate::LaunchError;

/// What the program may do once it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rights {
    pub bounding: CapabilitySet,
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub ambient: CapabilitySet,
    pub no_new_privileges: bool,
}

impl Rights {
    /// No capabilities in the specification means none for the process.
    pub fn new(process: &Process) -> Result<Self, LaunchError> {
        let mut rights = Self { no_new_privileges: process.no_new_privileges, ..Self::default() };
        if let Some(sets) = &process.capabilities {
            rights.bounding = set(&sets.bounding)?;
            rights.effective = set(&sets.effective)?;
            rights.permitted = set(&sets.permitted)?;
            // CVE-2022-24769: what the specification leaves out stays empty, whatever the caller has.
            rights.inheritable = set(&sets.inheritable)?;
            rights.ambient = set(&sets.ambient)?;
        }
        Ok(rights)
    }
}

fn set(names: &[String]) -> Result<CapabilitySet, LaunchError> {
    names
        .iter()
        .map(|name| {
            Capability::from_name(name)
                .ok_or_else(|| invalid("capability", format!("there is none called {name:?}")))
        })
        .collect()
}

/// A resource limit for setrlimit(2).
#[derive(Clone, Debug)]
pub struct Limit {
    pub name: String,
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

/// The names in the order of their numbers on x86-64 and most others.
const RESOURCES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

pub fn limits(process: &Process) -> Result<Vec<Limit>, LaunchError> {
    let mut limits: Vec<Limit> = Vec::with_capacity(process.rlimits.len());
    for limit in &process.rlimits {
        let name = limit.r#type.clone();
        let known = name.strip_prefix("RLIMIT_").and_then(|bare| RESOURCES.iter().position(|r| *r == bare));
        let Some(resource) = known else {
            return Err(invalid("resource limit", format!("there is none called {name:?}")));
        };
        if limits.iter().any(|other| other.name == name) {
            return Err(invalid("resource limit", format!("{name} is given twice")));
        }
        if limit.soft > limit.hard {
            return Err(invalid(name, format!("soft {} is above hard {}", limit.soft, limit.hard)));
        }
        limits.push(Limit { name, resource: resource as u32, soft: limit.soft, hard: limit.hard });
    }
    Ok(limits)
}

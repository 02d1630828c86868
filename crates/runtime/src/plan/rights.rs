//! Capabilities and resource limits, from names to numbers.

use std::io;

use oci::runtime::{Linux, LinuxCapabilities, NamespaceType, Process};
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
    ///
    /// What cannot be granted is left out, as the specification wants it (`config.md`, "capabilities"); [`warnings`] names it.
    pub fn new(process: &Process) -> Self {
        let mut rights = Self { no_new_privileges: process.no_new_privileges, ..Self::default() };
        if let Some(sets) = &process.capabilities {
            rights.bounding = set(&sets.bounding);
            rights.permitted = set(&sets.permitted);
            rights.effective = set(&sets.effective).intersection(rights.permitted);
            // CVE-2022-24769: what the specification leaves out stays empty, whatever the caller has.
            rights.inheritable = set(&sets.inheritable).intersection(rights.bounding);
            rights.ambient =
                set(&sets.ambient).intersection(rights.permitted).intersection(rights.inheritable);
        }
        rights
    }

    /// What is left of it for who has only `own` to give.
    pub fn within(self, own: CapabilitySet) -> Self {
        let permitted = self.permitted.intersection(own);
        let inheritable = self.inheritable.intersection(own);
        Self {
            bounding: self.bounding.intersection(own),
            permitted,
            effective: self.effective.intersection(permitted),
            inheritable,
            ambient: self.ambient.intersection(permitted).intersection(inheritable),
            ..self
        }
    }
}

fn set(names: &[String]) -> CapabilitySet {
    names.iter().filter_map(|name| Capability::from_name(name)).collect()
}

/// What of the process's settings is not granted, one sentence for each: capabilities nobody knows, and those a set cannot hold
/// because the set it depends on lacks them, or which the caller lacks; in a user namespace of `linux` it has all. The
/// specification wants them logged, not refused.
pub fn warnings(process: &Process, linux: Option<&Linux>) -> Vec<String> {
    let Some(LinuxCapabilities { bounding, effective, inheritable, permitted, ambient }) =
        &process.capabilities
    else {
        return Vec::new();
    };
    let mut namespaces = linux.iter().flat_map(|linux| &linux.namespaces);
    let own = match namespaces.any(|namespace| namespace.r#type == NamespaceType::User) {
        true => CapabilitySet::ALL,
        false => sys::capability::get().map_or(CapabilitySet::ALL, |sets| sets.permitted),
    };
    let rights = Rights::new(process).within(own);
    let sets = [
        ("bounding", bounding, rights.bounding),
        ("effective", effective, rights.effective),
        ("inheritable", inheritable, rights.inheritable),
        ("permitted", permitted, rights.permitted),
        ("ambient", ambient, rights.ambient),
    ];
    let mut warnings = Vec::new();
    for (field, names, granted) in sets {
        for name in names {
            let why = match Capability::from_name(name) {
                None => "there is none called so",
                Some(capability) if !own.contains(capability) => "hull does not have it itself",
                Some(capability) if !granted.contains(capability) => match field {
                    "effective" => "it is not permitted",
                    "inheritable" => "it is not in the bounding set",
                    _ => "it is not both permitted and inheritable",
                },
                Some(_) => continue,
            };
            warnings.push(format!("process.capabilities.{field}: {name} is left out: {why}"));
        }
    }
    warnings
}

/// A resource limit for setrlimit(2).
#[derive(Clone, Debug)]
pub struct Limit {
    pub name: String,
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

impl Limit {
    /// Lets the process `pid` (0: the caller) set this limit for itself where it could not: a hard limit above its own.
    pub fn permit(&self, pid: i32) -> io::Result<()> {
        let (soft, hard) = sys::process::limit_of(pid, self.resource)?;
        if self.hard <= hard {
            return Ok(());
        }
        sys::process::set_limit_of(pid, self.resource, soft, self.hard)
    }
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
            return Err(invalid("process.rlimits", format!("there is none called {name:?}")));
        };
        if limits.iter().any(|other| other.name == name) {
            return Err(invalid("process.rlimits", format!("{name} is given twice")));
        }
        if limit.soft > limit.hard {
            let why = format!("soft {} is above hard {} of {name}", limit.soft, limit.hard);
            return Err(invalid("process.rlimits", why));
        }
        limits.push(Limit { name, resource: resource as u32, soft: limit.soft, hard: limit.hard });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_little_gives_little() {
        let own = CapabilitySet::of(&[Capability::CHOWN]);
        let more = CapabilitySet::of(&[Capability::CHOWN, Capability::KILL]);
        let rights = Rights {
            bounding: more,
            effective: more,
            permitted: more,
            inheritable: more,
            ambient: more,
            no_new_privileges: true,
        };
        let Rights { bounding, effective, permitted, inheritable, ambient, no_new_privileges } =
            rights.within(own);
        assert!([bounding, effective, permitted, inheritable, ambient].iter().all(|set| *set == own));
        assert!(no_new_privileges);
    }
}

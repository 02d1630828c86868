//! What this runtime cannot honour, refused by name.

use std::path::PathBuf;

use oci::runtime::Spec;
use sys::namespace::Kind;

use super::invalid;
use crate::LaunchError;
use crate::outside::rdt;
use crate::seccomp::Seccomp;

pub fn spec(spec: &Spec, seccomp: &Seccomp) -> Result<(), LaunchError> {
    match &spec.linux {
        Some(linux) if linux.seccomp.is_some() && *seccomp != Seccomp::of(spec) => {
            Err(LaunchError::Unsupported { what: "linux.seccomp beside another filter".to_owned() })
        }
        _ => Ok(()),
    }
}

/// Where the groups of `linux.intelRdt` are, when the specification asks for one.
pub fn resctrl(spec: &Spec) -> Result<Option<PathBuf>, LaunchError> {
    let Some(rdt) = spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref()) else { return Ok(None) };
    // `/` is the group everybody is in; others lie right below it.
    let is_name = |id: &str| id == "/" || !(id.is_empty() || id.contains('/') || id == "." || id == "..");
    if let Some(id) = rdt.clos_id.as_deref().filter(|id| !is_name(id)) {
        return Err(invalid("linux.intelRdt.closID", format!("{id:?} is not the name of a group")));
    }
    match rdt::mounted_at() {
        Some(path) => Ok(Some(path)),
        None => Err(invalid("linux.intelRdt", "there is no resctrl file system on this host")),
    }
}

/// Refuses devices that cannot move, and names no device could have.
pub fn net_devices(spec: &Spec, has_namespace: bool) -> Result<(), LaunchError> {
    let Some(linux) = spec.linux.as_ref().filter(|linux| !linux.net_devices.is_empty()) else {
        return Ok(());
    };
    if !has_namespace {
        return Err(invalid("linux.netDevices", "the container has no network namespace of its own"));
    }
    let mut taken = Vec::new();
    for (name, device) in &linux.net_devices {
        let new = device.name.as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        for name in [name, new] {
            let is_text = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
            let fits = (1..16).contains(&name.len()) && name.chars().all(is_text);
            if !fits || name == "." || name == ".." {
                let why = format!("{name:?} is not a name for a network device");
                return Err(invalid("linux.netDevices", why));
            }
        }
        if taken.contains(&new) && !new.contains('%') {
            return Err(invalid("linux.netDevices", format!("two devices would be called {new:?}")));
        }
        taken.push(new);
    }
    Ok(())
}

/// Refuses kernel parameters that would change the host.
pub fn sysctls(spec: &Spec, owns: impl Fn(Kind) -> bool) -> Result<(), LaunchError> {
    for name in spec.linux.iter().flat_map(|linux| linux.sysctl.keys()) {
        let refuse = |why: String| Err(invalid(format!("linux.sysctl {name}"), why));
        // Both spellings are in use; a name with a slash may have dots inside a component (net/ipv4/conf/eth0.1).
        let parts: Vec<&str> = name.split(if name.contains('/') { '/' } else { '.' }).collect();
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) || name.contains('\0') {
            return refuse("it is not the name of a kernel parameter".to_owned());
        }
        let Some(kind) = namespace_of(&parts) else {
            return refuse("it is not in a separate kernel namespace".to_owned());
        };
        let given = [("hostname", &spec.hostname), ("domainname", &spec.domainname)];
        if let Some((field, _)) =
            given.iter().find(|(field, name)| parts == ["kernel", field] && name.is_some())
        {
            return refuse(format!("the configuration's {field} says it already"));
        }
        if !owns(kind) {
            return refuse(format!("it is not allowed in the host's {} namespace", kind.file()));
        }
    }
    Ok(())
}

/// The kind of namespace that has a kernel parameter of its own.
fn namespace_of(name: &[&str]) -> Option<Kind> {
    const IPC: [&str; 11] = [
        "msg_next_id",
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "sem_next_id",
        "shm_next_id",
        "shm_rmid_forced",
        "shmall",
        "shmmax",
        "shmmni",
    ];
    match name {
        ["net", _, ..] => Some(Kind::Network),
        ["kernel", name] if IPC.contains(name) => Some(Kind::Ipc),
        ["fs", "mqueue", _] => Some(Kind::Ipc),
        ["kernel", "domainname" | "hostname"] => Some(Kind::Uts),
        ["kernel", "ns_last_pid"] => Some(Kind::Pid),
        ["user", _] => Some(Kind::User),
        _ => None,
    }
}

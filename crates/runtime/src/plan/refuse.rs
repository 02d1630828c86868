//! What this runtime cannot honour, refused by name.

use oci::runtime::{Process, Spec};
use sys::namespace::Kind;

use super::invalid;
use crate::LaunchError;
use crate::seccomp::Seccomp;

/// Refuses the first named thing that is present.
fn absent(settings: &[(&str, bool)]) -> Result<(), LaunchError> {
    match settings.iter().find(|(_, present)| *present) {
        Some((name, _)) => Err(LaunchError::Unsupported { what: (*name).to_owned() }),
        None => Ok(()),
    }
}

pub fn spec(spec: &Spec, seccomp: &Seccomp) -> Result<(), LaunchError> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    absent(&[
        ("linux.netDevices", !linux.net_devices.is_empty()),
        ("linux.mountLabel", linux.mount_label.as_deref().is_some_and(|label| !label.is_empty())),
        ("linux.seccomp beside another filter", linux.seccomp.is_some() && *seccomp != Seccomp::of(spec)),
        ("linux.intelRdt", linux.intel_rdt.is_some()),
    ])
}

pub fn process(process: &Process) -> Result<(), LaunchError> {
    let named = |label: &Option<String>| label.as_deref().is_some_and(|label| !label.is_empty());
    absent(&[
        ("process.apparmorProfile", named(&process.apparmor_profile)),
        ("process.selinuxLabel", named(&process.selinux_label)),
    ])
}

/// Refuses kernel parameters that would change the host.
pub fn sysctls(spec: &Spec, owns: impl Fn(Kind) -> bool) -> Result<(), LaunchError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    for name in spec.linux.iter().flat_map(|linux| linux.sysctl.keys()) {
        // Both spellings are in use; a name with a slash may have dots inside a component (net/ipv4/conf/eth0.1).
        let dotted = if name.contains('/') { name.replace('/', ".") } else { name.clone() };
        let kind = match dotted.as_str() {
            name if name.starts_with("net.") => Kind::Network,
            name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => Kind::Ipc,
            "kernel.domainname" | "kernel.hostname" => Kind::Uts,
            _ => {
                let why = "it is not in a separate kernel namespace".to_owned();
                return Err(invalid(format!("sysctl {name}"), why));
            }
        };
        if !owns(kind) {
            let why = format!("it is not allowed in the host's {} namespace", kind.file());
            return Err(invalid(format!("sysctl {name}"), why));
        }
    }
    Ok(())
}

//! What security modules are told of the process and its mounts: refused where the host has no such module.

use oci::runtime::{Linux, Process};
use sys::fs::OFlags;

use super::invalid;
use crate::LaunchError;

/// The labels of a process.
#[derive(Debug, Default)]
pub struct Labels {
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
}

impl Labels {
    pub fn new(process: &Process) -> Result<Self, LaunchError> {
        let apparmor = given(&process.apparmor_profile);
        if apparmor.is_some() && !has_apparmor() {
            return Err(invalid("process.apparmorProfile", "AppArmor is not enabled on this host"));
        }
        let selinux = given(&process.selinux_label);
        if selinux.is_some() && !has_selinux() {
            return Err(invalid("process.selinuxLabel", "SELinux is not enabled on this host"));
        }
        Ok(Self { apparmor: apparmor.map(str::to_owned), selinux: selinux.map(str::to_owned) })
    }
}

/// The label of the files of new mounts.
pub fn of_mounts(linux: Option<&Linux>) -> Result<Option<&str>, LaunchError> {
    let label = linux.and_then(|linux| given(&linux.mount_label));
    match label {
        Some(_) if !has_selinux() => Err(invalid("linux.mountLabel", "SELinux is not enabled on this host")),
        label => Ok(label),
    }
}

fn given(label: &Option<String>) -> Option<&str> {
    label.as_deref().filter(|label| !label.is_empty())
}

fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

fn has_selinux() -> bool {
    sys::fs::open("/sys/fs/selinux", OFlags::PATH, 0)
        .and_then(sys::mount::file_system_magic)
        .is_ok_and(|magic| magic == SELINUX_MAGIC)
}

/// `statfs.f_type` of selinuxfs.
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

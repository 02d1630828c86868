//! What can go wrong with a control group.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

use crate::Version;

/// Why a control group could not be made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CgroupError {
    #[error("no control group hierarchy is mounted")]
    NotMounted,
    #[error("{what} needs the {controller} controller, which is not available here")]
    MissingController { what: String, controller: &'static str },
    #[error("{what} needs `{file}`, which the control groups of this kernel do not have")]
    MissingFile { what: String, file: String },
    #[error("{what} needs a control group, and this user has been given none")]
    Withheld { what: String },
    #[error(
        "this process is outside of the control group `{path}`, where this user's containers are, and may not go there"
    )]
    Outside { path: PathBuf },
    #[error("{what} needs the {controller} controller, which is not delegated to this user")]
    NotDelegated { what: String, controller: &'static str },
    #[error("{what} is not possible with {version}")]
    Unsupported { what: String, version: Version },
    #[error("invalid {what}: `{value}`")]
    Invalid { what: &'static str, value: String },
    #[error("cannot create control group `{path}`")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write `{value}` to `{path}`")]
    Write { path: PathBuf, value: String, source: io::Error },
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot have a scope {unit}: systemd does not answer at `{socket}`")]
    NoSystemd { unit: String, socket: PathBuf, source: io::Error },
    #[error("systemd refuses {call} for {unit}: {why}")]
    Systemd { call: &'static str, unit: String, why: String },
    #[error("cannot move process {pid} into control group `{path}`")]
    Join { path: PathBuf, pid: i32, source: io::Error },
    #[error("cannot set the device rules of control group `{path}`")]
    Devices { path: PathBuf, source: io::Error },
    #[error("control group `{path}` did not freeze within {waited_ms} ms")]
    FreezeTimeout { path: PathBuf, waited_ms: u64 },
    #[error("cannot kill process {pid} of control group `{path}`")]
    Kill { path: PathBuf, pid: i32, source: io::Error },
    #[error("cannot remove control group `{path}`")]
    Remove { path: PathBuf, source: io::Error },
}

impl Diagnose for CgroupError {
    fn class(&self) -> Class {
        match self {
            Self::NotMounted
            | Self::MissingController { .. }
            | Self::MissingFile { .. }
            | Self::NoSystemd { .. }
            | Self::Withheld { .. }
            | Self::NotDelegated { .. }
            | Self::Unsupported { .. } => Class::Unsupported,
            Self::Outside { .. } => Class::Denied,
            Self::Invalid { .. } => Class::Invalid,
            Self::Systemd { .. } => Class::Internal,
            Self::FreezeTimeout { .. } => Class::Unavailable,
            Self::Create { source, .. }
            | Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::Join { source, .. }
            | Self::Devices { source, .. }
            | Self::Kill { source, .. }
            | Self::Remove { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Class::Denied,
                io::ErrorKind::NotFound => Class::NotFound,
                io::ErrorKind::InvalidInput => Class::Invalid,
                io::ErrorKind::ResourceBusy | io::ErrorKind::StorageFull => Class::Unavailable,
                _ => Class::Internal,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotMounted => "mount cgroup2 at /sys/fs/cgroup: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
            Self::MissingController { .. } | Self::MissingFile { .. } => {
                "enable it on the kernel command line, or run without that limit"
            }
            Self::NoSystemd { .. } => {
                "where systemd does not run, use a path (`/a/b`) and no --systemd-cgroup"
            }
            Self::Withheld { .. } => {
                "with cgroup v2, a systemd of this user's (`loginctl enable-linger`) or a group that root has handed over \
                 would do"
            }
            Self::NotDelegated { .. } => {
                "let root delegate it: `systemctl edit user@.service`, with `[Service]` and \
                 `Delegate=cpu cpuset io memory pids`"
            }
            Self::Outside { .. } => {
                "run hull from where this user's first container was started, or end all his containers first"
            }
            Self::Create { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run hull as root, or delegate a control group to this user"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "the kernel refuses a limit below what is in use; stop something in the container or choose a higher one"
            }
            Self::Remove { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "processes are left in it; they are listed in its cgroup.procs"
            }
            _ => return None,
        };
        Some(hint.to_string())
    }
}

//! Why a command on a container failed. Callers match the texts, which are runc's where it has one.

use std::io;
use std::path::PathBuf;

use cgroup::CgroupError;
use diag::{Class, Diagnose};
use oci::runtime::Status;

use crate::LaunchError;
use crate::hooks::HookError;

/// The failure of a command on a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Shells, containerd and CRI-O look for "does not exist".
    #[error("container does not exist: {id}")]
    NotFound { id: String },
    #[error("container with given ID already exists: {id}")]
    Exists { id: String },
    #[error("invalid container ID format: {id:?}")]
    Id { id: String },
    #[error("{}", match source.kind() {
        io::ErrorKind::NotFound => format!("JSON specification file {} not found", path.display()),
        _ => format!("cannot read {}", path.display()),
    })]
    NoConfig { path: PathBuf, source: io::Error },
    #[error("{} is no configuration of a container", path.display())]
    BadConfig { path: PathBuf, source: oci::runtime::DocumentError },
    #[error("the configuration of container {id} has no {what}")]
    Incomplete { id: String, what: &'static str },
    #[error("invalid rootfs: {}", path.display())]
    Rootfs { path: PathBuf, source: io::Error },
    #[error("cannot use the control group of container {id}")]
    Cgroup { id: String, source: CgroupError },
    #[error("the control group {group} is not empty: other processes run in it")]
    GroupInUse { group: String },
    #[error("unable to start container process")]
    Create { source: LaunchError },
    #[error("exec in container {id} failed")]
    Exec { id: String, source: LaunchError },
    /// The text of containerd's check for a process that is gone.
    #[error("container not running: {id}")]
    NotRunning { id: String },
    #[error("container not paused: {id}")]
    NotPaused { id: String },
    #[error("cannot start an already running container: {id}")]
    StartRunning { id: String },
    #[error("cannot start a container that has stopped: {id}")]
    StartStopped { id: String },
    #[error("cannot exec in a stopped container: {id}")]
    ExecStopped { id: String },
    #[error("cannot exec in a paused container: {id}")]
    ExecPaused { id: String },
    #[error("cannot delete container {id} that is not stopped: {}", name(*status))]
    NotStopped { id: String, status: Status },
    #[error("container {id} did not end within {seconds} s of being killed")]
    StillRunning { id: String, seconds: u64 },
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("cannot signal container {id}")]
    Signal { id: String, source: io::Error },
    #[error("cannot use the state in {}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("{} is damaged", path.display())]
    BadRecord { path: PathBuf, source: serde_json::Error },
    #[error("{} was written by another version of hull: it has version {version}", path.display())]
    Version { path: PathBuf, version: u32 },
}

/// The status as callers know it.
fn name(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "stopped",
    }
}

impl Diagnose for ContainerError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::NoConfig { .. } | Self::Rootfs { .. } => Class::NotFound,
            Self::Exists { .. }
            | Self::GroupInUse { .. }
            | Self::NotRunning { .. }
            | Self::NotPaused { .. }
            | Self::StartRunning { .. }
            | Self::StartStopped { .. }
            | Self::ExecStopped { .. }
            | Self::ExecPaused { .. }
            | Self::NotStopped { .. } => Class::Conflict,
            Self::Id { .. } | Self::BadConfig { .. } | Self::Incomplete { .. } => Class::Invalid,
            Self::Cgroup { source, .. } => source.class(),
            Self::Create { source } | Self::Exec { source, .. } => source.class(),
            Self::Hook(error) => error.class(),
            Self::Signal { source, .. } | Self::Files { source, .. } => Class::of_io(source),
            Self::StillRunning { .. } => Class::Unavailable,
            Self::BadRecord { .. } | Self::Version { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { id } => Some(format!("delete it first (`delete {id}`), or take another id")),
            Self::NotStopped { id, .. } => Some(format!("kill it first, or use `delete --force {id}`")),
            Self::ExecPaused { .. } => Some("resume it first, or use --ignore-paused".to_owned()),
            Self::Cgroup { source, .. } => source.hint(),
            Self::Create { source } | Self::Exec { source, .. } => source.hint(),
            _ => None,
        }
    }
}

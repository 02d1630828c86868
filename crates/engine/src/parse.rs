//! The syntax of Docker's flags, which Compose's short forms share: ports, volumes, sizes, durations and the like.
//!
//! Every function takes the text as typed and returns a part of a [`crate::model`] request. Nothing here touches the system, except
//! that relative bind sources are resolved against the directory given.

mod idmap;
mod mount;
mod network;
mod port;
mod process;
mod size;

pub use idmap::owners;
pub use mount::{is_tmpfs_option, mount, tmpfs, volume};
pub use network::{extra_host, link, network, subnet};
pub use port::{expose, ports};
pub(crate) use process::RLIMITS;
pub use process::{
    device, env_file, ipc_mode, namespace_mode, restart_policy, security_opt, ulimit, user_namespace,
};
pub use size::{cpus, duration_ns, size_bytes, timestamp_ns};

use diag::{Class, Diagnose};

/// A flag's value that cannot be understood.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct FlagError {
    message: String,
    hint: Option<&'static str>,
}

impl FlagError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl Diagnose for FlagError {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn hint(&self) -> Option<String> {
        self.hint.map(str::to_owned)
    }
}

/// A flag that is either given or refused: `true`, `1`, `false`, `0` as Go's `ParseBool`.
fn boolean(key: &str, value: &str) -> Result<bool, FlagError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(FlagError::new(format!("invalid value for {key}: {other}"))),
    }
}

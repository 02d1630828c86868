//! What goes wrong between a client and an engine.

use std::error::Error;
use std::io;
use std::process::ExitStatus;

use api::Version;
use diag::{Class, Diagnose};

use crate::client::OLDEST;

type Source = Box<dyn Error + Send + Sync>;

/// A request that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("cannot connect to the engine at {address}")]
    Connect { address: String, source: io::Error },
    #[error("cannot reach the engine at {address}: ssh ended with {status}")]
    Ssh { address: String, status: ExitStatus },
    #[error("what answers at {address} is no Docker engine")]
    NoEngine { address: String, source: Option<Source> },
    #[error("the engine at {address} is too old: it serves API version {version}, and {oldest} is needed", oldest = OLDEST)]
    TooOld { address: String, version: Version },
    #[error("{what} needs API version {needed}, and the engine at {address} serves {version}")]
    Missing { what: &'static str, needed: Version, address: String, version: Version },
    #[error("lost the connection to the engine at {address}")]
    Lost { address: String, source: Source },
    /// The engine's own words.
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("cannot start the client")]
    Setup { source: io::Error },
}

impl Diagnose for RemoteError {
    fn class(&self) -> Class {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Class::Denied,
            Self::Connect { .. } | Self::Ssh { .. } | Self::Lost { .. } => Class::Unavailable,
            Self::NoEngine { .. } => Class::Invalid,
            Self::TooOld { .. } | Self::Missing { .. } => Class::Unsupported,
            Self::Setup { source } => Class::of_io(source),
            Self::Refused { status, .. } => match status {
                400 => Class::Invalid,
                401 | 403 => Class::Denied,
                404 => Class::NotFound,
                409 => Class::Conflict,
                501 => Class::Unsupported,
                503 => Class::Unavailable,
                _ => Class::Internal,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { address, source } if address.starts_with("unix:") => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("ask for membership in the socket's group, or use `ssh://`".into())
                }
                _ => Some("start `hull serve` (or dockerd) there, or see `hull context ls`".into()),
            },
            Self::Connect { .. } => Some("see `hull context ls` for the engines that are known".into()),
            Self::Ssh { address, .. } => Some(format!(
                "try `ssh {} hull version`: hull or docker has to be on the PATH there",
                address.trim_start_matches("ssh://")
            )),
            _ => None,
        }
    }

    /// What is wrong with the command of a container that could not be started, as Docker's client tells it from the engine's words.
    fn exit_status(&self) -> Option<u8> {
        let Self::Refused { message, .. } = self else { return None };
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["executable file not found", "no such file or directory", "not found in $PATH"]) {
            Some(127)
        } else if says(&["permission denied", "is a directory"]) {
            Some(126)
        } else {
            None
        }
    }
}

//! Why a project could not be brought where it should be.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

/// What went wrong above the engine.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("dependency failed to start: container {container} is unhealthy")]
    Unhealthy { container: String },
    #[error("dependency failed to start: container {container} exited ({code})")]
    Exited { container: String, code: i32 },
    #[error("dependency failed to start: container {container} has no healthcheck configured")]
    NoHealthcheck { container: String },
    #[error("service {service:?} didn't complete successfully: exit {code}")]
    NotCompleted { service: String, code: i32 },
    #[error("service {service:?} has no container to wait for")]
    NothingToWaitFor { service: String },
    #[error("timeout waiting for {container} to be running and healthy")]
    WaitTimeout { container: String },
    #[error("{state}: container {container} is not running or healthy")]
    NotReady { container: String, state: String },
    #[error("no such image: {image} (service {service:?})")]
    NoImage { service: String, image: String },
    #[error("service {service:?} has a platform that is none")]
    Platform {
        service: String,
        #[source]
        error: oci::image::PlatformError,
    },
    #[error("no container found for service {service:?}")]
    NoContainer { service: String },
    #[error("service {service:?} is not running")]
    NotRunning { service: String },
    #[error("service {service:?} has no container number {number}")]
    NoSuchNumber { service: String, number: u32 },
    #[error("no such service: {service}")]
    NoSuchService { service: String },
    #[error("service {service:?} cannot be scaled: it has the container name {name:?}")]
    FixedName { service: String, name: String },
    #[error("{kind} {name} declared as external, but could not be found")]
    ExternalMissing { kind: &'static str, name: String },
    #[error("{kind} {name} exists, but was not made for project {project:?}")]
    Foreign { kind: &'static str, name: String, project: String },
    #[error("network {name} has changed and is in use by {container}")]
    NetworkChanged { name: String, container: String },
    #[error("{kind} {key}: cannot read {}", path.display())]
    MissingFile {
        kind: &'static str,
        key: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the log of {container}")]
    Log {
        container: String,
        #[source]
        source: io::Error,
    },
    #[error("service {service:?} publishes no port {port}")]
    NoPort { service: String, port: String },
    #[error("interrupted")]
    Interrupted,
    /// The thing before it failed, and that error is reported.
    #[error("service {service:?} was not reached")]
    Skipped { service: String },
}

impl Diagnose for StackError {
    fn class(&self) -> Class {
        use StackError::*;
        match self {
            NoImage { .. } | NoContainer { .. } | NoSuchNumber { .. } | NoSuchService { .. } => {
                Class::NotFound
            }
            ExternalMissing { .. } | NoPort { .. } => Class::NotFound,
            NotRunning { .. } | Foreign { .. } | NetworkChanged { .. } => Class::Conflict,
            NoHealthcheck { .. } | NothingToWaitFor { .. } | FixedName { .. } => Class::Invalid,
            Platform { .. } => Class::Invalid,
            MissingFile { source, .. } | Write { source, .. } | Log { source, .. } => Class::of_io(source),
            Unhealthy { .. } | Exited { .. } | NotCompleted { .. } | WaitTimeout { .. } | NotReady { .. } => {
                Class::Unavailable
            }
            Interrupted | Skipped { .. } => Class::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        use StackError::*;
        match self {
            Unhealthy { container } | Exited { container, .. } => {
                Some(format!("see its output with `hull logs {container}`"))
            }
            NotReady { container, .. } => Some(format!("see its output with `hull logs {container}`")),
            NoHealthcheck { .. } => Some("give it a `healthcheck`, or depend on `service_started`".into()),
            NoImage { .. } => Some(
                "make it with `hull import`, `hull load` or `hull build -t`, or give the service a `build`"
                    .into(),
            ),
            ExternalMissing { kind, name } => Some(format!("create it with `hull {kind} create {name}`")),
            Foreign { .. } => Some("give it another `name`, or say `external: true` to use it".into()),
            NetworkChanged { .. } => Some("take that container off the network, or remove it, first".into()),
            NotRunning { .. } | NoContainer { .. } => Some("start it with `hull compose up -d`".into()),
            _ => None,
        }
    }
}

//! Starting containers, and `run`, which is creating and starting with the monitor's start overlapped.

use crate::create::{CreateError, Created, InvalidSpec, validate};
use crate::engine::Engine;
use crate::ids;
use crate::launch::files;
use crate::launch::users::may_have_own_users;
use crate::lookup::{LookupError, make_private_dir};
use crate::model::{ContainerId, ContainerSpec, NetworkMode, RemoveOptions};
use crate::network::NetworkError;
use crate::record::Container;
use crate::volume::VolumeError;
use diag::{Class, Diagnose};
use monitor::client::{self, AttachOptions, AttachStream, LaunchFailure, Launched, NetworkHint, Prepared};
use monitor::plan::{LaunchPlan, Networking};
use monitor::state::Status;
use runtime::ids::PolicyError;
use runtime::seccomp::SeccompError;
use std::io;
use std::path::PathBuf;

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot start container {name}")]
    Launch { name: String, source: LaunchFailure },
    #[error("cannot start a paused container, try unpause instead: {name}")]
    Paused { name: String },
    #[error("cannot join the namespace of container {name}: it is not running")]
    JoinStopped { name: String },
    #[error("failed to join IPC namespace: container {name}: non-shareable IPC")]
    JoinIpc { name: String },
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    #[error("invalid seccomp profile")]
    Seccomp(#[from] SeccompError),
    #[error("error gathering device information while adding custom device \"{}\"", path.display())]
    Device { path: PathBuf, source: io::Error },
    #[error(
        "error gathering device information while adding custom device \"{}\": not a device node",
        path.display()
    )]
    NotADevice { path: PathBuf },
    #[error("cannot find the owner of {} (idmap=owner)", path.display())]
    Owner { path: PathBuf, source: io::Error },
    #[error("cannot write the files of container {name}")]
    Files { name: String, source: io::Error },
    #[error("cannot open hull's own program")]
    Program(#[source] io::Error),
    #[error(transparent)]
    Users(#[from] PolicyError),
    #[error("a container of an ordinary user cannot have user ids of its own: it shares those of its user")]
    OwnUsers,
    #[error("cannot get random bytes for an id")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Directories(Box<CreateError>),
}

impl Diagnose for StartError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Launch { source, .. } => source.class(),
            Self::Paused { .. } | Self::JoinStopped { .. } | Self::JoinIpc { .. } => Class::Conflict,
            Self::Invalid(error) => error.class(),
            Self::Seccomp(error) => error.class(),
            Self::NotADevice { .. } | Self::Users(_) => Class::Invalid,
            Self::Device { source, .. } | Self::Owner { source, .. } => Class::of_io(source),
            Self::OwnUsers => Class::Unsupported,
            Self::Files { .. } | Self::Program(_) | Self::Random(_) => Class::Internal,
            Self::Network(error) => error.class(),
            Self::Volume(error) => error.class(),
            Self::Directories(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Launch { source, .. } => source.hint(),
            Self::OwnUsers => {
                Some("leave out `--userns private` and HULL_USERNS=require, or run it as root".to_owned())
            }
            Self::JoinStopped { name } => Some(format!("start it first: `start {name}`")),
            Self::JoinIpc { name } => {
                Some(format!("make {name} with `--ipc shareable`, and its /dev/shm is shared, too"))
            }
            Self::Network(error) => error.hint(),
            Self::Volume(error) => error.hint(),
            Self::Directories(error) => error.hint(),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Launch { source, .. } => source.exit_status(),
            _ => None,
        }
    }
}

/// Why `run` failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    /// Nothing was created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The container exists, unless it is one that removes itself.
    #[error("{source}")]
    Start { created: Created, source: StartError },
}

impl Diagnose for RunError {
    fn class(&self) -> Class {
        match self {
            Self::Create(error) => error.class(),
            Self::Start { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Create(error) => error.hint(),
            Self::Start { source, .. } => source.hint(),
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Create(error) => error.exit_status(),
            Self::Start { source, .. } => source.exit_status(),
        }
    }
}

impl Engine {
    /// Starts a created or stopped container; one that runs is left alone.
    ///
    /// # Errors
    /// [`StartError`]; a container that could not be started occupies nothing.
    ///
    /// Returns what it does without although it was to have it.
    pub fn start(&self, name: &str) -> Result<Vec<String>, StartError> {
        Ok(self.start_with(name, None)?.map(|launched| launched.warnings).unwrap_or_default())
    }

    /// Starts a container and attaches to it before its first instruction; `None` when it ran already.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_attached(
        &self,
        name: &str,
        options: AttachOptions,
    ) -> Result<Option<AttachStream>, StartError> {
        Ok(self.start_with(name, Some(options))?.and_then(|launched| launched.stream))
    }

    fn start_with(&self, name: &str, attach: Option<AttachOptions>) -> Result<Option<Launched>, StartError> {
        let (mut container, lock) = self.find_locked(name)?;
        match self.observe_locked(&container, &lock)?.state.status {
            Status::Paused => return Err(StartError::Paused { name: container.name }),
            Status::Running | Status::Restarting => return Ok(None),
            Status::Created | Status::Exited => {}
        }
        self.rejoin_networks(&mut container)?;
        let prepared = self.prepare(&container.id, &container.doc.spec)?;
        // After a power cut they may be missing.
        self.make_directories(&container).map_err(|error| StartError::Directories(Box::new(error)))?;
        let launched = self.launch(&container, prepared, attach);
        if launched.is_err() && container.doc.spec.auto_remove {
            // The error to report is that of the start.
            let _ = self.erase(&container, true);
        }
        launched.map(Some)
    }

    /// Creates a container and starts it, detached: the monitor starts while the container is being created.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run_detached(&self, spec: ContainerSpec) -> Result<Created, RunError> {
        self.run(spec, None).map(|(created, _)| created)
    }

    /// Creates a container and starts it with this client attached.
    ///
    /// For a container that removes itself, the caller is expected to say [`reaping`](client::AttachWriter::reaping) when it has
    /// seen the end, to read the stream to its end, and then to call [`Engine::finish_run`].
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run_attached(
        &self,
        spec: ContainerSpec,
        options: AttachOptions,
    ) -> Result<(Created, AttachStream), RunError> {
        let options = AttachOptions { will_remove: spec.auto_remove, ..options };
        let (created, launched) = self.run(spec, Some(options))?;
        let stream = launched.stream.expect("the launch was asked to attach");
        Ok((created, stream))
    }

    fn run(
        &self,
        spec: ContainerSpec,
        attach: Option<AttachOptions>,
    ) -> Result<(Created, Launched), RunError> {
        validate::spec(&spec).map_err(CreateError::from)?;
        let id = ContainerId::from_string(ids::random().map_err(CreateError::Random)?);
        // Before the work of creating, so that the exec happens beside it. Dropped on failure, it leaves without a trace.
        let prepared = self.prepare(&id, &spec);
        let (container, warnings) = self.create_validated(id, spec)?;
        let mut created = Created { id: container.id.clone(), name: container.name.clone(), warnings };
        let started = prepared.and_then(|prepared| self.launch(&container, prepared, attach));
        match started {
            Ok(launched) => {
                created.warnings.extend(launched.warnings.iter().cloned());
                Ok((created, launched))
            }
            Err(source) => {
                if container.doc.spec.auto_remove {
                    // The error to report is that of the start.
                    let _ = self.remove(container.id.as_str(), &RemoveOptions { force: true, volumes: true });
                }
                Err(RunError::Start { created, source })
            }
        }
    }

    /// Starts the monitor of a container; it waits for its plan.
    fn prepare(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<Prepared, StartError> {
        let hint = match spec.network.mode {
            // A container with users of its own makes a namespace that belongs to them.
            _ if may_have_own_users(spec) => NetworkHint::Shared,
            NetworkMode::Default | NetworkMode::None | NetworkMode::Networks(_) => NetworkHint::Private,
            NetworkMode::Host | NetworkMode::Container(_) => NetworkHint::Shared,
        };
        let program = self.program().map_err(StartError::Program)?;
        client::prepare(program, &self.run_dir(id), hint)
            .map_err(|source| StartError::Launch { name: id.short().to_owned(), source })
    }

    fn launch(
        &self,
        container: &Container,
        prepared: Prepared,
        attach: Option<AttachOptions>,
    ) -> Result<Launched, StartError> {
        let run_dir = self.run_dir(&container.id);
        let files_failed = |source| StartError::Files { name: container.name.clone(), source };
        make_private_dir(&run_dir).map_err(files_failed)?;
        let mut plan = self.launch_plan(container)?;
        files::write(&run_dir, container, &networks(&plan)).map_err(files_failed)?;
        let mut prepared = Some(prepared);
        let mut attempt = 0;
        loop {
            let ready = match prepared.take() {
                Some(prepared) => prepared,
                None => self.prepare(&container.id, &container.doc.spec)?,
            };
            match ready.begin(&plan, attach).and_then(client::Launching::finish) {
                Err(taken) if taken.class() == Class::Conflict => {
                    attempt += 1;
                    if !next_ports(&mut plan, container, attempt) {
                        return Err(StartError::Launch { name: container.name.clone(), source: taken });
                    }
                }
                result => {
                    return result
                        .map_err(|source| StartError::Launch { name: container.name.clone(), source });
                }
            }
        }
    }
}

/// The networks of the endpoints that will be realised.
fn networks(plan: &LaunchPlan) -> Vec<net::NetworkPlan> {
    match &plan.network {
        Networking::Private { endpoints, .. } => {
            endpoints.iter().map(|endpoint| endpoint.network.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// Moves the ports that may be any of a range to the next one; `false` when there is none.
fn next_ports(plan: &mut LaunchPlan, container: &Container, attempt: u16) -> bool {
    let Networking::Private { publish, .. } = &mut plan.network else { return false };
    let mut moved = false;
    // The plan has the request's mappings first, in their order.
    for (port, mapping) in publish.iter_mut().zip(&container.doc.spec.network.publish) {
        if let (Some(first), Some(last)) = (mapping.host_port, mapping.host_port_end)
            && attempt <= last - first
        {
            port.host_port = Some(first + attempt);
            moved = true;
        }
    }
    moved
}

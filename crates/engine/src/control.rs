//! Acting on running containers: stop, kill, restart, pause, wait, attach, resize, rename.

use crate::create::{InvalidSpec, validate};
use crate::engine::Engine;
use crate::lookup::{LookupError, make_private_dir};
use crate::model::{ContainerId, StopOptions};
use crate::record::Container;
use crate::start::StartError;
use crate::{events, ids, signal};
use diag::{Class, Diagnose};
use monitor::client::{self, AttachOptions, AttachStream, Client, Rendezvous, RequestError};
use monitor::state::Status;
use std::os::fd::AsFd as _;
use std::time::Duration;
use store::Durability;
use store::db::containers::{self, NameError};
use sys::event::{PollFlags, poll_one};

/// Why a container could not be controlled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ControlError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("cannot kill container: {name}: container {id} is not running")]
    NotKilled { name: String, id: ContainerId },
    /// The container's monitor says why.
    #[error(transparent)]
    Refused(RequestError),
    #[error("You cannot attach to a stopped container, start it first")]
    AttachStopped { name: String },
    #[error("You cannot attach to a paused container, unpause it first")]
    AttachPaused { name: String },
    #[error("cannot {action} container {name}")]
    Monitor { action: &'static str, name: String, source: RequestError },
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    #[error("Renaming a container with the same name as its current name: {name}")]
    SameName { name: String },
    #[error("Error when allocating new name")]
    Name(#[from] NameError),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Diagnose for ControlError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning { .. }
            | Self::NotKilled { .. }
            | Self::AttachStopped { .. }
            | Self::AttachPaused { .. } => Class::Conflict,
            Self::Refused(source) => source.class(),
            Self::Monitor { source, .. } => source.class(),
            Self::Invalid(error) => error.class(),
            Self::SameName { .. } => Class::Invalid,
            Self::Name(error) => error.class(),
            Self::Start(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::AttachStopped { name } => Some(format!("`start --attach {name}` starts it and attaches")),
            Self::Refused(source) => source.hint(),
            Self::Monitor { source, .. } => source.hint(),
            Self::Name(error) => error.hint(),
            Self::Start(error) => error.hint(),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Start(error) => error.exit_status(),
            _ => None,
        }
    }
}

const SIGKILL: i32 = 9;
/// How long a killed container may take to end.
const DYING: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks a container to stop, kills it after its timeout, and waits until all of it is gone. One that does not run is left alone;
    /// returns whether it ran.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn stop(&self, name: &str, options: &StopOptions) -> Result<bool, ControlError> {
        let wire = stop_options(options)?;
        let container = self.find(name)?;
        if !self.is_active_once_started(&container)? {
            return Ok(false);
        }
        match self.monitor(&container).and_then(|mut monitor| monitor.stop(wire)) {
            // It ended in the meantime, or its monitor was killed: recovery sees to the rest.
            Err(RequestError::NotRunning { .. }) => drop(self.is_active(&container)?),
            Err(source) => {
                return Err(ControlError::Monitor { action: "stop", name: container.name, source });
            }
            Ok(_) if container.doc.spec.auto_remove => {
                // Its name is free when this returns. What fails here, the monitor's own removal reports to nobody either.
                let _ = self.reap(container.id.as_str());
            }
            Ok(_) => {}
        }
        Ok(true)
    }

    /// Sends a signal, given by name or number, to the first process. The end that `SIGKILL` brings is waited for, but not for ever.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`].
    pub fn kill(&self, name: &str, signal: &str) -> Result<(), ControlError> {
        let number = signal::number(signal)?;
        let container = self.find(name)?;
        let killed = self.on_running("kill", &container, |monitor| {
            monitor.kill(number)?;
            // A process that is stuck in the kernel outlives this, and ends once it comes out. One that has ended has no monitor to ask.
            if number == SIGKILL && monitor.begin_wait().is_ok() {
                let _ = poll_one(monitor.as_fd(), PollFlags::IN, Some(DYING));
            }
            Ok(())
        });
        killed.map_err(|error| match error {
            ControlError::NotRunning { id } => ControlError::NotKilled { name: container.name.clone(), id },
            error => error,
        })
    }

    /// Stops a container when it runs, and starts it; its addresses and published ports stay.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn restart(&self, name: &str, options: &StopOptions) -> Result<(), ControlError> {
        let wire = stop_options(options)?;
        let container = self.find(name)?;
        let restarted = match self.is_active_once_started(&container)? {
            false => Err(RequestError::NotRunning { id: container.id.to_string() }),
            true => self.monitor(&container).and_then(|mut monitor| monitor.restart(wire)),
        };
        match restarted {
            Err(RequestError::NotRunning { .. }) => {
                self.start(container.id.as_str())?;
                self.emit(&events::container(&container, "restart"));
            }
            Err(source) => {
                return Err(ControlError::Monitor { action: "restart", name: container.name, source });
            }
            Ok(_) => {}
        }
        Ok(())
    }

    /// Freezes every process of a container.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn pause(&self, name: &str) -> Result<(), ControlError> {
        let container = self.find(name)?;
        self.on_running("pause", &container, Client::pause)
    }

    /// Undoes [`Engine::pause`].
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn unpause(&self, name: &str) -> Result<(), ControlError> {
        let container = self.find(name)?;
        self.on_running("unpause", &container, Client::unpause)
    }

    /// Waits for a container that does not run to be started, by whomever; see [`Rendezvous`].
    ///
    /// `None` when it runs: then [`Engine::attach`] attaches to it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn await_start(&self, name: &str) -> Result<Option<Rendezvous>, ControlError> {
        let container = self.find(name)?;
        let failed = |source| {
            let source = RequestError::Talk { id: container.id.to_string(), source };
            ControlError::Monitor { action: "attach to", name: container.name.clone(), source }
        };
        if self.is_active(&container)? {
            return Ok(None);
        }
        let run_dir = self.run_dir(&container.id);
        let token = ids::random().and_then(|token| make_private_dir(&run_dir).map(|()| token));
        let rendezvous =
            token.and_then(|token| client::rendezvous(&run_dir, &token[..16])).map_err(failed)?;
        // Started meanwhile, perhaps before anybody waited.
        Ok((!self.is_active(&container)?).then_some(rendezvous))
    }

    /// Changes the size of a container's terminal.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn resize(&self, name: &str, rows: u16, columns: u16) -> Result<(), ControlError> {
        let container = self.find(name)?;
        self.on_running("resize", &container, |monitor| monitor.resize(rows, columns))
    }

    /// Attaches to a running container.
    ///
    /// # Errors
    /// [`ControlError::AttachStopped`], [`ControlError::AttachPaused`].
    pub fn attach(&self, name: &str, options: AttachOptions) -> Result<AttachStream, ControlError> {
        let container = self.find(name)?;
        match self.observe(&container)?.state.status {
            Status::Paused => return Err(ControlError::AttachPaused { name: container.name }),
            Status::Created | Status::Exited => {
                return Err(ControlError::AttachStopped { name: container.name });
            }
            Status::Running | Status::Restarting => {}
        }
        let attached = self.monitor(&container).and_then(|monitor| monitor.attach(options));
        attached.map_err(|source| match source {
            RequestError::NotRunning { .. } => ControlError::AttachStopped { name: container.name.clone() },
            source => ControlError::Monitor { action: "attach to", name: container.name.clone(), source },
        })
    }

    /// Gives a container another name, on its networks too.
    ///
    /// # Errors
    /// [`ControlError::Name`] when it is taken.
    pub fn rename(&self, name: &str, new: &str) -> Result<(), ControlError> {
        let new = new.strip_prefix('/').unwrap_or(new);
        let (container, lock) = self.find_locked(name)?;
        validate::container_name(new)?;
        if container.name == new {
            return Err(ControlError::SameName { name: container.name });
        }
        let active = self.observe_locked(&container, &lock)?.state.status.is_active();
        self.store()
            .database()
            .write(Durability::Full, |writer| containers::rename(writer, container.id.as_str(), new))?;
        if active
            && let Err(source) = self.monitor(&container).and_then(|mut monitor| monitor.rename(new))
            && !matches!(source, RequestError::NotRunning { .. })
        {
            return Err(ControlError::Monitor { action: "rename", name: container.name, source });
        }
        let renamed = Container { name: new.to_owned(), ..container.clone() };
        self.emit(&events::container(&renamed, "rename").with("oldName", format!("/{}", container.name)));
        Ok(())
    }

    /// Connects to the monitor of a container.
    pub(crate) fn monitor(&self, container: &Container) -> Result<Client, RequestError> {
        client::connect(&self.run_dir(&container.id))
    }

    /// Whether a container runs; one that has removed itself does not.
    pub(crate) fn is_active(&self, container: &Container) -> Result<bool, LookupError> {
        match self.observe(container) {
            Err(LookupError::NotFound { .. }) => Ok(false),
            observed => Ok(observed?.state.status.is_active()),
        }
    }

    /// As [`Engine::is_active`], when somebody who is just starting the container has done so: whoever wants it down must not hear
    /// that it is, and find it running afterwards.
    pub(crate) fn is_active_once_started(&self, container: &Container) -> Result<bool, LookupError> {
        if self.is_active(container)? {
            return Ok(true);
        }
        match self.find_locked(container.id.as_str()) {
            Err(LookupError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
            Ok((container, lock)) => {
                drop(lock);
                self.is_active(&container)
            }
        }
    }

    fn on_running(
        &self,
        action: &'static str,
        container: &Container,
        request: impl Fn(&mut Client) -> Result<(), RequestError>,
    ) -> Result<(), ControlError> {
        let (name, id) = (container.name.clone(), container.id.clone());
        let ask = || self.monitor(container).and_then(|mut monitor| request(&mut monitor));
        let asked = match ask() {
            Err(RequestError::NotRunning { .. }) if self.is_active_once_started(container)? => ask(),
            asked => asked,
        };
        match asked {
            Ok(()) => Ok(()),
            Err(RequestError::NotRunning { .. }) => Err(ControlError::NotRunning { id }),
            Err(source @ RequestError::Refused(_)) => Err(ControlError::Refused(source)),
            Err(source) => Err(ControlError::Monitor { action, name, source }),
        }
    }
}

fn stop_options(options: &StopOptions) -> Result<client::StopOptions, InvalidSpec> {
    let signal = options.signal.as_deref().map(signal::number).transpose()?;
    Ok(client::StopOptions { signal, timeout_s: options.timeout_s })
}

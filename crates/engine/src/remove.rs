//! Removing containers, one or many, and what a killed monitor left of one.

use crate::engine::Engine;
use crate::events;
use crate::lookup::LookupError;
use crate::model::{ContainerId, RemoveOptions};
use crate::record::{Container, MountSource};
use crate::volume::VolumeError;
use diag::{Class, Diagnose, Failure};
use monitor::client::{self, RequestError, StopOptions};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::db::{containers, images};
use store::{Collected, DatabaseError, Durability, Roots, StoreError};

/// Why a container could not be removed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RemoveError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(
        "cannot remove container \"/{name}\": container is {status}: {}",
        if *status == "paused" { "unpause and then stop the container before removing or force remove" }
        else { "stop the container before removing or force remove" }
    )]
    Running { name: String, status: &'static str },
    #[error("cannot kill container {name}")]
    Kill { name: String, source: RequestError },
    #[error("cannot remove {} of container {name}", path.display())]
    Files { name: String, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for RemoveError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Running { .. } => Class::Conflict,
            Self::Kill { source, .. } => source.class(),
            Self::Files { source, .. } => Class::of_io(source),
            Self::Volume(error) => error.class(),
            Self::Database(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Running { name, .. } => Some(format!("`rm -f {name}` kills and removes it")),
            Self::Volume(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

impl Engine {
    /// Removes a container, with `force` also a running one; returns its name.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(&self, name: &str, options: &RemoveOptions) -> Result<String, RemoveError> {
        let container = self.find(name)?;
        self.end(&container, options.force)?;
        let (container, lock) = match self.find_locked(container.id.as_str()) {
            // One that removes itself was faster: it is gone, as was asked.
            Err(LookupError::NotFound { .. }) => return Ok(container.name),
            found => found?,
        };
        // Between the two looks somebody may have started it.
        self.end(&container, options.force)?;
        self.erase(&container, options.volumes)?;
        drop(lock);
        Ok(container.name)
    }

    /// Removes several containers at once; results are in the order of `names`.
    ///
    /// Killing waits for the kernel, so all are killed before the first one is waited for: one thread each.
    pub fn remove_many(&self, names: &[String], options: &RemoveOptions) -> Vec<Result<String, Failure>> {
        self.in_parallel(names, |name| self.remove(name, options).map_err(Failure::from))
    }

    /// Runs `work` for each of `names` in a thread of its own, at most 64 at a time; results keep the order.
    pub fn in_parallel<T: Send>(
        &self,
        names: &[String],
        work: impl Fn(&str) -> Result<T, Failure> + Sync,
    ) -> Vec<Result<T, Failure>> {
        if let [only] = names {
            return vec![work(only)];
        }
        let mut results = Vec::with_capacity(names.len());
        for chunk in names.chunks(64) {
            std::thread::scope(|scope| {
                let threads: Vec<_> = chunk.iter().map(|name| scope.spawn(|| work(name))).collect();
                results.extend(
                    threads.into_iter().map(|thread| thread.join().expect("the work does not panic")),
                );
            });
        }
        results
    }

    /// Begins [`Engine::finish_run`] with what takes longest, while the monitor still cleans up: it has written the last of the
    /// log, and nothing reads any more what the container wrote.
    pub fn discard_files(&self, id: &ContainerId) {
        // What cannot be removed now is tried again under the lock, and reported then.
        let _ = sys::fs::remove_tree(&self.data_dir(id));
    }

    /// Removes the container of a finished `run --rm` that this process was attached to, after its stream has ended.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn finish_run(&self, id: &ContainerId) -> Result<(), RemoveError> {
        // Its monitor has cleaned up and let go, without writing down for us what we know; unless it was killed, and then its
        // socket is still there.
        let in_order = !self.run_dir(id).join(monitor::protocol::SOCKET).exists();
        let removed = match in_order {
            true => {
                self.find(id.as_str()).map_err(Into::into).and_then(|container| self.erase(&container, true))
            }
            false => self.remove(id.as_str(), &RemoveOptions { force: true, volumes: true }).map(drop),
        };
        match removed {
            // Somebody else's `rm` was faster.
            Err(RemoveError::Lookup(LookupError::NotFound { .. })) => Ok(()),
            result => result,
        }
    }

    /// Cleans up after a monitor whose death this process saw as the end of a stream: the program may live on without it.
    pub fn recover(&self, id: &ContainerId) {
        // It closes its streams a moment before it lets go of its lock.
        let patience = Instant::now() + Duration::from_secs(1);
        while monitor::is_alive(&self.run_dir(id)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        // To look at the container is to put it right. What fails now is tried again by the next command that looks.
        let _ = self.inspect(id.as_str());
    }

    /// The last act of a monitor whose container removes itself (the hidden command `reap`).
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn reap(&self, id: &str) -> Result<(), RemoveError> {
        match self.remove(id, &RemoveOptions { force: true, volumes: true }) {
            Err(RemoveError::Lookup(LookupError::NotFound { .. })) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Returns when no monitor holds the container any more; one that runs is killed with `force`, and refused without.
    ///
    /// A monitor that is just launching it, for a client that may have been killed meanwhile, holds it before it is running.
    fn end(&self, container: &Container, force: bool) -> Result<(), RemoveError> {
        loop {
            let status = self.look(container)?.state.status;
            if status.is_active() {
                if !force {
                    let name = container.name.clone();
                    return Err(RemoveError::Running { name, status: status.as_str() });
                }
                self.kill_and_wait(container)?;
            }
            if !monitor::is_alive(&self.run_dir(&container.id)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill_and_wait(&self, container: &Container) -> Result<(), RemoveError> {
        let kill = StopOptions { signal: Some(9), timeout_s: Some(0) };
        match self.monitor(container).and_then(|mut monitor| monitor.stop(kill)) {
            Ok(_) | Err(RequestError::NotRunning { .. }) => Ok(()),
            Err(source) => Err(RemoveError::Kill { name: container.name.clone(), source }),
        }
    }

    /// Removes a container that does not run, under its lock: its data, its row, its run directory with the lock.
    ///
    /// What is left of an interrupted removal is a container that can be removed again, or a directory that the next list sweeps.
    /// The lock's file must go last: whoever waits for it may make a new one, and must then find no row.
    pub(crate) fn erase(&self, container: &Container, with_volumes: bool) -> Result<(), RemoveError> {
        let (run_dir, data_dir) = (self.run_dir(&container.id), self.data_dir(&container.id));
        let files =
            |path: PathBuf| move |source| RemoveError::Files { name: container.name.clone(), path, source };
        // Held to the end: a monitor that comes late finds nothing to launch.
        let _released = client::wait_released(&run_dir).map_err(files(run_dir.clone()))?;
        sys::fs::remove_tree(&data_dir).map_err(files(data_dir.clone()))?;
        let durability = if container.doc.spec.auto_remove { Durability::Relaxed } else { Durability::Full };
        let frees_layers = {
            // No collector takes the mark away before the row is gone.
            let _lock = self.store().lock_shared()?;
            self.store().database().write_removal(durability, |writer| {
                containers::remove(writer, container.id.as_str())?;
                // One whose image was removed before may have been the last to need its layers.
                let image = container.image.map(|id| images::get(writer, &id)).transpose()?;
                let frees_layers = image.is_some_and(|image| image.is_none());
                if frees_layers {
                    self.store().mark_pending()?;
                }
                Ok::<_, RemoveError>(frees_layers)
            })?
        };
        match sys::fs::remove_tree(&run_dir) {
            // Somebody who is about to look at the container put a lock there just now. He finds no row, and removes it.
            Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            result => result.map_err(files(run_dir.clone()))?,
        }
        self.emit(&events::container(container, "destroy"));
        if with_volumes || container.doc.spec.auto_remove {
            let volumes: Vec<String> = container
                .doc
                .mounts
                .iter()
                .filter_map(|mount| match &mount.source {
                    MountSource::Volume { name, .. } => Some(name.clone()),
                    _ => None,
                })
                .collect();
            self.remove_anonymous_volumes(&volumes)?;
        }
        if frees_layers {
            // The container is gone; what cannot be collected now is collected by a later command.
            let _ = self.images().collect().map(Collected::finish);
        }
        Ok(())
    }

    /// Removes directories of containers that have no row: what interrupted removals left. `known` are the ids with a row.
    pub(crate) fn sweep(&self, known: &HashSet<&str>) {
        for parent in [self.store().run().join("containers"), self.store().data().join("containers")] {
            for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name();
                match name.to_str() {
                    Some(id) if known.contains(id) => {}
                    Some(id) => self.sweep_one(ContainerId::from_string(id.to_owned())),
                    None => {}
                }
            }
        }
    }

    /// Under the lock, because the row may be younger than the list, or its removal not over.
    fn sweep_one(&self, id: ContainerId) {
        let Ok(_lock) = self.lock_container(&id) else { return };
        let row = self.store().database().read(|reader| containers::by_id(reader, id.as_str()));
        if matches!(row, Ok(None)) && !monitor::is_alive(&self.run_dir(&id)) {
            let _ = sys::fs::remove_tree(&self.data_dir(&id));
            let _ = sys::fs::remove_tree(&self.run_dir(&id));
        }
    }
}

/// The hidden command `reap <data root> <run root> <id>`; nobody reads what it would print.
pub fn reap_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(data), Some(run), Some(id), None) = (args.next(), args.next(), args.next(), args.next()) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let roots = Roots::new(PathBuf::from(data), PathBuf::from(run));
    let reaped = Engine::open(&roots).is_ok_and(|engine| engine.reap(&id.to_string_lossy()).is_ok());
    if reaped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! Exec instances: processes in containers that are made in one call, started in another and looked at in a third.
//!
//! ```text
//! <run root>/execs/<id>/exec.json    what was asked for
//!                       holder.lock  there, and held, from the start on to the end of its holder
//!                       state.json   whether it runs, how it ended     written by its holder
//!                       exec.sock    at which its holder hears of the terminal's size
//! ```
//!
//! Each has a small process of its own, its *holder*, which is its parent and lives as long as it does: the server that was asked
//! for it, and that one's client, may go at any time.

use crate::engine::{Engine, INHERITED_FD};
use crate::events;
use crate::exec::ExecError;
use crate::ids;
use crate::lookup::make_private_dir;
use crate::model::{ContainerId, ExecSpec};
use diag::{Diagnose, Failure};
use monitor::client::{self, AttachOptions, AttachStream};
use monitor::held;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use store::Roots;
use sys::fs::{FileLock, LockKind};

/// An exec instance as it is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRecord {
    /// The container's id.
    pub container: ContainerId,
    pub spec: ExecSpec,
    /// Which of stdin, stdout and stderr its client takes part in.
    pub streams: [bool; 3],
    /// The keys its client detaches with, when they are not the usual ones.
    pub detach_keys: Option<String>,
}

/// An exec instance as it is.
#[derive(Clone, Debug)]
pub struct ExecInspect {
    pub id: String,
    pub record: ExecRecord,
    pub running: bool,
    /// `None` before its end.
    pub exit_code: Option<i32>,
    /// On the host; 0 unless it runs.
    pub pid: i32,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct State {
    pid: i32,
    exit_code: Option<i32>,
}

/// How long an instance that has ended can still be looked at.
const KEPT: Duration = Duration::from_secs(300);
const LOCK_FILE: &str = "holder.lock";

impl Engine {
    /// Makes an exec instance, which does not run yet.
    ///
    /// # Errors
    /// [`ExecError`] when the container cannot take one.
    pub fn exec_create(
        &self,
        name: &str,
        spec: ExecSpec,
        streams: [bool; 3],
        detach_keys: Option<String>,
    ) -> Result<String, ExecError> {
        spec.check()?;
        let container = self.find(name)?;
        self.state_for_exec(&container)?;
        let failed = |id: &str| {
            let id = id.to_owned();
            move |source| ExecError::Instance { action: "make", id, source }
        };
        let mut id = ids::random().map_err(failed(""))?;
        // So that the instances of a container are found without reading any.
        let short = container.id.short();
        id.replace_range(64 - short.len().., short);
        // Now and then, so that there are never many.
        if id.starts_with('0') {
            self.forget_old_execs();
        }
        let command = spec.command.join(" ");
        let record = ExecRecord { container: container.id.clone(), spec, streams, detach_keys };
        let directory = self.exec_dir(&id);
        let text = serde_json::to_vec(&record).expect("strings and numbers have a JSON form");
        make_private_dir(&directory)
            .and_then(|()| sys::fs::write_atomic(&directory.join("exec.json"), &text, 0o600, false))
            .map_err(failed(&id))?;
        self.emit(&events::container(&container, &format!("exec_create: {command}")).with("execID", &id));
        Ok(id)
    }

    /// Starts an exec instance with its client attached to it.
    ///
    /// # Errors
    /// [`ExecError`]; it cannot be started again then.
    pub fn exec_start(&self, id: &str, options: AttachOptions) -> Result<AttachStream, ExecError> {
        let record = self.exec_record(id)?;
        self.state_for_exec(&self.find(record.container.as_str())?)?;
        let failed = |source| ExecError::Instance { action: "start", id: id.to_owned(), source };
        let lock = claim(&self.exec_dir(id)).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ExecError::HasRun { id: id.to_owned() },
            _ => failed(error),
        })?;
        let socket = self.spawn_holder(id, lock).map_err(failed)?;
        Ok(client::attach_over(socket, options)?)
    }

    /// Starts a holder, which gets the lock.
    fn spawn_holder(&self, id: &str, lock: FileLock) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let roots = self.store().roots();
        let args = ["hold-exec".as_ref(), roots.data.as_os_str(), roots.run.as_os_str(), id.as_ref()];
        self.spawn_hidden(&args, &[theirs.as_fd(), lock.as_fd()])?;
        lock.leave();
        Ok(ours)
    }

    /// One exec instance.
    ///
    /// # Errors
    /// [`ExecError::NoInstance`].
    pub fn exec_inspect(&self, id: &str) -> Result<ExecInspect, ExecError> {
        let record = self.exec_record(id)?;
        let directory = self.exec_dir(id);
        let exit_code = exit_code(&directory);
        let running = exit_code.is_none() && has_started(&directory);
        let pid = if running { state(&directory).pid } else { 0 };
        Ok(ExecInspect { id: id.to_owned(), record, running, exit_code, pid })
    }

    /// The exec instances of a container that have not ended.
    pub fn exec_ids(&self, container: &ContainerId) -> Vec<String> {
        let mut names = self.exec_names();
        names.retain(|id| id.ends_with(container.short()) && exit_code(&self.exec_dir(id)).is_none());
        names
    }

    /// Changes the size of an exec instance's terminal.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), ExecError> {
        self.exec_record(id)?;
        let resized = client::connect_to(&self.exec_dir(id), "exec.sock")
            .and_then(|mut holder| holder.resize(rows, columns));
        match resized {
            Err(client::RequestError::NotRunning { .. }) => {
                Err(ExecError::InstanceNotRunning { id: id.to_owned() })
            }
            result => Ok(result?),
        }
    }

    fn execs(&self) -> PathBuf {
        self.store().run().join("execs")
    }

    fn exec_dir(&self, id: &str) -> PathBuf {
        self.execs().join(id)
    }

    fn exec_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.execs()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn exec_record(&self, id: &str) -> Result<ExecRecord, ExecError> {
        let missing = || ExecError::NoInstance { id: id.to_owned() };
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        match fs::read(self.exec_dir(id).join("exec.json")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| ExecError::Instance {
                action: "read",
                id: id.to_owned(),
                source: error.into(),
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(source) => Err(ExecError::Instance { action: "read", id: id.to_owned(), source }),
        }
    }

    /// Removes instances that have ended some time ago, or whose container does not run any more.
    fn forget_old_execs(&self) {
        for id in self.exec_names() {
            let directory = self.exec_dir(&id);
            let age = fs::metadata(&directory).and_then(|meta| meta.modified());
            let age = age.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
            if age.is_none_or(|age| age < KEPT) || is_held(&directory) {
                continue;
            }
            let is_waited_for = !has_started(&directory)
                && self.exec_record(&id).is_ok_and(|record| self.is_active_id(&record.container));
            if !is_waited_for {
                let _ = sys::fs::remove_tree(&directory);
            }
        }
    }

    fn is_active_id(&self, id: &ContainerId) -> bool {
        self.find(id.as_str()).and_then(|container| self.is_active(&container)).unwrap_or(false)
    }

    /// A holder's work, from its client's first word to the end of the process.
    fn hold_exec(&self, id: &str, client: &mut UnixStream) -> Result<(), Failure> {
        let failed = |source| ExecError::Instance { action: "hold", id: id.to_owned(), source };
        let record = self.exec_record(id)?;
        let directory = self.exec_dir(id);
        let Some(options) = held::greet(client).map_err(failed)? else { return Ok(()) };
        let listener =
            File::open(&directory).and_then(|dir| sys::socket::listen_in(dir.as_fd(), "exec.sock"));
        let listener = listener.map_err(failed)?;
        let mut spec = record.spec;
        spec.console_size = options.size.or(spec.console_size);
        let (stdio, ends) = held::streams(spec.tty, spec.console_size, options.stdin).map_err(failed)?;
        let started = self.exec_as(Some(id), record.container.as_str(), &spec, stdio);
        let save = |state: State| {
            let text = serde_json::to_vec(&state).expect("numbers have a JSON form");
            // On tmpfs: this fails when memory is exhausted.
            let _ = sys::fs::write_atomic(&directory.join("state.json"), &text, 0o600, false);
        };
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                save(State { pid: 0, exit_code: error.exit_status().map(i32::from).or(Some(126)) });
                return Err(error.into());
            }
        };
        save(State { pid: process.pid(), exit_code: None });
        let client = client.try_clone().map_err(failed)?;
        let ended = |code: i32| {
            save(State { pid: 0, exit_code: Some(code) });
            if let Ok(container) = self.find(record.container.as_str()) {
                let event = events::container(&container, "exec_die").with("execID", id);
                self.emit(&event.with("exitCode", code.to_string()));
            }
        };
        held::hold(process, ends, (client, options), &listener, ended).map_err(failed)?;
        let _ = fs::remove_file(directory.join("exec.sock"));
        Ok(())
    }
}

/// Takes the lock of an instance that is about to start, which nobody has seen before it is held.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when it has been started before.
fn claim(directory: &Path) -> io::Result<FileLock> {
    let own = directory.join(format!(".{}", ids::random()?));
    let lock = FileLock::acquire(&own, LockKind::Exclusive)?;
    sys::fs::rename_noreplace(&*own, &*directory.join(LOCK_FILE)).inspect_err(|_| {
        let _ = fs::remove_file(&own);
    })?;
    Ok(lock)
}

/// How an instance has ended, if it has.
fn exit_code(directory: &Path) -> Option<i32> {
    let is_lost = has_started(directory) && !is_held(directory);
    // After the lock: what a holder wrote before it let go is seen. One that wrote nothing was killed, and its process with it.
    state(directory).exit_code.or(is_lost.then_some(monitor::state::EXIT_KILLED))
}

fn has_started(directory: &Path) -> bool {
    directory.join(LOCK_FILE).exists()
}

fn is_held(directory: &Path) -> bool {
    matches!(FileLock::try_existing(directory.join(LOCK_FILE), LockKind::Shared), Ok(None))
}

fn state(directory: &Path) -> State {
    let text = fs::read(directory.join("state.json")).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The hidden command `hold-exec`; `args` are those after its name: data root, run root and the instance's id.
pub fn hold_exec_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let [data, run, id] = args.as_slice() else { return ExitCode::from(diag::EXIT_USAGE) };
    let (Ok(client), Ok(_lock)) =
        (sys::spawn::claim_inherited(INHERITED_FD), sys::spawn::claim_inherited(INHERITED_FD + 1))
    else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let _ = sys::process::set_name(c"hull-exec");
    let _ = std::env::set_current_dir("/");
    sys::process::set_umask(0o022);
    let mut client = UnixStream::from(client);
    let engine = Engine::open(&Roots::new(data, run)).map_err(Failure::from);
    match engine.and_then(|engine| engine.hold_exec(&id.to_string_lossy(), &mut client)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            held::refuse(&mut client, &failure);
            ExitCode::FAILURE
        }
    }
}

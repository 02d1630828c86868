//! A container's volatile state: written by its monitor alone, read by everybody.
//!
//! `state.json` in the run directory is replaced by atomic rename at every change. `exit.json` in the data directory is
//! its copy that survives a reboot: written when the container starts and when it ends, except for containers that are
//! removed at their end. What a reader concludes from the two files and the monitor's lock:
//!
//! ```text
//! state.json     lock    exit.json   ->  Supervision
//! any            held    any             Live        the state is what the monitor says
//! not occupied   free    any             Ended (or Never, when the status is created)
//! occupied       free    any             Orphaned    the monitor was killed: recover() puts things right
//! none           free    not active      Ended       since a reboot
//! none           free    active          LostAtBoot  it ran when the machine went down
//! none           free    none            Never
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::plan::LaunchPlan;

/// Name of the state file in the run directory.
pub const STATE_FILE: &str = "state.json";
/// Name of the file in the data directory that survives a reboot.
pub const EXIT_FILE: &str = "exit.json";
/// Name of the file in the run directory the live monitor keeps locked.
pub const LOCK_FILE: &str = "monitor.lock";
/// The exit code reported for a container that ran when the machine went down, as dockerd reports it.
pub const EXIT_LOST_AT_BOOT: i32 = 255;
/// The exit code reported for a container whose monitor was killed: the kernel killed it with its monitor.
pub const EXIT_KILLED: i32 = 137;

/// Docker's container states that a monitor can tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    Running,
    Paused,
    /// Between two runs, waiting for the restart policy's delay.
    Restarting,
    Exited,
}

impl Status {
    /// Whether a monitor must be alive behind this status.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

/// What the monitor knows about its container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Version of this record; 1.
    pub version: u32,
    pub status: Status,
    /// The container's first process in the host's numbering; 0 when there is none.
    pub pid: i32,
    /// The monitor's own pid.
    pub monitor_pid: i32,
    pub started_at_ns: i64,
    pub finished_at_ns: i64,
    /// Exit code of the last run: the process's own, or 128 + the signal that ended it.
    pub exit_code: i32,
    pub oom_killed: bool,
    /// Why the last start failed, as one line.
    pub error: Option<String>,
    /// How often the restart policy has started it again.
    pub restart_count: u32,
    pub health: Option<Health>,
    /// The host's id of the container's user 0; `None` when they are the same.
    pub first_id: Option<u32>,
    /// What the container does without although it was to have it.
    pub warnings: Vec<String>,
    /// Published ports with the host ports they got.
    pub ports: Vec<net::Published>,
    /// Ids of its endpoints, by the names of their networks.
    pub endpoints: BTreeMap<String, String>,
    /// Whether the container occupies anything on the host (process, control group, names, ports) its monitor has to undo.
    pub occupied: bool,
    /// Whether the last end was asked for, so that `unless-stopped` keeps it down.
    pub stopped_by_user: bool,
}

/// State of the healthcheck.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// Consecutive failures that counted.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// Docker's health states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One run of the healthcheck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub start_ns: i64,
    pub end_ns: i64,
    /// -1 when it could not run or took too long.
    pub exit_code: i32,
    /// At most 4096 bytes.
    pub output: String,
}

/// How far a [`State`] read from outside can be trusted; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervision {
    Never,
    Live,
    Ended,
    /// The monitor died without cleaning up. The state already says what recovery will make of it: exited, 137 if it ran.
    Orphaned,
    /// The machine went down under it. The state says: exited, 255.
    LostAtBoot,
}

/// A state as a reader should believe it, and why.
#[derive(Clone, Debug)]
pub struct Observed {
    pub state: State,
    pub supervision: Supervision,
}

impl Observed {
    /// Of one that has not run since the host's start, by how its last run ended.
    fn before_a_run(last: Option<State>) -> Self {
        let supervision = if last.is_some() { Supervision::Ended } else { Supervision::Never };
        Self { state: last.unwrap_or_default(), supervision }
    }
}

/// Reads the state of the container with these directories, from whatever file tells it.
///
/// Who has read an event of its monitor's finds the state that belongs to it.
pub fn read(run_dir: &Path, data_dir: &Path) -> io::Result<Observed> {
    // Lists ask this of every container, and most of them may not have run since the host's start.
    if !run_dir.exists() {
        let last = load(&data_dir.join(EXIT_FILE))?;
        // One that is told to run may have begun after the look at its directory.
        if last.as_ref().is_none_or(|state| !state.status.is_active()) {
            return Ok(Observed::before_a_run(last));
        }
    }
    let is_supervised = is_alive(run_dir);
    if is_supervised {
        await_change(run_dir);
    }
    let Some(mut state) = load(&run_dir.join(STATE_FILE))? else {
        return Ok(match load(&data_dir.join(EXIT_FILE))? {
            _ if is_alive(run_dir) => Observed { state: State::default(), supervision: Supervision::Live },
            Some(state) if state.status.is_active() => {
                Observed { state: state.ended_by(EXIT_LOST_AT_BOOT), supervision: Supervision::LostAtBoot }
            }
            last => Observed::before_a_run(last),
        });
    };
    // One that has begun since then may already have written it.
    if is_supervised || is_alive(run_dir) {
        return Ok(Observed { state, supervision: Supervision::Live });
    }
    if state.occupied {
        // It may have ended in good order between the two looks; what it wrote before it let go of the lock decides.
        state = load(&run_dir.join(STATE_FILE))?.unwrap_or(state);
    }
    let supervision = match state.status {
        _ if state.occupied => Supervision::Orphaned,
        Status::Created => Supervision::Never,
        _ => Supervision::Ended,
    };
    if state.status.is_active() {
        state = state.ended_by(EXIT_KILLED);
    }
    Ok(Observed { state, supervision })
}

/// Returns when the monitor is not just telling of a change that it has still to record.
fn await_change(run_dir: &Path) {
    // Without a directory there is no change.
    let _ = File::open(run_dir).and_then(|directory| directory.lock_shared());
}

/// Whether the monitor of the container with this run directory is alive: it keeps a lock until it dies.
pub fn is_alive(run_dir: &Path) -> bool {
    let Ok(file) = File::open(run_dir.join(LOCK_FILE)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

impl State {
    /// The same container after an end nobody observed; one that waited to be started again has ended before, and how is known.
    pub(crate) fn ended_by(mut self, exit_code: i32) -> Self {
        if self.status != Status::Restarting {
            self.exit_code = exit_code;
        }
        self.status = Status::Exited;
        self.pid = 0;
        self.monitor_pid = 0;
        self.ports.clear();
        self.endpoints.clear();
        if self.finished_at_ns < self.started_at_ns {
            self.finished_at_ns = self.started_at_ns;
        }
        self
    }

    /// Replaces `name` in `directory` by this state, atomically.
    pub(crate) fn save(&self, directory: &Path, name: &str) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let new = directory.join(format!(".{name}.new"));
        let saved = fs::write(&new, json).and_then(|()| fs::rename(&new, directory.join(name)));
        if saved.is_err() {
            let _ = fs::remove_file(&new);
        }
        saved
    }
}

impl State {
    /// Writes the copy that survives a reboot, unless the container goes away with its end; `sync` makes it survive a power
    /// loss right now.
    pub(crate) fn save_durably(&self, plan: &LaunchPlan, sync: bool) {
        if plan.auto_remove {
            return;
        }
        let saved = self.save(&plan.data_dir, EXIT_FILE);
        if sync && saved.is_ok() {
            let _ = File::open(plan.data_dir.join(EXIT_FILE)).and_then(|file| file.sync_data());
        }
    }
}

/// Reads a state file; `None` when there is none, or when power failed before its content reached the disk.
pub(crate) fn load(path: &Path) -> io::Result<Option<State>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_when_its_change_is_complete() {
        let name = format!("hull-state-{}", std::process::id());
        let run_dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&run_dir).unwrap();
        let monitor = File::create(run_dir.join(LOCK_FILE)).unwrap();
        monitor.lock().unwrap();
        let directory = File::open(&run_dir).unwrap();
        directory.lock().unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| read(&run_dir, &run_dir).unwrap().state.status);
            std::thread::sleep(std::time::Duration::from_millis(200));
            assert!(!reading.is_finished());
            State { status: Status::Exited, ..State::default() }.save(&run_dir, STATE_FILE).unwrap();
            directory.unlock().unwrap();
            assert_eq!(reading.join().unwrap(), Status::Exited);
        });
        fs::remove_dir_all(&run_dir).unwrap();
    }
}

//! Freezing, thawing and killing a whole group.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cgroup, Layout};
use crate::CgroupError;
use crate::files::{keyed, read, read_optional, write, write_plain};

/// How long freezing may take; a process in an uninterruptible wait holds it up.
const FREEZE_WAIT: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Stops every process of the group where it is, and waits until all are.
    ///
    /// # Errors
    /// [`CgroupError::FreezeTimeout`] when one did not stop in time; the group is thawed again then.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let started = Instant::now();
        for attempt in 1u64.. {
            if self.try_freeze(attempt)? {
                return Ok(());
            }
            if started.elapsed() > FREEZE_WAIT {
                break;
            }
            // Mostly the first look succeeds; after that the wait grows to a millisecond.
            thread::sleep(Duration::from_micros(50 * attempt.min(20)));
        }
        self.thaw()?;
        let waited_ms = started.elapsed().as_millis() as u64;
        Err(CgroupError::FreezeTimeout { path: self.place(), waited_ms })
    }

    fn try_freeze(&self, attempt: u64) -> Result<bool, CgroupError> {
        match &self.layout {
            Layout::V1 { directories } => {
                let Some(directory) = directories.iter().find(|d| d.has("freezer")) else {
                    let what = "pausing a container".to_string();
                    return Err(CgroupError::MissingController { what, controller: "freezer" });
                };
                if !directory.path.exists() {
                    self.join_late(directory)?;
                }
                let state = directory.path.join("freezer.state");
                // A process that forks just then can keep v1 in FREEZING for good: thawing lets it through.
                if attempt.is_multiple_of(50) {
                    write(&state, "THAWED")?;
                }
                write(&state, "FROZEN")?;
                Ok(read(&state)?.trim() == "FROZEN")
            }
            Layout::V2 { directory, .. } => {
                write(&directory.join("cgroup.freeze"), "1")?;
                self.is_frozen()
            }
            Layout::Withheld => Err(CgroupError::Withheld { what: "pausing a container".to_string() }),
        }
    }

    /// Its directory, for errors.
    fn place(&self) -> PathBuf {
        self.main_directory().map_or_else(|| self.name.clone().into(), Path::to_owned)
    }

    /// Lets the processes go on; does nothing when they are not frozen.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match &self.layout {
            Layout::V1 { .. } => match self.v1_freezer() {
                Some(directory) => write(&directory.join("freezer.state"), "THAWED"),
                None => Ok(()),
            },
            Layout::V2 { directory, .. } => write(&directory.join("cgroup.freeze"), "0"),
            Layout::Withheld => Ok(()),
        }
    }

    /// Whether every process is frozen.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        match &self.layout {
            Layout::V1 { .. } => match self.v1_freezer() {
                Some(directory) => {
                    let state = read_optional(&directory.join("freezer.state"))?;
                    Ok(state.is_some_and(|state| state.trim() == "FROZEN"))
                }
                None => Ok(false),
            },
            Layout::V2 { directory, .. } => {
                let events = read_optional(&directory.join("cgroup.events"))?;
                Ok(events.is_some_and(|events| keyed(&events, "frozen") == Some(1)))
            }
            Layout::Withheld => Ok(false),
        }
    }

    /// The freezer directory on v1, which exists from the first freeze on.
    fn v1_freezer(&self) -> Option<&Path> {
        self.directory_of("freezer").filter(|directory| directory.exists())
    }

    /// Sends SIGKILL to every process of the group, also to those it forks meanwhile.
    ///
    /// Returns when all have been sent it; they may take a moment to be gone, which [`Self::remove`] waits for.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if let Layout::V2 { directory, .. } = &self.layout {
            // Since Linux 5.14; it covers the groups below and cannot be outrun.
            if write_plain(&directory.join("cgroup.kill"), "1").is_ok() {
                return Ok(());
            }
        }
        if self.pids()?.is_empty() {
            return Ok(());
        }
        // Nobody forks while frozen. Where freezing fails, the repeated look is what is left.
        let frozen = self.freeze().is_ok();
        let result = self.kill_listed(if frozen { 1 } else { 100 });
        if frozen {
            self.thaw()?;
        }
        result
    }

    fn kill_listed(&self, rounds: usize) -> Result<(), CgroupError> {
        for _ in 0..rounds {
            let pids = self.pids()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                sys::process::kill(pid, SIGKILL).or_else(|source| match source.raw_os_error() {
                    Some(ESRCH) => Ok(()),
                    _ => Err(CgroupError::Kill { path: self.place(), pid, source }),
                })?;
            }
        }
        Ok(())
    }
}

const SIGKILL: i32 = 9;
const ESRCH: i32 = 3;

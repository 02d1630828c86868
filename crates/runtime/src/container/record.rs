//! `state.json`: what is known of a container between two commands.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::runtime::{Hook, LinuxIntelRdt};
use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::group::Group;

/// The version of the file this code reads and writes.
const VERSION: u32 = 1;

/// All that is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub(super) version: u32,
    pub id: String,
    /// Of the configuration.
    pub oci_version: String,
    /// Absolute.
    pub bundle: PathBuf,
    /// Absolute.
    pub rootfs: PathBuf,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Who called for it.
    pub owner: u32,
    pub annotations: BTreeMap<String, String>,
    pub(super) group: Group,
    /// Whether killing the first process kills all others.
    pub(super) own_pids: bool,
    /// The first process, from when it exists.
    pub process: Option<Identity>,
    /// Whether it has been created to the end.
    pub(super) complete: bool,
    pub(super) poststart: Vec<Hook>,
    pub(super) poststop: Vec<Hook>,
    pub(super) intel_rdt: Option<LinuxIntelRdt>,
}

impl Record {
    pub(super) const VERSION: u32 = VERSION;

    /// Reads that of the container in `directory`, when there is one.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, ContainerError> {
        #[derive(Deserialize)]
        struct Envelope {
            version: u32,
        }
        let path = directory.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            bytes => bytes.map_err(|source| ContainerError::Files { path: path.clone(), source })?,
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) if record.version == VERSION => Ok(Some(record)),
            other => {
                // Another version may well have another shape.
                let version = serde_json::from_slice::<Envelope>(&bytes).map(|envelope| envelope.version);
                Err(match (version, other) {
                    (Ok(version), _) if version != VERSION => ContainerError::Version { path, version },
                    (_, Err(source)) | (Err(source), _) => ContainerError::BadRecord { path, source },
                    (Ok(version), Ok(_)) => ContainerError::Version { path, version },
                })
            }
        }
    }

    /// Replaces that of the container in `directory`, in one step.
    pub(super) fn write(&self, directory: &Path) -> Result<(), ContainerError> {
        let json = serde_json::to_vec(self).expect("a record is JSON");
        sys::fs::write_atomic(&directory.join(FILE), &json, 0o600, false)
            .map_err(|source| ContainerError::Files { path: directory.to_owned(), source })
    }
}

const FILE: &str = "state.json";

/// A process, told apart from all that get its number later by when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks since the host was booted.
    started: u64,
}

impl Identity {
    /// That of the process that has the number now.
    pub fn of(pid: i32) -> io::Result<Self> {
        let (_, started) = look(pid)?;
        Ok(Self { pid, started })
    }

    /// Whether it still runs. One that is waiting for its parent to take notice of its end does not.
    pub fn is_alive(self) -> bool {
        look(self.pid).is_ok_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// A descriptor of the process, if it still runs.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        match sys::process::open(self.pid) {
            // Looked at after it was opened, so it is the one that was opened.
            Ok(pidfd) => Ok(self.is_alive().then_some(pidfd)),
            Err(error) if error.raw_os_error() == Some(ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

const ESRCH: i32 = 3;

/// The state of a process and when it was started; see proc_pid_stat(5).
fn look(pid: i32) -> io::Result<(char, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(stat: &[u8]) -> Option<(char, u64)> {
    // The name in parentheses is the program's to choose, parentheses included.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_behind_any_name() {
        let rest = (4..=21).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("7 (a) R (b\u{e4}) S {rest} 12345 0");
        assert_eq!(parse(stat.as_bytes()), Some(('S', 12345)));
        assert_eq!(parse(b"7 (a"), None);
    }

    #[test]
    fn a_number_alone_is_nobody() {
        let own = Identity::of(std::process::id() as i32).expect("this process");
        assert!(own.is_alive() && own.open().expect("a descriptor").is_some());
        let other = Identity { started: own.started + 1, ..own };
        assert!(!other.is_alive() && other.open().expect("no failure").is_none());
    }
}

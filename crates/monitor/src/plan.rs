//! Everything a monitor needs to know to launch its container, as the engine resolved it; stored as `launch.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cgroup::{Cgroup, CgroupError, Hierarchy};
use oci::runtime::{Spec, State, Status};
use runtime::seccomp::Seccomp;
use runtime::{Rootfs, UserSpec};
use serde::{Deserialize, Serialize};

use crate::Usage;

pub use runtime::ids::Users;

/// Name of the plan in the run directory.
pub const LAUNCH_FILE: &str = "launch.json";
/// The version of [`LaunchPlan`] this monitor writes and reads.
pub const VERSION: u32 = 1;

/// One container to launch and to look after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaunchPlan {
    /// [`VERSION`].
    pub version: u32,
    pub id: String,
    /// Name without a slash.
    pub name: String,
    /// The image as the user named it, for events.
    pub image: String,
    /// Labels of the container, for events.
    pub labels: BTreeMap<String, String>,
    /// Process, mounts, namespaces, rights; the control group's limits are `spec.linux.resources`.
    pub spec: Spec,
    pub user: UserSpec,
    /// More supplementary groups, by name or number.
    pub extra_groups: Vec<String>,
    pub users: Users,
    /// Files made for this container alone, which its root is to own.
    pub own_files: Vec<PathBuf>,
    pub rootfs: Rootfs,
    pub seccomp: Seccomp,
    /// Name of the control group below each hierarchy's root: `hull-<instance>/<id>`.
    pub cgroup: String,
    /// The path of the group instead, when somebody said below which group it has to be.
    pub cgroup_path: Option<PathBuf>,
    pub network: Networking,
    pub log: LogPlan,
    pub restart: RestartPolicy,
    pub health: Option<HealthPlan>,
    /// Signal number that asks the container to stop.
    pub stop_signal: i32,
    /// How long it may take to, before SIGKILL; negative waits for ever.
    pub stop_timeout_s: i64,
    pub tty: bool,
    /// Size of the terminal at first, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// Whether the container has a stdin at all.
    pub open_stdin: bool,
    /// Whether stdin ends when the first client that was attached to it leaves.
    pub stdin_once: bool,
    /// Whether PID 1 is hull's own reaper.
    pub init: bool,
    /// Whether the container goes away when it ends.
    pub auto_remove: bool,
    /// The argument vector (name included) the monitor executes as its last act when `auto_remove` holds and no attached
    /// client removes the container itself.
    pub reap: Vec<String>,
    /// `<data root>/containers/<id>`.
    pub data_dir: PathBuf,
    /// The event log.
    pub events: PathBuf,
    /// What events tell of at its start and its end, besides its endpoints.
    #[serde(default)]
    pub uses: Vec<Usage>,
}

impl LaunchPlan {
    /// The running container, as the runtime-spec describes one; `pid` is that of its first process.
    pub fn state(&self, pid: i32) -> State {
        State {
            oci_version: self.spec.oci_version.clone(),
            id: self.id.clone(),
            status: Status::Running,
            bundle: self.data_dir.clone(),
            pid: Some(pid),
            annotations: self.spec.annotations.clone(),
        }
    }
}

/// Which network namespace the container gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Networking {
    /// The host's; the spec lists no network namespace.
    Host,
    /// That of another container: a path such as `/proc/<pid>/ns/net`.
    Join(PathBuf),
    /// Its own; with no endpoints it has only the loopback interface.
    Private {
        context: net::Context,
        endpoints: Vec<net::EndpointPlan>,
        publish: Vec<net::Publish>,
        /// Where the embedded name server forwards to instead of the host's resolvers (`--dns`).
        dns_servers: Vec<IpAddr>,
    },
}

/// Where the container's output goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogPlan {
    /// Only to attached clients.
    None,
    /// See [`crate::logs`].
    JsonFile {
        path: PathBuf,
        max_bytes: u64,
        /// The current file included.
        max_files: u32,
    },
}

impl LogPlan {
    /// A log at `path` with the default limits.
    pub fn json_file(path: PathBuf) -> Self {
        Self::JsonFile {
            path,
            max_bytes: crate::logs::DEFAULT_MAX_BYTES,
            max_files: crate::logs::DEFAULT_MAX_FILES,
        }
    }
}

/// What happens after the container's process ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// Only after a failure, at most `max` times in a row (0: no limit).
    OnFailure {
        max: u32,
    },
}

/// How to tell that the container works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// What to execute in the container; see [`health_command`].
    pub command: Vec<String>,
    pub interval_ns: u64,
    pub timeout_ns: u64,
    /// Failures in this time after the start do not count, until the first success.
    pub start_period_ns: u64,
    /// The interval during the start period.
    pub start_interval_ns: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

impl HealthPlan {
    /// `command` with Docker's defaults: every 30 s, for 30 s, 3 times; 5 s between probes in a start period.
    pub fn new(command: Vec<String>) -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            command,
            interval_ns: 30 * SECOND,
            timeout_ns: 30 * SECOND,
            start_period_ns: 0,
            start_interval_ns: 5 * SECOND,
            retries: 3,
        }
    }
}

/// What a healthcheck's `Test` list means: `["CMD", ...]`, `["CMD-SHELL", line]`, or `["NONE"]` and the empty list, which are
/// `None`. `shell` is the image's SHELL.
pub fn health_command(test: &[String], shell: Option<&[String]>) -> Option<Vec<String>> {
    match test.split_first()? {
        (kind, command) if kind == "CMD" && !command.is_empty() => Some(command.to_vec()),
        (kind, [line, ..]) if kind == "CMD-SHELL" => {
            let default = ["/bin/sh".to_owned(), "-c".to_owned()];
            let mut command = shell.filter(|shell| !shell.is_empty()).unwrap_or(&default).to_vec();
            command.push(line.clone());
            Some(command)
        }
        _ => None,
    }
}

impl LaunchPlan {
    /// Reads the plan in `run_dir`.
    pub fn read(run_dir: &Path) -> io::Result<Self> {
        let bytes = fs::read(run_dir.join(LAUNCH_FILE))?;
        let plan: Self = serde_json::from_slice(&bytes)?;
        if plan.version != VERSION {
            let text = format!("launch plan of version {}, this hull knows {VERSION}", plan.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(plan)
    }

    /// The container's control group, whether it exists or not.
    ///
    /// # Errors
    /// A path that is none.
    pub fn group(&self, hierarchy: &Hierarchy) -> Result<Cgroup, CgroupError> {
        match &self.cgroup_path {
            Some(path) => Cgroup::at(hierarchy, path),
            None => Cgroup::open(hierarchy, &self.cgroup),
        }
    }

    /// The part of [`Self::cgroup`] that all containers of this data root share, and their monitors.
    pub(crate) fn shared_cgroup(&self) -> &str {
        self.cgroup.split('/').next().unwrap_or_default()
    }

    /// Replaces the plan in `run_dir`, atomically.
    pub fn save(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join(".launch.json.new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, run_dir.join(LAUNCH_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str], shell: Option<&[&str]>, expected: Option<&[&str]>) {
        let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let shell = shell.map(owned);
        assert_eq!(health_command(&owned(test), shell.as_deref()), expected.map(owned), "{test:?}");
    }

    #[test]
    fn health_tests_are_read_as_docker_does() {
        check(&[], None, None);
        check(&["NONE"], None, None);
        check(&["CMD"], None, None);
        check(&["CMD", "true", "x"], None, Some(&["true", "x"]));
        check(&["CMD-SHELL", "a || b"], None, Some(&["/bin/sh", "-c", "a || b"]));
        check(&["CMD-SHELL", "a"], Some(&["/bin/bash", "-ec"]), Some(&["/bin/bash", "-ec", "a"]));
    }
}

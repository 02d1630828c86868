//! A container as it is asked for: everything `docker run` can say.

use super::{Labels, Limits, Mount, Networking};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The request to create a container; `Default` is `docker create` without a flag, only `image` must be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// `--name`; a random one is chosen when absent.
    pub name: Option<String>,
    /// The image as typed: reference, id or id prefix.
    pub image: String,
    /// Labels given on the container; the image's are added under them.
    pub labels: Labels,
    /// What runs, as whom, with which terminal.
    pub process: ProcessSpec,
    /// Namespaces, privileges, devices.
    pub isolation: Isolation,
    /// Cgroup limits and rlimits.
    pub limits: Limits,
    /// `-v`, `--mount`, `--tmpfs`; the image's VOLUMEs are added.
    pub mounts: Vec<Mount>,
    /// `--volumes-from`: `container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// Networks, addresses, published ports, name resolution.
    pub network: Networking,
    /// `--health-*`; fields left out come from the image.
    pub health: Option<HealthSpec>,
    /// What happens after the process exits.
    pub restart: RestartPolicy,
    /// Log driver and its options.
    pub log: LogSpec,
    /// `--rm`.
    pub auto_remove: bool,
    /// Annotations as given; shown by inspect and handed to the runtime spec.
    pub annotations: Labels,
    /// `--cidfile`: where the client, not the engine, writes the id (shown by inspect).
    pub id_file: Option<String>,
    /// `--platform os/arch`; must be this host's.
    pub platform: Option<String>,
}

/// The container's first process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSpec {
    /// `--entrypoint`: `None` takes the image's; `[""]` means none, and like any other value drops the image's command.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments; `None` takes the image's (unless the entrypoint was replaced).
    pub command: Option<Vec<String>>,
    /// `KEY=value`, in order; they replace equal keys of the image. The face resolves bare `KEY` from its own environment.
    pub env: Vec<String>,
    /// Environment keys to drop from the image's (a bare `KEY` the caller does not have).
    pub unset_env: Vec<String>,
    /// `-w`: an absolute path in the container.
    pub working_dir: Option<String>,
    /// `-u`: `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `-t`.
    pub tty: bool,
    /// `-i`: stdin stays open without anyone attached.
    pub open_stdin: bool,
    /// Stdin closes when the first attached client leaves.
    pub stdin_once: bool,
    /// Which streams the creating client attaches: stdin, stdout, stderr (shown by inspect).
    pub attach: [bool; 3],
    /// `--init`.
    pub init: bool,
    /// What healthchecks in shell form are run by (API only); the image's SHELL when absent.
    pub shell: Option<Vec<String>>,
    /// `--stop-signal`: name or number.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, seconds; -1 waits for ever.
    pub stop_timeout_s: Option<i64>,
    /// Terminal size at start, rows and columns, when known.
    pub console_size: Option<(u16, u16)>,
}

/// Namespaces, privileges and devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// `--hostname`; the short id when absent.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`, with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=…`.
    pub seccomp: SeccompChoice,
    /// `--security-opt` values as typed, shown by inspect.
    pub security_opts: Vec<String>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--userns`.
    pub users: UserNamespace,
    /// `--pid`.
    pub pid: NamespaceMode,
    /// `--ipc`.
    pub ipc: IpcMode,
    /// `--uts`; `Container` is refused.
    pub uts: NamespaceMode,
    /// `--cgroupns`; `Container` is refused.
    pub cgroupns: NamespaceMode,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `--sysctl`.
    pub sysctls: Labels,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--device-cgroup-rule`, such as `c 1:3 mr`.
    pub device_rules: Vec<String>,
    /// `--shm-size`; 64 MiB when absent.
    pub shm_size_bytes: Option<u64>,
    /// Replaces the default masked paths (API only); `Some([])` masks nothing.
    pub masked_paths: Option<Vec<String>>,
    /// Replaces the default read-only paths (API only).
    pub readonly_paths: Option<Vec<String>>,
    /// `--oom-score-adj`.
    pub oom_score_adj: Option<i64>,
}

/// The system call filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum SeccompChoice {
    /// Docker's profile.
    #[default]
    Default,
    /// None at all.
    Unconfined,
    /// The text of a profile in Docker's JSON format.
    Profile(String),
}

/// Whose user ids a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// Its own, unless the request needs the host's or the host is set up otherwise; see
    /// [`Policy`](runtime::ids::Policy).
    #[default]
    Default,
    /// Its own, or it does not start.
    Private,
    /// The host's.
    Host,
}

/// Whose namespace a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another, running container, by name or id.
    Container(String),
}

/// The ipc namespace and `/dev/shm`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum IpcMode {
    /// Own namespace and own `/dev/shm`.
    #[default]
    Private,
    /// Own namespace that others may join.
    Shareable,
    /// The host's.
    Host,
    /// Own namespace without `/dev/shm`.
    None,
    /// That of another container which is shareable.
    Container(String),
}

/// `--device host[:container[:rwm]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Device node, or directory of nodes, on the host.
    pub host: PathBuf,
    /// Path in the container.
    pub container: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// A healthcheck as asked; `None` fields come from the image, then from Docker's defaults (30 s, 30 s, 0 s, 5 s, 3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSpec {
    /// The test; `None` inherits the image's.
    pub test: Option<HealthCommand>,
    /// Between two tests.
    pub interval_ns: Option<u64>,
    /// For one test.
    pub timeout_ns: Option<u64>,
    /// Failures within it do not count.
    pub start_period_ns: Option<u64>,
    /// Between two tests during the start period.
    pub start_interval_ns: Option<u64>,
    /// Failures in a row until unhealthy.
    pub retries: Option<u32>,
}

/// How the test is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HealthCommand {
    /// `--no-healthcheck`, `NONE`.
    Disabled,
    /// Through the shell (`CMD-SHELL`).
    Shell(String),
    /// Directly (`CMD`).
    Exec(Vec<String>),
}

/// What happens after the process exits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// Start it again, also after a reboot.
    Always,
    /// As `Always`, except that a container stopped by the user stays stopped over a reboot.
    UnlessStopped,
    /// Start it again while it fails, at most `max` times (0: no limit).
    OnFailure {
        /// Restarts allowed.
        max: u32,
    },
}

/// `--log-driver` and `--log-opt`; the driver is `json-file` (or `local`, the same here) or `none`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSpec {
    /// Driver; `json-file` when absent.
    pub driver: Option<String>,
    /// `max-size`, `max-file` and other driver options as typed.
    pub options: Labels,
}

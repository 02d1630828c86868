//! What the engine tells about containers and images.

use super::{ContainerId, ContainerSpec, Labels, NetworkId, Port};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Docker's word for what a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// The lower-case word that scripts match.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether there is a process (Docker counts paused and restarting containers as running).
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// What is known about a container's process.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerState {
    /// What it is doing.
    pub status: Status,
    /// Its PID on the host, 0 without a process.
    pub pid: i32,
    /// Status of the last exit.
    pub exit_code: i32,
    /// Whether the kernel killed it for memory.
    pub oom_killed: bool,
    /// Why it could not be started, or what went wrong with its monitor.
    pub error: String,
    /// Last start.
    pub started_ns: Option<i64>,
    /// Last exit.
    pub finished_ns: Option<i64>,
    /// Healthcheck results, when there is one.
    pub health: Option<Health>,
}

/// Healthcheck results.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five results, oldest first.
    pub log: Vec<HealthResult>,
}

/// The verdict of a healthcheck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// The lower-case word that scripts match.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One run of a healthcheck.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthResult {
    /// When it began.
    pub start_ns: i64,
    /// When it ended.
    pub end_ns: i64,
    /// Its exit status; -1 when it timed out.
    pub exit_code: i32,
    /// What it printed, at most 4 KiB.
    pub output: String,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerInspect {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// When it was created.
    pub created_ns: i64,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `sha256:…` of the image's config.
    pub image_id: String,
    /// State of its process.
    pub state: ContainerState,
    /// Restarts by policy.
    pub restart_count: u32,
    /// The request, completed from the image.
    pub spec: ContainerSpec,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Its endpoints, by network name.
    pub networks: BTreeMap<String, EndpointInfo>,
    /// Published ports as they are bound now; empty unless running.
    pub ports: Vec<PublishedPort>,
    /// Directory with its files in the data root.
    pub data_dir: PathBuf,
    /// Directory with its files in the run root.
    pub run_dir: PathBuf,
    /// The log file, unless the driver is `none`.
    pub log_path: Option<PathBuf>,
    /// Overlay directories: lower (topmost first), upper, work.
    pub overlay: (Vec<PathBuf>, PathBuf, PathBuf),
    /// What protection it has given up, one sentence each.
    pub given_up: Vec<String>,
    /// Exec instances that have not ended.
    pub execs: Vec<String>,
    /// Bytes written by the container, and bytes of its whole root, when asked for.
    pub size: Option<(u64, u64)>,
}

/// A mount as it was resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: &'static str,
    /// Volume name.
    pub name: Option<String>,
    /// Host path.
    pub source: Option<PathBuf>,
    /// Path in the container.
    pub target: String,
    /// Volume driver.
    pub driver: Option<String>,
    /// Options as typed with `-v`.
    pub mode: String,
    /// Not writable.
    pub read_only: bool,
    /// Propagation of a bind.
    pub propagation: String,
}

/// A container's attachment to a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointInfo {
    /// The network's id.
    pub network_id: NetworkId,
    /// Id of the attachment; empty unless running.
    pub endpoint_id: String,
    /// Its address; none unless running (or asked for with `--ip`).
    pub address: Option<Ipv4Addr>,
    /// Prefix length of the network.
    pub prefix: u8,
    /// Gateway of the network.
    pub gateway: Option<Ipv4Addr>,
    /// Hardware address, six hexadecimal pairs.
    pub mac: String,
    /// Aliases asked for.
    pub aliases: Vec<String>,
    /// Names of its own for others, each with one of theirs.
    pub links: BTreeMap<String, String>,
    /// Every name it answers to.
    pub dns_names: Vec<String>,
    /// The address that was asked for.
    pub wanted_address: Option<Ipv4Addr>,
    /// Gateway priority asked for.
    pub gateway_priority: i64,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// Port in the container.
    pub container: Port,
    /// Address on the host.
    pub host_ip: Ipv4Addr,
    /// Port on the host.
    pub host_port: u16,
}

/// One line of `ps`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The image as typed.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// When it was created.
    pub created_ns: i64,
    /// State of its process.
    pub state: ContainerState,
    /// Published ports while running.
    pub ports: Vec<PublishedPort>,
    /// Exposed ports.
    pub exposed: Vec<Port>,
    /// Labels of container and image.
    pub labels: Labels,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Endpoints by network name.
    pub networks: BTreeMap<String, EndpointInfo>,
    /// `HostConfig.NetworkMode`.
    pub network_mode: String,
    /// `HostConfig.Annotations`.
    pub annotations: Labels,
    /// Sizes, when asked for.
    pub size: Option<(u64, u64)>,
}

/// One image in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// `sha256:…` of its config.
    pub id: String,
    /// `name:tag` references, familiar form.
    pub tags: Vec<String>,
    /// `name@sha256:…` references.
    pub digests: Vec<String>,
    /// When it was made.
    pub created_ns: i64,
    /// Bytes of its layers.
    pub size_bytes: u64,
    /// Labels of its config.
    pub labels: Labels,
    /// Ids of the containers made from it.
    pub containers: Vec<String>,
    /// What is wrong with it, when its config cannot be read and its labels are not known.
    pub damage: Option<String>,
}

/// Everything about one image.
#[derive(Clone, Debug)]
pub struct ImageInspect {
    /// The summary.
    pub summary: ImageSummary,
    /// Its manifest.
    pub manifest: oci::image::Descriptor,
    /// Its config.
    pub config: oci::image::ImageConfig,
    /// Layer directories, topmost first.
    pub layers: Vec<PathBuf>,
}

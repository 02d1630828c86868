//! What is said on `monitor.sock` and on the launch channel.
//!
//! A request is one line of JSON, answered by one line of JSON, as often as the client likes. After the answer to an attach
//! request (or to a launch that asked for one) both sides speak frames: `[type][0 0 0][length, 4 bytes, big endian][bytes]`,
//! Docker's multiplexing, with types 0 stdin, 1 stdout, 2 stderr and 3 a [`Control`] in JSON.

use serde::{Deserialize, Serialize};

use crate::failure::Remote;
use crate::plan::RestartPolicy;

/// Name of the socket in the run directory.
pub const SOCKET: &str = "monitor.sock";
/// Longest request or answer line.
pub const MAX_LINE: usize = 1 << 20;

/// What a client can ask a monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// On the launch channel only: `launch.json` is complete, go.
    Launch {
        attach: Option<AttachOptions>,
    },
    Attach(AttachOptions),
    /// Answered by [`Reply::Exited`] when the container has ended and everything of it is gone.
    Stop(StopOptions),
    /// Stops it and launches the same plan again, in the same network namespace. Answered by [`Reply::Started`].
    Restart(StopOptions),
    Kill {
        signal: i32,
    },
    Pause,
    Unpause,
    Resize {
        rows: u16,
        columns: u16,
    },
    /// Answered by [`Reply::Exited`] at the next end, be it followed by a restart or not.
    Wait,
    ConnectNetwork {
        endpoint: Box<net::EndpointPlan>,
    },
    DisconnectNetwork {
        network: String,
    },
    /// The container's new name; it is registered on its networks in place of the old one.
    Rename {
        name: String,
    },
    Update {
        restart: Option<RestartPolicy>,
        resources: Option<Box<oci::runtime::LinuxResources>>,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    Started { pid: i32, ports: Vec<net::Published>, warnings: Vec<String> },
    Attached { tty: bool },
    Exited(Ended),
    Failed(Remote),
}

/// How to stop.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StopOptions {
    /// Instead of the container's own stop signal.
    pub signal: Option<i32>,
    /// Instead of the container's own timeout; negative waits for ever.
    pub timeout_s: Option<i64>,
}

/// What an attached client takes part in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The client's terminal, rows and columns.
    pub size: Option<(u16, u16)>,
    /// The client removes an `auto_remove` container itself when it ends, and says so with [`Control::Reaping`].
    pub will_remove: bool,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The process's exit code, or 128 plus the signal.
    pub code: i32,
    pub oom_killed: bool,
    pub finished_at_ns: i64,
    /// Whether the restart policy will start it again.
    pub restarting: bool,
    /// Why a restart failed, when that is how it ended.
    pub error: Option<String>,
}

/// Messages between the frames of an attached stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// From the client.
    Resize { rows: u16, columns: u16 },
    /// From the client: its stdin has ended.
    CloseStdin,
    /// From the client that said `will_remove`: it saw the end and removes the container.
    Reaping,
    /// To the client: the container has ended. The stream ends when everything of the run has been cleaned up.
    Exited(Ended),
}

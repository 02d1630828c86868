//! What is told about a container: by `state`, to hooks on their standard input, and to the agent of a seccomp listener.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::object;

object! {
    /// The state of a container; runtime-spec, `runtime.md`, "State".
    State {
        oci_version: String,
        id: String,
        status: Status,
        /// The directory of the configuration, absolute.
        bundle: PathBuf,
        ;
        /// As the runtime sees it; none when stopped.
        pid: Option<i32>,
        annotations: BTreeMap<String, String>,
    }
}

object! {
    /// What comes with the descriptor of a seccomp listener; runtime-spec, `config-linux.md`, "The Container Process State".
    ContainerProcessState {
        oci_version: String,
        /// The process with the filter, as the runtime sees it.
        pid: i32,
        state: State,
        ;
        /// What the descriptors sent along are, in their order.
        fds: Vec<String>,
        metadata: Option<String>,
    }
}

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    Creating,
    Created,
    Running,
    /// Not of the specification, but what every runtime says of a frozen container.
    Paused,
    Stopped,
}

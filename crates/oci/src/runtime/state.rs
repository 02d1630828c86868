//! What is told about a container: by `state`, and to hooks on their standard input.

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

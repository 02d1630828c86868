//! Volumes.

use serde::Deserialize;
use serde_json::Value;

use crate::Words;

/// The body of `POST /volumes/create`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeCreate {
    pub name: Option<String>,
    pub driver: Option<String>,
    pub driver_opts: Option<Words>,
    pub labels: Option<Words>,
    pub cluster_volume_spec: Option<Value>,
}

//! Volumes.

use super::Labels;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The request to create a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// Its name; 64 random hexadecimal characters when absent.
    pub name: Option<String>,
    /// Driver; only `local`.
    pub driver: Option<String>,
    /// `-o`: `type`, `o`, `device` as for `mount(8)`.
    pub driver_opts: Labels,
    /// Labels.
    pub labels: Labels,
}

/// A volume as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeInfo {
    /// Its name.
    pub name: String,
    /// Driver: `local`.
    pub driver: String,
    /// Where its files are on the host.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created_ns: i64,
    /// Labels.
    pub labels: Labels,
    /// Driver options.
    pub options: Labels,
    /// Made without a name.
    pub anonymous: bool,
    /// Containers, running or not, that mount it (`df` and filters; empty otherwise).
    pub used_by: Vec<super::ContainerId>,
    /// Bytes on disk, when asked for.
    pub size_bytes: Option<u64>,
}

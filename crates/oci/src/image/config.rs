//! The image config: the JSON whose digest is the image's id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{is_default, null_default, set};
use crate::DiffId;

/// One image's configuration; spec: `config.md`.
///
/// An id is the digest of the bytes that arrived. Writing a parsed config again gives an equal document, not equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub author: String,
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub variant: String,
    #[serde(default, deserialize_with = "null_default")]
    pub config: Config,
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub history: Vec<History>,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a container made from the image runs with unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub user: String,
    /// `80/tcp`, `53/udp`, `8000-8010/tcp`.
    #[serde(default, with = "set", skip_serializing_if = "is_default")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, with = "set", skip_serializing_if = "is_default")]
    pub volumes: BTreeSet<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub stop_signal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub on_build: Vec<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub args_escaped: bool,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// How to tell that a container works; times are nanoseconds and 0 means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", command]`; empty inherits.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub test: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub interval: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_period: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_interval: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: i64,
}

/// The layers, base first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of how the image was made; steps with `empty_layer` have no diffID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub created_by: String,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub author: String,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub comment: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub empty_layer: bool,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) {
        let before: Value = serde_json::from_str(text).unwrap();
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), before);
    }

    #[test]
    fn unknown_fields_survive() {
        round_trip(
            r#"{"architecture":"amd64","os":"linux","os.version":"1","docker_version":"28","created":"2024-01-02T03:04:05.6Z",
            "config":{"Env":["A=b"],"Cmd":["sh"],"Hostname":"x","ExposedPorts":{"80/tcp":{}},"Tty":false,
            "Healthcheck":{"Test":["CMD","x"],"Interval":5000000000}},
            "container_config":{"Cmd":null},"history":[{"created_by":"x","empty_layer":true,"odd":1}],
            "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#,
        );
    }

    #[test]
    fn go_nulls_are_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Volumes":null,"Cmd":null,"Labels":null,
            "OnBuild":null,"ExposedPorts":null},"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config, Config::default());
        assert!(config.rootfs.diff_ids.is_empty());
        let no_config: ImageConfig =
            serde_json::from_str(r#"{"config":null,"rootfs":{"type":"layers"}}"#).unwrap();
        assert_eq!(no_config.config, Config::default());
    }
}

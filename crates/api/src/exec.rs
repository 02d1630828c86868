//! Processes in running containers.

use serde::Deserialize;

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecConfig {
    pub user: Option<String>,
    pub privileged: Option<bool>,
    pub tty: Option<bool>,
    pub console_size: Option<[u16; 2]>,
    pub attach_stdin: Option<bool>,
    pub attach_stdout: Option<bool>,
    pub attach_stderr: Option<bool>,
    pub detach_keys: Option<String>,
    pub env: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub cmd: Option<Vec<String>>,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecStart {
    pub detach: Option<bool>,
    pub tty: Option<bool>,
    pub console_size: Option<[u16; 2]>,
}

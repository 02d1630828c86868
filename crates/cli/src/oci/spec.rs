//! `spec`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use diag::Failure;
use oci::runtime::{Root, Spec};

use super::Call;
use super::error::OciError;
use super::flags::Flag;

pub const FLAGS: &[Flag] =
    &[Flag::value("bundle", "path", "The directory to write config.json to (default \".\")").short('b')];

pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let path = Path::new(call.flags.one("bundle").unwrap_or(".")).join("config.json");
    let mut json = serde_json::to_vec_pretty(&spec()).expect("it is JSON");
    json.push(b'\n');
    // What somebody has written is not written over.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(&json))
        .map_err(|source| OciError::Write { path, source })?;
    Ok(ExitCode::SUCCESS)
}

/// Docker's defaults around a shell.
fn spec() -> Spec {
    let mut spec = runtime::default_spec();
    spec.hostname = Some("hull".to_owned());
    spec.root = Some(Root { path: "rootfs".into(), readonly: true });
    if let Some(process) = &mut spec.process {
        process.args = vec!["sh".to_owned()];
        process.terminal = true;
        process.no_new_privileges = true;
        process.env.push("TERM=xterm".to_owned());
    }
    spec
}

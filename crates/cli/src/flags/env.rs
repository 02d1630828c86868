//! `--env` and `--env-file`: variables with values, and names whose value is the caller's own.

use std::path::PathBuf;

use engine::parse;

use super::value::{FlagsError, read, value, wrong};

/// The caller's environment, where a bare `KEY` takes its value from.
pub fn own(key: &str) -> Option<String> {
    std::env::var(key).ok()
}

/// `KEY=value` assignments, files first, and the bare names the caller has no value for.
pub fn resolve(entries: &[String], files: &[PathBuf]) -> Result<(Vec<String>, Vec<String>), FlagsError> {
    let mut env = Vec::new();
    for path in files {
        let text = read(path)?;
        env.extend(value("--env-file", &path.to_string_lossy(), |name| parse::env_file(name, &text, own))?);
    }
    let mut unset = Vec::new();
    for entry in entries {
        match entry.split_once('=') {
            Some(("", _)) => return Err(wrong("-e, --env", entry, "the variable's name is missing")),
            Some(_) => env.push(entry.clone()),
            None => match own(entry) {
                Some(value) => env.push(format!("{entry}={value}")),
                None => unset.push(entry.clone()),
            },
        }
    }
    Ok((env, unset))
}

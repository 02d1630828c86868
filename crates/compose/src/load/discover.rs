//! Which files make up the project, and with which variables.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::{LoadOptions, Setting, read_env_files};
use crate::error::LoadError;

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

pub(super) fn setting(options: &LoadOptions) -> Result<Setting, LoadError> {
    let here = &options.working_directory;
    let mut environment = options.environment.clone();
    let given_directory = options.project_directory.as_ref().map(|directory| here.join(directory));
    // COMPOSE_FILE may stand in the `.env` beside the caller, before anything says where the project is.
    let mut early = environment.clone();
    let dot_env = given_directory.as_deref().unwrap_or(here).join(".env");
    if options.files.is_empty() && options.env_files.is_empty() && dot_env.is_file() {
        read_env_files(&[dot_env], &mut early)?;
    }

    let files = files(options, &early)?;
    let directory = match (given_directory, files.first()) {
        (Some(directory), _) => directory,
        (None, Some(file)) if file != Path::new("-") => file.parent().unwrap_or(here).to_owned(),
        _ => here.clone(),
    };
    let directory = clean(&directory);
    let env_files = env_files(options, &directory);
    read_env_files(&env_files, &mut environment)?;
    Ok(Setting { files, directory, env_files, environment })
}

fn files(options: &LoadOptions, environment: &BTreeMap<String, String>) -> Result<Vec<PathBuf>, LoadError> {
    let here = &options.working_directory;
    let absolute =
        |path: &Path| if path == Path::new("-") { path.to_owned() } else { clean(&here.join(path)) };
    if !options.files.is_empty() {
        return Ok(options.files.iter().map(|path| absolute(path)).collect());
    }
    if let Some(list) = environment.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        return Ok(list.split(separator).map(|path| absolute(Path::new(path))).collect());
    }
    let start = options.project_directory.as_ref().map_or(here.clone(), |directory| here.join(directory));
    for directory in start.ancestors() {
        let existing =
            |names: &[&str]| names.iter().map(|name| directory.join(name)).find(|path| path.is_file());
        if let Some(file) = existing(&NAMES) {
            return Ok([Some(file), existing(&OVERRIDES)].into_iter().flatten().collect());
        }
    }
    Err(LoadError::NoFile { directory: start })
}

fn env_files(options: &LoadOptions, directory: &Path) -> Vec<PathBuf> {
    let here = &options.working_directory;
    if !options.env_files.is_empty() {
        return options.env_files.iter().map(|path| here.join(path)).collect();
    }
    if let Some(list) = options.environment.get("COMPOSE_ENV_FILES").filter(|list| !list.is_empty()) {
        return list.split(',').map(|path| here.join(path)).collect();
    }
    let disabled = options.environment.get("COMPOSE_DISABLE_ENV_FILE");
    if disabled.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "TRUE" | "True")) {
        return Vec::new();
    }
    let dot_env = directory.join(".env");
    if dot_env.is_file() { vec![dot_env] } else { Vec::new() }
}

/// `path` without `.` and `..`, by text alone.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

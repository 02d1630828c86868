//! From what the user typed to a checked project.
//!
//! The order is fixed: find the files, build the environment, read each file (parse, substitute, long form, `extends`,
//! `include`), merge them, name the project, resolve paths, apply profiles, fill in defaults, read the typed model.

mod discover;
mod normalize;
mod paths;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::model::{self, Project};
use crate::yaml::Node;
use crate::{dotenv, merge};

/// What the command line and the process say about the project.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Where the command was started; absolute.
    pub working_directory: PathBuf,
    /// `-f`, in order; `-` is standard input. Empty: COMPOSE_FILE, or else a search here and upwards.
    pub files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--env-file`, in order. Empty: COMPOSE_ENV_FILES, or else `.env` of the project directory when it exists.
    pub env_files: Vec<PathBuf>,
    /// `--profile`; COMPOSE_PROFILES when empty. `*` is every profile.
    pub profiles: Vec<String>,
    /// Services named on the command line: enabled whatever their profiles. A command may only start services that are enabled.
    pub services: Vec<String>,
    /// The process environment.
    pub environment: BTreeMap<String, String>,
}

impl LoadOptions {
    /// Options without a flag, from the current directory and environment.
    pub fn from_process() -> Self {
        Self {
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            environment: std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            ..Self::default()
        }
    }
}

/// Everything that was found out before the first Compose file is read.
pub(crate) struct Setting {
    pub files: Vec<PathBuf>,
    pub directory: PathBuf,
    pub env_files: Vec<PathBuf>,
    /// Process environment over env files.
    pub environment: BTreeMap<String, String>,
}

impl Project {
    /// Loads and checks the project.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file, line and column.
    pub fn load(options: &LoadOptions) -> Result<Project, LoadError> {
        let setting = discover::setting(options)?;
        let mut loader = tree::Loader::new(&options.working_directory, setting.environment.clone());
        let sources = loader.sources(&setting.files)?;
        let name = project_name(options, &setting, &sources)?;
        loader.environment.insert("COMPOSE_PROJECT_NAME".into(), name.clone());

        let mut root = loader.merged(sources, &setting.directory)?;
        paths::resolve(&mut root, &setting.directory, loader.home());
        merge::settle(&mut root, &mut Vec::new());

        let profiles = profiles(options, &loader.environment);
        let context = normalize::Context {
            name: &name,
            directory: &setting.directory,
            profiles: &profiles,
            targets: &options.services,
            environment: &loader.environment,
        };
        let enabled = normalize::normalize(&mut root, &context)?;
        let facts = model::Facts {
            name,
            directory: setting.directory,
            files: setting.files,
            env_files: setting.env_files,
            profiles,
            enabled,
            environment: loader.environment.clone(),
            warnings: loader.into_warnings(),
        };
        model::read(root, facts)
    }

    /// The project's name when only that is needed and there may be no file: `-p` or COMPOSE_PROJECT_NAME.
    pub fn name_without_file(options: &LoadOptions) -> Option<String> {
        let named = || options.environment.get("COMPOSE_PROJECT_NAME").cloned();
        options.project_name.clone().or_else(named).filter(|name| is_project_name(name))
    }
}

/// The files of the project as they stand, with nothing substituted.
pub(crate) fn sources(options: &LoadOptions) -> Result<Vec<Node>, LoadError> {
    let setting = discover::setting(options)?;
    let loader = tree::Loader::new(&options.working_directory, setting.environment);
    Ok(loader.sources(&setting.files)?.into_iter().map(tree::Source::into_root).collect())
}

fn profiles(options: &LoadOptions, environment: &BTreeMap<String, String>) -> BTreeSet<String> {
    if !options.profiles.is_empty() {
        return options.profiles.iter().cloned().collect();
    }
    let listed = environment.get("COMPOSE_PROFILES").map_or("", String::as_str);
    listed.split(',').map(str::trim).filter(|profile| !profile.is_empty()).map(str::to_owned).collect()
}

/// `-p`, COMPOSE_PROJECT_NAME, the last `name:` of the files, the directory's name.
fn project_name(
    options: &LoadOptions,
    setting: &Setting,
    sources: &[tree::Source],
) -> Result<String, LoadError> {
    let named = setting.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    let chosen = match options.project_name.as_ref().or(named) {
        Some(name) => Some(name.clone()),
        None => tree::declared_name(sources, &setting.environment)?,
    };
    match chosen {
        Some(name) if is_project_name(&name) => Ok(name),
        Some(name) => Err(LoadError::ProjectName { name }),
        None => directory_name(&setting.directory)
            .ok_or_else(|| LoadError::NoProjectName { directory: setting.directory.clone() }),
    }
}

fn is_project_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

fn directory_name(directory: &Path) -> Option<String> {
    let name = directory.file_name()?.to_string_lossy().to_lowercase();
    let kept: String = name
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-' || *c == '_')
        .collect();
    let name = kept.trim_start_matches(['-', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Reads env files in order; what `environment` has already wins, a later file wins over an earlier one.
pub(crate) fn read_env_files(
    files: &[PathBuf],
    environment: &mut BTreeMap<String, String>,
) -> Result<(), LoadError> {
    let mut from_files = BTreeMap::new();
    for file in files {
        let lookup = |name: &str| environment.get(name).or_else(|| from_files.get(name)).cloned();
        let variables = dotenv::read(file, &lookup)?;
        from_files.extend(variables);
    }
    for (key, value) in from_files {
        environment.entry(key).or_insert(value);
    }
    Ok(())
}

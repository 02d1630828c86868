//! The project as typed values: every key was either understood or refused.

mod build;
mod resource;
mod section;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use engine::model::{Labels, NetworkSpec, VolumeSpec};

pub use build::{Build, BuildSecret, Context, Dockerfile};
pub use service::{Dependency, FileUse, PullPolicy, Service, StartCondition};

use crate::error::LoadError;
use crate::yaml::{Node, Span};
use section::Section;

/// A loaded, checked project.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// Relative paths were resolved against it.
    pub directory: PathBuf,
    /// The Compose files, absolute.
    pub files: Vec<PathBuf>,
    pub env_files: Vec<PathBuf>,
    /// Profiles that are on.
    pub profiles: BTreeSet<String>,
    /// What `$NAME` meant: process environment over env files.
    pub environment: BTreeMap<String, String>,
    /// What the user should know although it is no error.
    pub warnings: Vec<String>,
    /// All services by name, also those whose profiles are off.
    pub services: BTreeMap<String, Service>,
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    pub secrets: BTreeMap<String, FileResource>,
    pub configs: BTreeMap<String, FileResource>,
    /// The canonical tree all of this was read from.
    pub(crate) tree: Node,
}

impl Project {
    /// A project of which only the name is known: its containers say the rest.
    pub fn bare(name: impl Into<String>) -> Project {
        Project {
            name: name.into(),
            directory: PathBuf::from("/"),
            files: Vec::new(),
            env_files: Vec::new(),
            profiles: BTreeSet::new(),
            environment: BTreeMap::new(),
            warnings: Vec::new(),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
            tree: Node::map(Span::nowhere()),
        }
    }

    /// The services whose profiles are on, by name.
    pub fn enabled(&self) -> impl Iterator<Item = &Service> {
        self.services.values().filter(|service| service.enabled)
    }
}

/// A network of the project; `spec.name` is its real name.
#[derive(Clone, Debug)]
pub struct Network {
    pub key: String,
    pub external: bool,
    pub spec: NetworkSpec,
    /// Docker Compose's digest of what it is made from.
    pub hash: String,
}

/// A volume of the project, with its real name.
#[derive(Clone, Debug)]
pub struct Volume {
    pub key: String,
    pub name: String,
    pub external: bool,
    pub spec: VolumeSpec,
}

/// A secret or config.
#[derive(Clone, Debug)]
pub struct FileResource {
    pub key: String,
    pub source: FileSource,
    pub labels: Labels,
}

/// Where a secret's or config's bytes are.
#[derive(Clone)]
pub enum FileSource {
    File(PathBuf),
    /// The value of an environment variable or the text in the Compose file.
    Text(String),
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileSource::File(path) => write!(f, "File({})", path.display()),
            FileSource::Text(_) => f.write_str("Text(****)"),
        }
    }
}

/// What loading knows besides the tree.
pub(crate) struct Facts {
    pub name: String,
    pub directory: PathBuf,
    pub files: Vec<PathBuf>,
    pub env_files: Vec<PathBuf>,
    pub profiles: BTreeSet<String>,
    pub enabled: BTreeSet<String>,
    pub environment: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// Reads the canonical, completed `tree`.
pub(crate) fn read(tree: Node, facts: Facts) -> Result<Project, LoadError> {
    let mut project = Project {
        directory: facts.directory,
        files: facts.files,
        env_files: facts.env_files,
        profiles: facts.profiles,
        environment: facts.environment,
        warnings: facts.warnings,
        tree: tree.clone(),
        ..Project::bare(facts.name)
    };
    let top = Section::new(&tree, "")?;
    top.text("name")?;
    for entry in top.children("networks")? {
        project.networks.insert(entry.key.clone(), resource::network(entry)?);
    }
    for entry in top.children("volumes")? {
        project.volumes.insert(entry.key.clone(), resource::volume(entry)?);
    }
    for entry in top.children("secrets")? {
        let read = resource::file(entry, "secrets", &project.environment)?;
        project.secrets.insert(entry.key.clone(), read);
    }
    for entry in top.children("configs")? {
        let read = resource::file(entry, "configs", &project.environment)?;
        project.configs.insert(entry.key.clone(), read);
    }
    top.unsupported("models", "hull runs no language models")?;
    let services = top.children("services")?;
    top.finish()?;
    for entry in services {
        let mut service = service::read(entry, &project)?;
        service.enabled = facts.enabled.contains(&entry.key);
        project.services.insert(entry.key.clone(), service);
    }
    check(&project)?;
    Ok(project)
}

/// What the services say about one another.
fn check(project: &Project) -> Result<(), LoadError> {
    let inconsistent = |at: &Span, message: String| Err(LoadError::Inconsistent { at: at.clone(), message });
    let mut names: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in project.enabled() {
        for (name, dependency) in &service.depends_on {
            let known = project.services.get(name);
            if known.is_none() || (dependency.required && !known.is_some_and(|known| known.enabled)) {
                let message = match known {
                    None => format!("service {:?} depends on undefined service {name:?}", service.name),
                    Some(known) => format!(
                        "service {:?} depends on {name:?}, whose profile is off ({})",
                        service.name,
                        known.profiles.join(", ")
                    ),
                };
                return inconsistent(&dependency.at, message);
            }
        }
        if let Some(container) = &service.container_name {
            if service.replicas > 1 {
                let message = format!(
                    "service {:?} cannot be scaled: it has the container name {container:?}",
                    service.name
                );
                return inconsistent(&service.at, message);
            }
            if let Some(other) = names.insert(container, service) {
                let message = format!(
                    "services {:?} and {:?} share the container name {container:?}",
                    other.name, service.name
                );
                return inconsistent(&service.at, message);
            }
        }
    }
    let mut state = BTreeMap::new();
    project.services.values().try_for_each(|service| circle(project, service, &mut state, &mut Vec::new()))
}

/// Depth-first search for a service that depends on itself; `state` is true for what is finished.
fn circle<'a>(
    project: &'a Project,
    service: &'a Service,
    state: &mut BTreeMap<&'a str, bool>,
    trail: &mut Vec<&'a str>,
) -> Result<(), LoadError> {
    match state.get(service.name.as_str()) {
        Some(true) => return Ok(()),
        Some(false) => {
            let from = trail.iter().position(|name| *name == service.name).unwrap_or(0);
            let circle = [&trail[from..], &[service.name.as_str()]].concat().join(" -> ");
            return Err(LoadError::Inconsistent {
                at: service.at.clone(),
                message: format!("dependency cycle detected: {circle}"),
            });
        }
        None => {}
    }
    state.insert(&service.name, false);
    trail.push(&service.name);
    for name in service.depends_on.keys() {
        if let Some(next) = project.services.get(name) {
            circle(project, next, state, trail)?;
        }
    }
    trail.pop();
    state.insert(&service.name, true);
    Ok(())
}

//! `build:` of a service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use build::{CacheSource, CacheTarget, NamedContext, Repository};
use engine::model::Ulimit;

use super::section::Section;
use super::{FileSource, Project};
use crate::error::LoadError;

/// How a service's image is made.
#[derive(Clone, Debug)]
pub struct Build {
    pub context: Context,
    pub dockerfile: Dockerfile,
    /// By name; directories are absolute.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Looked up in the project's environment where only a name was given.
    pub args: BTreeMap<String, String>,
    pub target: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// References besides the service's image name.
    pub tags: Vec<String>,
    pub no_cache: bool,
    pub cache_from: Vec<CacheSource>,
    pub cache_to: Vec<CacheTarget>,
    /// Ask registries for base images also when they are here.
    pub pull: bool,
    pub network: Option<String>,
    pub secrets: Vec<BuildSecret>,
    /// Sockets of SSH agents, by name.
    pub ssh_agents: BTreeMap<String, PathBuf>,
    pub ulimits: Vec<Ulimit>,
    pub extra_hosts: Vec<(String, IpAddr)>,
    pub shm_size_bytes: Option<u64>,
}

#[derive(Clone, Debug)]
pub enum Context {
    /// Absolute.
    Directory(PathBuf),
    Repository(Repository),
}

#[derive(Clone, Debug)]
pub enum Dockerfile {
    /// Relative to the context.
    Path(PathBuf),
    Inline(String),
}

/// A secret of a build; `id` is what the Dockerfile calls it.
#[derive(Clone, Debug)]
pub struct BuildSecret {
    pub id: String,
    pub source: FileSource,
}

pub(super) fn read(section: &Section, project: &Project) -> Result<Build, LoadError> {
    let context = section.text("context")?.unwrap_or_default();
    let repository = Repository::parse(&context);
    let repository = repository.map_err(|error| section.invalid("context", error.to_string()))?;
    let context = match repository {
        Some(repository) => Context::Repository(repository),
        None if context.starts_with('/') => Context::Directory(context.into()),
        None => {
            return Err(LoadError::Unsupported {
                at: section.node("context").map_or_else(crate::yaml::Span::nowhere, |node| node.at.clone()),
                path: section.path("context"),
                reason: "a build context must be a directory of this host or a git repository",
            });
        }
    };
    let inline = section.text("dockerfile_inline")?;
    let dockerfile = match (section.text("dockerfile")?, inline) {
        (Some(_), Some(_)) => {
            return Err(section.invalid("dockerfile_inline", "and `dockerfile` exclude each other"));
        }
        (_, Some(text)) => Dockerfile::Inline(text),
        (path, None) => Dockerfile::Path(path.unwrap_or_else(|| "Dockerfile".into()).into()),
    };
    for (key, reason) in [
        ("isolation", "it is for Windows"),
        ("privileged", "build steps are never privileged"),
        ("entitlements", "build steps are never privileged"),
        ("provenance", "images carry no attestations yet"),
        ("sbom", "images carry no attestations yet"),
    ] {
        section.unsupported(key, reason)?;
    }
    platforms(section)?;
    let network = section.text("network")?;
    if network.as_deref().is_some_and(|network| !matches!(network, "default" | "none" | "host" | "bridge")) {
        return Err(section.invalid("network", "must be `default`, `none` or `host`"));
    }
    let build = Build {
        context,
        dockerfile,
        contexts: contexts(section)?,
        args: section
            .optional_dictionary("args")?
            .into_iter()
            .filter_map(|(key, value)| {
                let value = value.or_else(|| project.environment.get(&key).cloned())?;
                Some((key, value))
            })
            .collect(),
        target: section.text("target")?.filter(|target| !target.is_empty()),
        labels: section.dictionary("labels")?,
        tags: section.texts("tags")?,
        no_cache: section.flag("no_cache")?,
        cache_from: section.parsed_list("cache_from", str::parse)?,
        cache_to: section.parsed_list("cache_to", str::parse)?,
        pull: section.flag("pull")?,
        network,
        secrets: secrets(section, project)?,
        ssh_agents: ssh_agents(section, project)?,
        ulimits: super::service::ulimits(section)?,
        extra_hosts: section.parsed_list("extra_hosts", |text| {
            let (host, address) = engine::parse::extra_host(text).map_err(|error| error.to_string())?;
            let address = address.parse::<IpAddr>().map_err(|_| format!("{address:?} is no address"))?;
            Ok::<_, String>((host, address))
        })?,
        shm_size_bytes: section.parsed("shm_size", str::parse::<u64>)?,
    };
    section.finish()?;
    Ok(build)
}

fn contexts(section: &Section) -> Result<BTreeMap<String, NamedContext>, LoadError> {
    const KEY: &str = "additional_contexts";
    let named = |(name, place): (String, String)| {
        if place.starts_with('/') {
            return Ok((name, NamedContext::Dir(place.into())));
        }
        let context =
            NamedContext::elsewhere(&place).map_err(|error| section.invalid(KEY, error.to_string()))?;
        let expected = "must be a directory, docker-image://reference or a git repository";
        let context =
            context.ok_or_else(|| section.invalid(KEY, format!("{name} is {place:?}, and {expected}")))?;
        Ok((name, context))
    };
    section.dictionary(KEY)?.into_iter().map(named).collect()
}

fn ssh_agents(section: &Section, project: &Project) -> Result<BTreeMap<String, PathBuf>, LoadError> {
    let agent = |(name, socket): (String, Option<String>)| match socket
        .or_else(|| project.environment.get("SSH_AUTH_SOCK").cloned())
    {
        Some(socket) => Ok((name, project.directory.join(socket))),
        None => Err(section.invalid("ssh", "SSH_AUTH_SOCK is not set: no agent runs")),
    };
    section.optional_dictionary("ssh")?.into_iter().map(agent).collect()
}

fn platforms(section: &Section) -> Result<(), LoadError> {
    match section.texts("platforms")?.iter().any(|platform| !super::service::is_host_platform(platform)) {
        true => section.unsupported("platforms", "images are built for this host's platform"),
        false => Ok(()),
    }
}

fn secrets(section: &Section, project: &Project) -> Result<Vec<BuildSecret>, LoadError> {
    let mut out = Vec::new();
    for item in section.sections("secrets")? {
        let source = item.text("source")?.unwrap_or_default();
        let id = item.text("target")?.unwrap_or_else(|| source.clone());
        for key in ["uid", "gid", "mode"] {
            item.unsupported(key, "build secrets are readable by the step's user")?;
        }
        item.finish()?;
        let Some(secret) = project.secrets.get(&source) else {
            return Err(item.invalid("source", format!("refers to undefined build secret {source}")));
        };
        out.push(BuildSecret { id, source: secret.source.clone() });
    }
    Ok(out)
}

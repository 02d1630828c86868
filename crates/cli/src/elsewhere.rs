//! Another engine than that of this host: which one a command is for, and what commands do over the API.
//!
//! `--host` and `--context` say so, else `HULL_HOST` and `HULL_CONTEXT`, else the context that `hull context use` chose. `DOCKER_HOST`
//! and Docker's own current context are not read: they lead Docker's client, often to this very hull, and whoever types `hull`
//! means the engine that is there without any of them.
//!
//! A command that is not made for this is refused before it does anything; see [`Reach`](crate::commands::Reach).

mod attached;
mod create;
mod files;
mod progress;

use std::path::Path;

use api::Version;
use diag::{Class, Diagnose};
use engine::model::{Filters, Pruned};
use oci::image::Platform;
use registry::credentials::DockerConfig;
use registry::{Credentials as _, CredentialsError};
use remote::contexts::{Contexts, DEFAULT};
use remote::{Client, Endpoint, RemoteError};
use serde_json::Value;

use crate::commands::Ended;
use crate::context::{Context, note};
use crate::globals::Globals;

pub use attached::{Session, exec};
pub use create::create;
pub use progress::{pull, report, said};

/// Which engine a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This host's.
    Here,
    /// The one at an address.
    Host(String),
    /// That of a context.
    Context(String),
}

/// A choice that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("conflicting options: cannot specify both --host and --context")]
    Both,
    #[error("there is no place for contexts: neither DOCKER_CONFIG nor HOME is set")]
    Nowhere,
    #[error("`{command}` works with the engine of this host alone, and {engine} is chosen")]
    NotThere { command: String, engine: String },
    #[error("{flag} works with the engine of this host alone, and {engine} is chosen")]
    FlagNotThere { flag: &'static str, engine: String },
}

impl ChoiceError {
    /// Refuses `flag`, which an engine over the API does not have.
    pub fn flag(flag: &'static str, client: &Client) -> Self {
        Self::FlagNotThere { flag, engine: client.address() }
    }
}

impl Diagnose for ChoiceError {
    fn class(&self) -> Class {
        match self {
            Self::Both | Self::Nowhere => Class::Invalid,
            Self::NotThere { .. } | Self::FlagNotThere { .. } => Class::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere { command, .. } => {
                let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
                Some(format!("for this host say `{program} -c {DEFAULT} {rest}`"))
            }
            _ => None,
        }
    }
}

impl Choice {
    /// What flags, environment and contexts say, in this order.
    pub fn of(globals: &Globals) -> Result<Self, Ended> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let context = |name: String| if name == DEFAULT { Self::Here } else { Self::Context(name) };
        Ok(match (&globals.host, &globals.context) {
            (Some(_), Some(_)) => return Err(ChoiceError::Both.into()),
            (Some(host), None) => Self::Host(host.clone()),
            (None, Some(name)) => context(name.clone()),
            (None, None) => match (variable("HULL_HOST"), variable("HULL_CONTEXT")) {
                (Some(host), _) => Self::Host(host),
                (None, Some(name)) => context(name),
                (None, None) => match contexts() {
                    Ok(contexts) => contexts.current()?.map_or(Self::Here, Self::Context),
                    Err(_) => Self::Here,
                },
            },
        })
    }

    /// The name of the context; an address has none.
    pub fn context(&self) -> Option<&str> {
        match self {
            Self::Here => Some(DEFAULT),
            Self::Host(_) => None,
            Self::Context(name) => Some(name),
        }
    }

    /// The engine, unless it is this host's.
    pub fn endpoint(&self) -> Result<Option<Endpoint>, Ended> {
        match self {
            Self::Here => Ok(None),
            Self::Context(name) => Ok(Some(contexts()?.get(name)?.endpoint()?)),
            Self::Host(address) => {
                // Where Docker's client has its certificates.
                let config = DockerConfig::from_environment();
                Ok(Some(Endpoint::parse(address, config.directory().unwrap_or(Path::new("")))?))
            }
        }
    }
}

/// The user's contexts.
pub fn contexts() -> Result<Contexts, Ended> {
    let config = DockerConfig::from_environment();
    let directory = config.directory().ok_or(ChoiceError::Nowhere)?;
    Ok(Contexts::in_directory(directory.to_owned()))
}

/// What the user has logged in with at the registry `host`, for an engine that asks it in his name.
pub fn registry_auth(host: &str) -> Result<String, CredentialsError> {
    let credential = DockerConfig::from_environment().lookup(host)?;
    // Docker's clients send an empty document where they have nothing to say.
    Ok(credential
        .map_or_else(|| "e30=".to_owned(), |credential| registry::credentials::header(host, &credential)))
}

/// Filters as the API takes them; none when there are none.
pub fn filters(filters: &Filters) -> Option<String> {
    (!filters.is_empty()).then(|| serde_json::json!(filters.entries()).to_string())
}

/// Prints the warnings of an answer.
pub fn warn(answer: &Value) {
    for warning in answer["Warnings"].as_array().into_iter().flatten() {
        note(format_args!("WARNING: {}", warning.as_str().unwrap_or_default()));
    }
}

/// What nobody uses, of one kind.
#[derive(Clone, Copy, Debug)]
pub enum Unused {
    Containers,
    Networks,
    /// Those without a name, or all of them.
    Images {
        all: bool,
    },
    /// Those without a name, or all of them.
    Volumes {
        all: bool,
    },
    BuildCache {
        all: bool,
    },
}

/// Removes what is unused from the engine that was chosen.
pub fn prune(context: &Context, unused: Unused, filters: &Filters) -> Result<Pruned, Ended> {
    let Some(remote) = context.remote()? else {
        let engine = context.engine()?;
        return Ok(match unused {
            Unused::Containers => engine.prune_containers(filters)?,
            Unused::Networks => engine.network_prune(filters)?,
            Unused::Images { all } => engine.prune_images(filters, all)?,
            Unused::Volumes { all } => engine.volume_prune(filters, all)?,
            Unused::BuildCache { all } => engine.prune_build_cache(filters, all)?,
        });
    };
    let mut wanted = filters.clone();
    let kind = match unused {
        Unused::Containers => "containers",
        Unused::Networks => "networks",
        Unused::Images { all } => {
            wanted.add("dangling", if all { "false" } else { "true" });
            "images"
        }
        Unused::Volumes { all } => {
            // Older engines remove all of them in any case.
            remote.needs(Version::minor(42), "removing volumes that have no name")?;
            if all {
                wanted.add("all", "true");
            }
            "volumes"
        }
        Unused::BuildCache { .. } => "build",
    };
    let call = remote.post(&[kind, "prune"]).flag("all", matches!(unused, Unused::BuildCache { all: true }));
    let answer = call.maybe("filters", self::filters(&wanted)).json()?;
    let texts = |key: &str, field: Option<&str>| -> Vec<String> {
        let entries = answer[key].as_array().into_iter().flatten();
        let texts = entries.filter_map(|entry| field.map_or(entry, |field| &entry[field]).as_str());
        texts.map(str::to_owned).collect()
    };
    Ok(Pruned {
        containers: texts("ContainersDeleted", None),
        networks: texts("NetworksDeleted", None),
        volumes: texts("VolumesDeleted", None),
        untagged: texts("ImagesDeleted", Some("Untagged")),
        images: texts("ImagesDeleted", Some("Deleted")),
        build_cache: texts("CachesDeleted", None),
        reclaimed_bytes: answer["SpaceReclaimed"].as_u64().unwrap_or_default(),
        ..Pruned::default()
    })
}

/// A platform as the API takes it where it is not that of a pull, if the engine serves the version this came with.
pub fn platform(
    client: &Client,
    platform: Option<&Platform>,
    since: Version,
) -> Result<Option<String>, RemoteError> {
    let Some(platform) = platform else { return Ok(None) };
    client.needs(since, "--platform")?;
    Ok(Some(serde_json::json!(platform).to_string()))
}

/// A time as the API takes it: seconds since 1970.
pub fn timestamp(ns: i64) -> String {
    format!("{}.{:09}", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}

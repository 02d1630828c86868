//! One service: the container it asks for, and what Compose adds to it.

mod container;
pub(crate) mod hash;
mod limits;
mod mounts;
mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::model::{ContainerSpec, Labels, RestartPolicy};
use oci::{Digest, Hasher};

use super::section::Section;
use super::{Build, Project, build};
use crate::error::LoadError;
use crate::yaml::{Entry, Node, Span};

pub(super) use limits::ulimits;
pub use mounts::FileUse;

/// A service of the project.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// Where it is defined.
    pub at: Span,
    /// Its profiles are on, or it was named on the command line.
    pub enabled: bool,
    pub profiles: Vec<String>,
    /// The image to run: as given, or `<project>-<service>` for one that is only built.
    pub image: String,
    pub build: Option<Build>,
    pub pull_policy: PullPolicy,
    /// Everything about its containers except name, image and Compose's own labels. Networks and volumes have real names.
    pub container: ContainerSpec,
    pub container_name: Option<String>,
    pub replicas: u32,
    pub depends_on: BTreeMap<String, Dependency>,
    /// Keys of the project's networks it joins.
    pub networks: Vec<String>,
    /// Keys of the project's volumes it mounts.
    pub volumes: Vec<String>,
    pub secrets: Vec<FileUse>,
    pub configs: Vec<FileUse>,
    /// Whether `up` in the foreground shows its output.
    pub attach: bool,
    /// Docker Compose's digest of what its containers are made from.
    pub hash: String,
    /// Digest of what that leaves out and its containers have all the same: which networks and volumes, secrets and configs are meant.
    pub references: String,
}

/// What a service needs another one for.
#[derive(Clone, Debug)]
pub struct Dependency {
    pub condition: StartCondition,
    /// Restart this service when Compose restarts the other one.
    pub restart: bool,
    /// Whether it is an error when the other one is missing or fails its condition.
    pub required: bool,
    pub at: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartCondition {
    Started,
    Healthy,
    CompletedSuccessfully,
}

impl StartCondition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::CompletedSuccessfully => "service_completed_successfully",
        }
    }
}

/// When the image is built or looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Use the image that is there; build it when it is missing and the service says how.
    #[default]
    Missing,
    /// Never anything but the image that is there.
    Never,
    /// Ask the registry at every `up`.
    Always,
    /// Ask the registry when the image came here longer ago than this.
    Refresh(Duration),
    /// Build at every `up`.
    Build,
}

impl PullPolicy {
    /// What it says of registries.
    pub(crate) fn of_registry(self) -> image::PullPolicy {
        match self {
            Self::Always => image::PullPolicy::Always,
            Self::Missing | Self::Build | Self::Refresh(_) => image::PullPolicy::Missing,
            Self::Never => image::PullPolicy::Never,
        }
    }
}

pub(super) fn read(entry: &Entry, project: &Project) -> Result<Service, LoadError> {
    let name = entry.key.clone();
    let section = Section::new(&entry.value, format!("services.{name}"))?;
    refuse(&section)?;
    // Read into `environment` and `labels` before; only services whose profiles are off still have them.
    section.list("env_file")?;
    section.list("label_file")?;
    let build = section.section("build")?.map(|build| build::read(&build, project)).transpose()?;
    let image = match (section.text("image")?, &build) {
        (Some(image), _) => image,
        (None, Some(_)) => format!("{}-{name}", project.name),
        (None, None) => {
            return Err(LoadError::Inconsistent {
                at: entry.key_at.clone(),
                message: format!("service {name:?} has neither an image nor a build context specified"),
            });
        }
    };
    let mut container = ContainerSpec {
        labels: section.dictionary("labels")?,
        annotations: section.dictionary("annotations")?,
        process: container::process(&section)?,
        isolation: container::isolation(&section, project)?,
        health: container::health(&section)?,
        restart: section.parsed("restart", engine::parse::restart_policy)?.unwrap_or_default(),
        log: container::log(&section)?,
        limits: limits::read(&section)?,
        platform: platform(&section)?,
        ..ContainerSpec::default()
    };
    let networks = network::read(&section, &name, project, &mut container)?;
    let volumes = mounts::read(&section, &name, project, &mut container)?;
    let replicas = deploy(&section, &mut container)?;
    let service = Service {
        at: entry.key_at.clone(),
        enabled: false,
        profiles: section.texts("profiles")?,
        image,
        build,
        pull_policy: pull_policy(&section)?,
        container_name: container_name(&section)?,
        replicas,
        depends_on: depends_on(&section)?,
        secrets: mounts::files(&section, "secrets", project)?,
        configs: mounts::files(&section, "configs", project)?,
        attach: section.boolean("attach")?.unwrap_or(true),
        hash: hash::of(&entry.value),
        references: references(&entry.value, project, &networks, &volumes),
        name,
        networks,
        volumes,
        container,
    };
    section.finish()?;
    Ok(service)
}

/// The keys of the specification that hull does not honour, each with its reason.
fn refuse(section: &Section) -> Result<(), LoadError> {
    for (key, reason) in [
        ("blkio_weight_device", "only the rates of `blkio_config` are"),
        ("cpu_count", "it is for Windows; use `cpus`"),
        ("cpu_percent", "it is for Windows; use `cpus`"),
        ("cpu_rt_period", "real-time scheduling groups are not there yet"),
        ("cpu_rt_runtime", "real-time scheduling groups are not there yet"),
        ("credential_spec", "it is for Windows"),
        ("develop", "there is no `compose watch` yet"),
        ("gpus", "devices of accelerators are not there yet; name device nodes under `devices`"),
        ("models", "hull runs no language models"),
        ("post_start", "lifecycle hooks are not there yet"),
        ("pre_stop", "lifecycle hooks are not there yet"),
        ("provider", "provider plugins are not there yet"),
        ("runtime", "hull is the runtime"),
        ("storage_opt", "the storage has no options"),
        ("use_api_socket", "there is no API socket yet"),
    ] {
        section.unsupported(key, reason)?;
    }
    match section.text("isolation")?.as_deref() {
        None | Some("default" | "") => Ok(()),
        Some(_) => section.unsupported("isolation", "there is only the default isolation yet"),
    }
}

fn container_name(section: &Section) -> Result<Option<String>, LoadError> {
    let Some(name) = section.text("container_name")? else { return Ok(None) };
    let valid = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    match valid {
        true => Ok(Some(name)),
        false => {
            Err(section
                .invalid("container_name", format!("must match [a-zA-Z0-9][a-zA-Z0-9_.-]+, not {name:?}")))
        }
    }
}

fn pull_policy(section: &Section) -> Result<PullPolicy, LoadError> {
    let after = section.text("pull_refresh_after")?;
    let interval = |key: &str, text: &str| {
        refresh_interval(text)
            .ok_or_else(|| section.invalid(key, format!("must be a time such as 1w2d12h, not {text:?}")))
    };
    let policy = section.text("pull_policy")?;
    if after.is_some() && policy.as_deref() != Some("refresh") {
        return Err(section.invalid("pull_refresh_after", "it needs `pull_policy: refresh`".to_owned()));
    }
    match policy.as_deref() {
        None | Some("missing" | "if_not_present" | "") => Ok(PullPolicy::Missing),
        Some("never") => Ok(PullPolicy::Never),
        Some("always") => Ok(PullPolicy::Always),
        Some("build") => Ok(PullPolicy::Build),
        Some("daily") => Ok(PullPolicy::Refresh(DAY)),
        Some("weekly") => Ok(PullPolicy::Refresh(7 * DAY)),
        Some("refresh") => match after {
            Some(text) => interval("pull_refresh_after", &text).map(PullPolicy::Refresh),
            None => Ok(PullPolicy::Refresh(Duration::ZERO)),
        },
        Some(other) => match other.strip_prefix("every_") {
            Some(text) => interval("pull_policy", text).map(PullPolicy::Refresh),
            None => Err(section.invalid(
                "pull_policy",
                format!(
                    "must be always, missing, never, build, refresh, daily, weekly or every_<time>, not {other:?}"
                ),
            )),
        },
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `1w2d3h4m5s`, of which each part may be missing, but not all.
fn refresh_interval(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() || text.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let number = rest[..unit].parse().ok()?;
        let one = match rest.as_bytes()[unit] {
            b'w' => 7 * DAY,
            b'd' => DAY,
            b'h' => Duration::from_secs(3600),
            b'm' => Duration::from_secs(60),
            b's' => Duration::from_secs(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = &rest[unit + 1..];
    }
    Some(total)
}

fn platform(section: &Section) -> Result<Option<String>, LoadError> {
    let platform = section.text("platform")?;
    match &platform {
        Some(name) if !is_host_platform(name) => {
            section.unsupported("platform", "only images of this host's platform run")?;
            Ok(platform)
        }
        _ => Ok(platform),
    }
}

pub(super) fn is_host_platform(platform: &str) -> bool {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut parts = platform.split('/');
    parts.next() == Some("linux") && parts.next().is_none_or(|part| part == architecture)
}

fn depends_on(section: &Section) -> Result<BTreeMap<String, Dependency>, LoadError> {
    let mut out = BTreeMap::new();
    for entry in section.children("depends_on")? {
        let item = Section::new(&entry.value, section.path("depends_on") + "." + &entry.key)?;
        let condition = match item.text("condition")?.as_deref() {
            None | Some("service_started") => StartCondition::Started,
            Some("service_healthy") => StartCondition::Healthy,
            Some("service_completed_successfully") => StartCondition::CompletedSuccessfully,
            Some(other) => {
                let message = format!(
                    "must be service_started, service_healthy or service_completed_successfully, not {other:?}"
                );
                return Err(item.invalid("condition", message));
            }
        };
        let dependency = Dependency {
            condition,
            restart: item.flag("restart")?,
            required: item.boolean("required")?.unwrap_or(true),
            at: entry.key_at.clone(),
        };
        item.finish()?;
        out.insert(entry.key.clone(), dependency);
    }
    Ok(out)
}

/// Reads `deploy:` into `container` and tells the number of containers.
fn deploy(section: &Section, container: &mut ContainerSpec) -> Result<u32, LoadError> {
    let scale = section.int("scale", 0..=1_000)?;
    let mut replicas = None;
    if let Some(deploy) = section.section("deploy")? {
        if deploy.text("mode")?.is_some_and(|mode| mode != "replicated") {
            deploy.unsupported("mode", "there is one host; the mode is `replicated`")?;
        }
        for (key, reason) in [
            ("endpoint_mode", "there is no swarm"),
            ("labels", "they are for swarm services; use `labels` of the service"),
            ("placement", "there is one host"),
            ("rollback_config", "there is no swarm"),
            ("update_config", "there is no swarm"),
        ] {
            deploy.unsupported(key, reason)?;
        }
        replicas = deploy.int("replicas", 0..=1_000)?;
        if let (Some(scale), Some(replicas)) = (scale, replicas)
            && scale != replicas
        {
            return Err(section.invalid("scale", "and `deploy.replicas` are different"));
        }
        if let Some(policy) = deploy.section("restart_policy")? {
            container.restart = restart_policy(&policy)?;
        }
        if let Some(resources) = deploy.section("resources")? {
            limits::deployed(&resources, section, &mut container.limits)?;
        }
        deploy.finish()?;
    }
    Ok(u32::try_from(scale.or(replicas).unwrap_or(1)).unwrap_or(1))
}

fn restart_policy(policy: &Section) -> Result<RestartPolicy, LoadError> {
    policy.unsupported("delay", "restarts back off from 100 ms to one minute")?;
    policy.unsupported("window", "a container counts as up after ten seconds")?;
    let attempts = policy.int("max_attempts", 0..=i64::from(u32::MAX))?;
    let max = u32::try_from(attempts.unwrap_or(0)).unwrap_or(0);
    let restart = match policy.text("condition")?.as_deref() {
        Some("none" | "no") => RestartPolicy::No,
        Some("on-failure") => RestartPolicy::OnFailure { max },
        None | Some("any" | "always") if max == 0 => RestartPolicy::Always,
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        None | Some("any" | "always") => {
            return Err(policy.invalid("max_attempts", "needs `condition: on-failure`"));
        }
        Some(other) => {
            return Err(
                policy.invalid("condition", format!("must be none, on-failure or any, not {other:?}"))
            );
        }
    };
    policy.finish()?;
    Ok(restart)
}

/// Digest over the real names and contents behind the service's references.
fn references(node: &Node, project: &Project, networks: &[String], volumes: &[String]) -> String {
    let mut hasher = Hasher::new();
    for key in networks {
        hasher.update(project.networks.get(key).map_or("", |network| &network.spec.name).as_bytes());
    }
    for key in volumes {
        hasher.update(project.volumes.get(key).map_or("", |volume| &volume.name).as_bytes());
    }
    for (section, resources) in [("secrets", &project.secrets), ("configs", &project.configs)] {
        for item in node.get(section).and_then(Node::as_seq).unwrap_or_default() {
            let source = item.get("source").and_then(Node::as_text).unwrap_or_default();
            match resources.get(&source).map(|resource| &resource.source) {
                Some(super::FileSource::File(path)) => hasher.update(path.to_string_lossy().as_bytes()),
                Some(super::FileSource::Text(text)) => hasher.update(Digest::of(text.as_bytes()).as_bytes()),
                None => {}
            }
        }
    }
    hasher.finish().hex()
}

impl Service {
    /// The name of its container number `number`.
    pub fn container_name(&self, project: &str, number: u32) -> String {
        self.container_name.clone().unwrap_or_else(|| format!("{project}-{}-{number}", self.name))
    }

    /// Its dependencies as the label on its containers has them.
    pub(crate) fn dependency_label(&self) -> String {
        let items = self.depends_on.iter().map(|(name, dependency)| {
            format!("{name}:{}:{}", dependency.condition.as_str(), dependency.restart)
        });
        items.collect::<Vec<_>>().join(",")
    }

    /// Whether the file gives its image no name, so that the one it has was made up here.
    pub(crate) fn image_is_implied(&self, project: &Project) -> bool {
        self.build.is_some() && self.image == format!("{}-{}", project.name, self.name)
    }

    /// Labels of its definition, without Compose's.
    pub fn labels(&self) -> &Labels {
        &self.container.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_intervals() {
        let check = |text, expected: Option<u64>| {
            assert_eq!(refresh_interval(text), expected.map(Duration::from_secs), "{text}");
        };
        check("1w2d3h4m5s", Some(788_645));
        check("12h", Some(43_200));
        check("0s", Some(0));
        for text in ["", "h", "1", "1y", "1h2", "-1h", "99999999999h", "1ü"] {
            check(text, None);
        }
    }
}

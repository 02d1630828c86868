//! Images of services: built, present, or missing.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use build::{
    BuildContext, BuildRequest, Cancel, DockerfileSource, GitSetup, Given, RunNetwork, Secret, SecretSource,
    Source,
};
use diag::{Class, Failure};
use engine::model::Limits;
use image::PullPolicy as Policy;
use oci::image::Platform;

use super::{Kind, Object, Stack, StackError, Status, walk};
use crate::LoadError;
use crate::model::{Context, Dockerfile, FileSource, PullPolicy, Service};

/// `build`.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// All with a build section when empty.
    pub services: Vec<String>,
    /// Also what these depend on.
    pub with_dependencies: bool,
    /// Over the file's arguments.
    pub args: BTreeMap<String, String>,
    pub no_cache: bool,
    /// Ask registries for base images also when they are here.
    pub pull: bool,
}

/// `pull`.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    pub services: Vec<String>,
    pub include_deps: bool,
    /// Go on when an image cannot be had.
    pub ignore_failures: bool,
    /// Leave out images that can be built.
    pub ignore_buildable: bool,
    /// Leave out images that are here.
    pub only_missing: bool,
}

/// When `up` and its like build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BuildWhen {
    /// Images that are missing.
    #[default]
    Missing,
    Always,
    Never,
}

fn image_of(service: &Service) -> Object<'_> {
    Object { kind: Kind::Image, name: &service.image }
}

/// Services that share an image's name share what is done about it.
fn unique(mut services: Vec<&Service>) -> Vec<&Service> {
    let mut seen = BTreeSet::new();
    services.retain(|service| seen.insert(&service.image));
    services
}

impl Stack<'_> {
    /// Builds images.
    pub fn build(&self, options: &BuildOptions) -> Result<(), Failure> {
        let names = match options.with_dependencies {
            true => self.project.selection(&options.services)?,
            false if options.services.is_empty() => self.project.selection(&[])?,
            false => options.services.iter().cloned().collect(),
        };
        let mut services = Vec::new();
        for name in &names {
            let service = self.project.service(name)?;
            if service.build.is_some() {
                services.push(service);
            }
        }
        if services.is_empty() {
            self.reporter.warning("no service to build");
        }
        self.build_services(&services, options)
    }

    /// Pulls images.
    pub fn pull(&self, options: &PullOptions) -> Result<(), Failure> {
        let names = match options.include_deps || options.services.is_empty() {
            true => self.project.selection(&options.services)?,
            false => options.services.iter().cloned().collect(),
        };
        let mut wanted = Vec::new();
        for name in &names {
            let service = self.project.service(name)?;
            let only_built = service.build.is_some()
                && (options.ignore_buildable || service.image_is_implied(self.project));
            let is_excluded = matches!(service.pull_policy, PullPolicy::Never | PullPolicy::Build);
            match only_built || is_excluded {
                true => self.reporter.progress(image_of(service), Status::Done("Skipped")),
                false => wanted.push(service),
            }
        }
        let policy = if options.only_missing { Policy::Missing } else { Policy::Always };
        let pull = |service: &&Service| match self.pull_one(service, policy) {
            // It is built when it is needed.
            Err(_) if service.build.is_some() => Ok(()),
            other => other,
        };
        match walk::first(walk::each(&unique(wanted), pull)) {
            Err(_) if options.ignore_failures => Ok(()),
            other => other,
        }
    }

    fn pull_one(&self, service: &Service, policy: Policy) -> Result<(), Failure> {
        let object = image_of(service);
        self.reporter.progress(object, Status::Doing("Pulling"));
        let platform = service.container.platform.as_deref().map(Platform::parse).transpose();
        let platform =
            platform.map_err(|error| StackError::Platform { service: service.name.clone(), error })?;
        let stop = self.interrupt.stop.clone();
        let options = image::PullOptions { platform, stop, ..image::PullOptions::default() };
        match self.engine.image_ensure(&service.image, policy, &options) {
            Ok(_) => {
                self.reporter.progress(object, Status::Done("Pulled"));
                Ok(())
            }
            Err(error) => {
                self.reporter.progress(object, Status::Failed(&error.to_string()));
                Err(error.into())
            }
        }
    }

    /// Id of the image called `reference`, when there is one.
    pub(crate) fn image_id(&self, reference: &str) -> Result<Option<String>, Failure> {
        match self.engine.images().resolve(reference) {
            Ok(image) => Ok(Some(image.id.to_string())),
            Err(error) => match Failure::from(error) {
                failure if failure.class() == Class::NotFound => Ok(None),
                failure => Err(failure),
            },
        }
    }

    /// Whether the image came here longer ago than the service wants it to.
    fn is_stale(&self, service: &Service) -> bool {
        let PullPolicy::Refresh(after) = service.pull_policy else { return false };
        let stored = self.engine.images().resolve(&service.image).map(|image| image.stored_ns);
        stored.is_ok_and(|stored_ns| {
            let age_ns = engine::time::now_ns().saturating_sub(stored_ns);
            u128::try_from(age_ns).is_ok_and(|age_ns| age_ns >= after.as_nanos())
        })
    }

    /// Pulls and builds what has to be; returns the image id of each service. `pull` goes before what services say.
    pub(crate) fn ensure_images(
        &self,
        services: &[&Service],
        when: BuildWhen,
        pull: Option<Policy>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let references: BTreeSet<&str> = services.iter().map(|service| service.image.as_str()).collect();
        let mut ids: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for reference in references {
            ids.insert(reference, self.image_id(reference)?);
        }
        let is_missing = |service: &Service| ids.get(service.image.as_str()).is_none_or(Option::is_none);
        let is_built = |service: &Service| match when {
            _ if service.build.is_none() => false,
            BuildWhen::Never => false,
            BuildWhen::Always => true,
            BuildWhen::Missing => match service.pull_policy {
                PullPolicy::Build => true,
                PullPolicy::Never => false,
                PullPolicy::Missing | PullPolicy::Always | PullPolicy::Refresh(_) => is_missing(service),
            },
        };
        let is_pulled = |service: &Service| match pull.unwrap_or(service.pull_policy.of_registry()) {
            _ if service.build.is_some() => false,
            Policy::Always => true,
            Policy::Missing => is_missing(service) || (pull.is_none() && self.is_stale(service)),
            Policy::Never => false,
        };
        let to_build: Vec<&Service> = services.iter().copied().filter(|service| is_built(service)).collect();
        let to_pull: Vec<&Service> = services.iter().copied().filter(|service| is_pulled(service)).collect();
        walk::first(walk::each(&unique(to_pull.clone()), |service| self.pull_one(service, Policy::Always)))?;
        self.build_services(&to_build, &BuildOptions::default())?;
        for service in to_build.iter().chain(&to_pull) {
            ids.insert(&service.image, self.image_id(&service.image)?);
        }
        let mut out = BTreeMap::new();
        for service in services {
            match ids.get(service.image.as_str()).cloned().flatten() {
                Some(id) => drop(out.insert(service.name.clone(), id)),
                None => {
                    let (service, image) = (service.name.clone(), service.image.clone());
                    return Err(StackError::NoImage { service, image }.into());
                }
            }
        }
        Ok(out)
    }

    fn build_services(&self, services: &[&Service], options: &BuildOptions) -> Result<(), Failure> {
        walk::first(walk::each(&unique(services.to_vec()), |service| self.build_one(service, options)))
    }

    fn build_one(&self, service: &Service, options: &BuildOptions) -> Result<(), Failure> {
        let Some(build) = &service.build else { return Ok(()) };
        let object = Object { kind: Kind::Image, name: &service.image };
        self.reporter.progress(object, Status::Doing("Building"));
        let mut tags = vec![service.image.clone()];
        tags.extend(build.tags.iter().filter(|tag| **tag != service.image).cloned());
        let mut args = build.args.clone();
        args.extend(options.args.clone());
        let secrets = build.secrets.iter().map(|secret| Secret {
            id: secret.id.clone(),
            source: match &secret.source {
                FileSource::File(path) => SecretSource::File(path.clone()),
                FileSource::Text(text) => SecretSource::Value(text.clone().into_bytes()),
            },
        });
        let limits = Limits { ulimits: build.ulimits.clone(), ..Limits::default() };
        let (resources, rlimits) = limits.of_steps()?;
        let request = BuildRequest {
            context: match &build.context {
                Context::Directory(path) => Source::Dir(path.clone()),
                Context::Repository(repository) => Source::Repository(repository.clone()),
            },
            dockerfile: match &build.dockerfile {
                Dockerfile::Inline(text) => DockerfileSource::Text(text.clone()),
                Dockerfile::Path(path) if path.is_absolute() => DockerfileSource::File(path.clone()),
                Dockerfile::Path(path) => DockerfileSource::InContext(path.clone()),
            },
            contexts: build.contexts.clone(),
            tags,
            target: build.target.clone(),
            build_args: args,
            labels: build.labels.clone(),
            no_cache: build.no_cache || options.no_cache,
            cache_from: build.cache_from.clone(),
            cache_to: build.cache_to.clone(),
            pull: if build.pull || options.pull { Policy::Always } else { Policy::Missing },
            network: match build.network.as_deref() {
                Some("none") => RunNetwork::None,
                Some("host") => RunNetwork::Host,
                _ => RunNetwork::Default,
            },
            add_hosts: build.extra_hosts.clone(),
            attachments: Arc::new(Given { secrets: secrets.collect(), ssh_agents: build.ssh_agents.clone() }),
            shm_size_bytes: build.shm_size_bytes,
            resources,
            cgroup_parent: None,
            rlimits,
            progress: self.reporter.build(&service.name),
            cancel: Cancel::from_flag(self.interrupt.stop.clone()),
        };
        let images = self.engine.images();
        let endpoints = self.engine.build_endpoints();
        let context = BuildContext {
            store: self.engine.store(),
            images: &images,
            registries: Some(self.engine),
            endpoints: &endpoints,
            network: self.engine.net_context().clone(),
            git: GitSetup::Own,
        };
        match build::build(&context, request) {
            Ok(_) => {
                self.reporter.progress(object, Status::Done("Built"));
                Ok(())
            }
            Err(error) => {
                self.reporter.progress(object, Status::Failed(&error.to_string()));
                Err(error.into())
            }
        }
    }

    /// The enabled services among `names` (all when empty), with what they depend on unless `alone`.
    pub(crate) fn services(&self, names: &[String], alone: bool) -> Result<Vec<&Service>, LoadError> {
        let names = match alone && !names.is_empty() {
            false => self.project.selection(names)?,
            true => names.iter().cloned().collect(),
        };
        if names.is_empty() {
            return Err(LoadError::NoService);
        }
        names.iter().map(|name| self.project.enabled_service(name)).collect()
    }
}

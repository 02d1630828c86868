//! One build from request to image.

mod caches;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cgroup::{Cgroup, Hierarchy};
use image::{Image, Images, Registries};
use net::EndpointSource;
use oci::Reference;
use oci::image::ImageConfig;
use store::Store;

use crate::base::Bases;
use crate::cache::transfer;
use crate::cache::{Cache, CacheTarget, KeyBuilder};
use crate::context::Context;
use crate::dockerfile::{self, Dockerfile};
use crate::error::{BuildError, Location, StepError};
use crate::plan::{self, Plan, PlanError, SourceRef};
use crate::progress::Event;
use crate::repository::clone::{Cloner, GitSetup};
use crate::request::{BuildOutput, BuildRequest, NamedContext, Source};
use crate::run::HOSTNAME;
use crate::scope::Globals;
use crate::solve::{Finished, Solve, SolveOptions, SolveParts};
use crate::stop::Stop;
use crate::workspace::{Workspace, reconcile};

/// What a build works with.
pub struct BuildContext<'a> {
    pub store: &'a Store,
    pub images: &'a Images<'a>,
    /// Where images that are not here, and what ADD names by its address, come from; `None` for nowhere.
    pub registries: Option<&'a dyn Registries>,
    /// Where RUN steps get their network from.
    pub endpoints: &'a dyn EndpointSource,
    pub network: net::Context,
    /// Of clones of repositories.
    pub git: GitSetup,
}

/// Builds an image.
///
/// Three build arguments are the builder's own, as they are BuildKit's: `BUILDKIT_INLINE_CACHE=1` is an inline cache to export,
/// `BUILDKIT_SANDBOX_HOSTNAME` the host name of steps, and `BUILDKIT_CONTEXT_KEEP_GIT_DIR=1` leaves `.git` in contexts that are repositories.
///
/// # Errors
/// [`BuildError`] with the file, the line and the instruction where there is one. Steps that were finished stay in the cache;
/// nothing else is left.
pub fn build(context: &BuildContext<'_>, mut request: BuildRequest) -> Result<BuildOutput, BuildError> {
    let hostname = request.build_args.remove("BUILDKIT_SANDBOX_HOSTNAME");
    let hostname = hostname.unwrap_or_else(|| HOSTNAME.to_owned());
    if let Some("1" | "true") = request.build_args.remove("BUILDKIT_INLINE_CACHE").as_deref() {
        request.cache_to.push(CacheTarget::Inline);
    }
    let keep_history = request.build_args.remove("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let references = request
        .tags
        .iter()
        .map(|tag| {
            tag.parse::<Reference>().map_err(|error| BuildError::Request {
                what: "tag",
                value: tag.clone(),
                reason: error.to_string(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let cgroup_parent = request.cgroup_parent.as_deref().map(cgroup_parent).transpose()?;
    let storage = |what: &'static str| BuildError::storage(what);
    let _lease = context.store.lock_shared().map_err(storage("hold the store"))?;
    let builds = context.store.run().join("builds");
    reconcile(&builds, &context.network, context.endpoints);
    let stop = Stop::new(request.cancel.clone());

    let mut cloner = Cloner {
        store: context.store,
        setup: context.git,
        attachments: &request.attachments,
        progress: &*request.progress,
        stop: &stop,
        keep_history: matches!(keep_history.as_deref(), Some("1" | "true")),
        steps: 0,
    };
    let mut files = Context::open(request.context, &mut cloner)?;
    let (file_name, text) = files.dockerfile(&request.dockerfile)?;
    request.progress.event(Event::Dockerfile { text: &text });
    let file =
        dockerfile::parse(&text).map_err(|error| BuildError::Syntax { file: file_name.clone(), error })?;
    if let Some(syntax) = file.syntax.as_deref().filter(|syntax| !dockerfile::is_own_syntax(syntax)) {
        return Err(BuildError::Request {
            what: "syntax directive",
            value: syntax.to_owned(),
            reason: "hull has no frontend but its own, docker/dockerfile".to_owned(),
        });
    }
    let target =
        plan::find_target(&file, request.target.as_deref()).ok_or_else(|| BuildError::NoSuchTarget {
            target: request.target.clone().unwrap_or_default(),
            file: file_name.clone(),
        })?;
    let target_name = request.target.clone().unwrap_or_else(|| "default".to_owned());
    let globals = Globals::new(&file, &request.build_args, &target_name)
        .map_err(|(line, reason)| global_error(&file, &file_name, line, reason))?;
    for name in globals.unconsumed(&file) {
        let text = format!("build argument {name} was not consumed by any ARG");
        request.progress.event(Event::Warning { text: &text });
    }
    let mut named = HashMap::new();
    for (name, context_of) in &request.contexts {
        let source = match context_of {
            NamedContext::Dir(directory) => Source::Dir(directory.clone()),
            NamedContext::Repository(repository) => Source::Repository(repository.clone()),
            NamedContext::Image(_) => continue,
        };
        named.insert(name.clone(), Context::named(source, &mut cloner)?);
    }
    let mut steps = cloner.steps;
    let imports =
        caches::import(context, &request.cache_from, &request.cancel, &request.progress, &mut steps);
    let mut bases = Bases {
        images: context.images,
        registries: context.registries,
        policy: request.pull,
        progress: request.progress.clone(),
        cancel: request.cancel.clone(),
        found: HashMap::new(),
        steps,
    };
    let plan =
        make_plan(&mut bases, &file, &globals, target, &request.contexts).map_err(|error| {
            match stop.is_set() {
                true => BuildError::Cancelled,
                false => located(&file_name, error),
            }
        })?;

    let workspace = Workspace::create(&builds).map_err(|source| BuildError::Read {
        what: "directory",
        path: builds.clone(),
        source,
    })?;
    let solve = Solve::new(SolveParts {
        store: context.store,
        images: context.images,
        registries: context.registries,
        endpoints: context.endpoints,
        network_context: &context.network,
        file: &file,
        file_name: &file_name,
        globals: &globals,
        plan: &plan,
        context: &files,
        named: &named,
        base_images: &bases.found,
        steps_before: bases.steps,
        cache: Cache::new(context.store, context.images, imports),
        workspace: &workspace,
        options: SolveOptions {
            no_cache: request.no_cache,
            network: request.network,
            users: runtime::ids::Policy::from_environment()?,
            attachments: request.attachments,
            shm_size_bytes: request.shm_size_bytes,
            resources: request.resources,
            cgroup_parent,
            rlimits: request.rlimits,
            hosts: hosts(&hostname, &request.add_hosts),
            git: context.git,
            hostname,
        },
        progress: &*request.progress,
        stop,
    });
    let finished = solve.run();
    // Also after a failure: what was used is worth keeping.
    solve.cache.touch_used().map_err(BuildError::storage("write the build cache"))?;
    let finished = finished?;
    let (cached_steps, executed_steps) = solve.counts();
    let mut config = finished.image.clone();
    config.config.labels.extend(request.labels);
    let results = match request.cache_to.is_empty() {
        true => BTreeMap::new(),
        false => solve.cache.results().map_err(BuildError::storage("read the build cache"))?,
    };
    if request.cache_to.contains(&CacheTarget::Inline) {
        let layers: Vec<_> = finished.filesystem.layers.iter().map(|layer| layer.diff_id).collect();
        transfer::describe(&mut config, &results, &layers);
    }
    let image = finish(context, &solve, &finished, config, &references)?;
    let names: Vec<String> = references.iter().map(Reference::canonical).collect();
    let image_id = image.id.to_string();
    request.progress.event(Event::Image { id: &image_id, references: &names });
    for target in &request.cache_to {
        caches::export(context, &solve, &finished, &results, target)?;
    }
    Ok(BuildOutput { image_id, references: names, cached_steps, executed_steps })
}

fn make_plan(
    bases: &mut Bases<'_>,
    file: &Dockerfile,
    globals: &Globals,
    target: usize,
    contexts: &BTreeMap<String, NamedContext>,
) -> Result<Plan, PlanError> {
    let mut resolve = |name: &str| -> Result<Vec<String>, StepError> {
        Ok(bases.find(name)?.image.config.config.on_build.clone())
    };
    let plan = plan::plan(file, globals, target, contexts, &mut resolve)?;
    for stage in &plan.stages {
        for (name, source) in &stage.sources {
            if let SourceRef::Image(image) = source {
                resolve(image).map_err(|error| stage.blame(name, error))?;
            }
        }
    }
    Ok(plan)
}

fn located(file: &str, error: PlanError) -> BuildError {
    let PlanError { span, text, error } = error;
    let location =
        Location { file: file.to_owned(), line: span.line, end_line: span.end_line, instruction: text };
    BuildError::Step { location: Box::new(location), output: Vec::new(), error }
}

fn global_error(file: &Dockerfile, name: &str, line: usize, reason: String) -> BuildError {
    let text = file.global_args.iter().find(|step| step.span.line == line);
    let text = text.map(|step| step.text.clone()).unwrap_or_default();
    located(
        name,
        PlanError {
            span: dockerfile::Span { line, end_line: line },
            text,
            error: StepError::Invalid(reason),
        },
    )
}

/// Where control groups of RUN steps are to be, as an absolute path.
fn cgroup_parent(text: &str) -> Result<PathBuf, BuildError> {
    let invalid =
        |reason: String| BuildError::Request { what: "cgroup parent", value: text.to_owned(), reason };
    let path = Path::new("/").join(text);
    let group = Hierarchy::usable().and_then(|hierarchy| Cgroup::at(&hierarchy, &path));
    group.map(|_| path).map_err(|error| invalid(error.to_string()))
}

/// /etc/hosts of RUN steps.
fn hosts(hostname: &str, extra: &[(String, IpAddr)]) -> Vec<String> {
    let mut lines = vec![
        format!("127.0.0.1\tlocalhost {hostname}\n"),
        "::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned(),
    ];
    lines.extend(extra.iter().map(|(name, address)| format!("{address}\t{name}\n")));
    lines
}

/// Completes the configuration and makes the image; one that was made from the same steps before is found again.
fn finish(
    context: &BuildContext<'_>,
    solve: &Solve<'_>,
    finished: &Finished,
    mut config: ImageConfig,
    references: &[Reference],
) -> Result<Image, BuildError> {
    let layers = &finished.filesystem.layers;
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    // The time of the first build that came to this configuration, so that building again gives the same image.
    let bare = serde_json::to_vec(&ImageConfig { created: None, ..config.clone() }).unwrap_or_default();
    let key = KeyBuilder::new("image").add("config", bare).finish();
    let created = solve.cache.text(&key).map_err(BuildError::storage("read the build cache"))?;
    let now = match created {
        Some(created) => created,
        None => {
            let now = jiff::Timestamp::now().to_string();
            solve.cache.put_text(&key, &now).map_err(BuildError::storage("write the build cache"))?;
            now
        }
    };
    for entry in config.history.iter_mut().filter(|entry| entry.created.is_none()) {
        entry.created = Some(now.clone());
    }
    config.created = Some(now);
    context.images.create_image(config, layers, references).map_err(BuildError::storage("store the image"))
}

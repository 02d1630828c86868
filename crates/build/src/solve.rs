//! All stages of one build: each on its own thread, waiting for others only where a step needs their files.

use runtime::ids::Policy;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use image::{Image, Images, Registries};
use oci::image::ImageConfig;
use oci::runtime::{LinuxResources, Rlimit};
use store::Store;

use crate::RunNetwork;
use crate::cache::{Cache, KeyBuilder};
use crate::context::Context;
use crate::dockerfile::Dockerfile;
use crate::error::{BuildError, StepError};
use crate::filesystem::{Filesystem, Origin};
use crate::ignore::Ignore;
use crate::plan::{Plan, SourceRef};
use crate::progress::{Progress, StepId};
use crate::repository::clone::{Cloner, GitSetup};
use crate::request::Attachments;
use crate::scope::Globals;
use crate::select::{self, Options, Selected, select};
use crate::stage::StageRun;
use crate::stop::Stop;
use crate::workspace::Workspace;

/// A stage that ran to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    pub image: ImageConfig,
    pub filesystem: Filesystem,
}

/// Where a stage's result appears; `Some(None)` when it failed.
#[derive(Default)]
struct Slot {
    result: Mutex<Option<Option<Arc<Finished>>>>,
    ready: Condvar,
}

/// An image that stages start from or copy from.
pub struct BaseImage {
    pub image: Image,
    pub filesystem: Filesystem,
}

/// What [`Solve`] is made of.
pub struct SolveParts<'a> {
    pub store: &'a Store,
    pub images: &'a Images<'a>,
    /// Who has a client for the web; `None` for a build that is to ask nobody.
    pub registries: Option<&'a dyn Registries>,
    pub endpoints: &'a dyn net::EndpointSource,
    pub network_context: &'a net::Context,
    pub file: &'a Dockerfile,
    pub file_name: &'a str,
    pub globals: &'a Globals,
    pub plan: &'a Plan,
    pub context: &'a Context,
    /// Further directories, by the names the plan has for them.
    pub named: &'a HashMap<String, Context>,
    /// By the names the plan has for them.
    pub base_images: &'a HashMap<String, BaseImage>,
    /// How many steps there were before the first stage.
    pub steps_before: u32,
    pub cache: Cache<'a>,
    pub workspace: &'a Workspace,
    pub options: SolveOptions,
    pub progress: &'a dyn Progress,
    pub stop: Stop,
}

/// Everything the stages of one build share.
pub struct Solve<'a> {
    parts: SolveParts<'a>,
    slots: Vec<Slot>,
    step_count: AtomicU32,
    cached: AtomicUsize,
    executed: AtomicUsize,
    /// Which of resolv.conf's two forms are in the workspace.
    network_files_written: Mutex<Vec<bool>>,
}

impl<'a> std::ops::Deref for Solve<'a> {
    type Target = SolveParts<'a>;

    fn deref(&self) -> &SolveParts<'a> {
        &self.parts
    }
}

/// What of the request concerns steps.
pub struct SolveOptions {
    pub no_cache: bool,
    pub network: RunNetwork,
    /// Whose user ids steps have.
    pub users: Policy,
    pub attachments: Arc<dyn Attachments>,
    pub shm_size_bytes: Option<u64>,
    pub resources: LinuxResources,
    /// Where the caller wants the control groups of steps.
    pub cgroup_parent: Option<PathBuf>,
    pub rlimits: Vec<Rlimit>,
    /// Of RUN steps.
    pub hostname: String,
    /// Host names and addresses as they stand in /etc/hosts.
    pub hosts: Vec<String>,
    /// Of clones of repositories.
    pub git: GitSetup,
}

impl<'a> Solve<'a> {
    /// Puts together what the stages share.
    pub(crate) fn new(parts: SolveParts<'a>) -> Self {
        let slots = parts.plan.stages.iter().map(|_| Slot::default()).collect();
        let step_count = AtomicU32::new(parts.steps_before);
        Self {
            parts,
            slots,
            step_count,
            cached: AtomicUsize::new(0),
            executed: AtomicUsize::new(0),
            network_files_written: Mutex::default(),
        }
    }

    /// Runs every stage of the plan, each on its own thread when there are several, and returns the target's result.
    ///
    /// # Errors
    /// The first failure; the other stages are stopped by it.
    pub fn run(&self) -> Result<Arc<Finished>, BuildError> {
        let count = self.plan.stages.len();
        if count == 1 {
            self.run_stage(0)?;
        } else {
            let failures = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for index in 0..count {
                    let failures = &failures;
                    scope.spawn(move || {
                        if let Err(error) = self.run_stage(index) {
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                        }
                    });
                }
            });
            let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = first_cause(failures) {
                return Err(error);
            }
        }
        self.wait(self.plan.target).ok_or(BuildError::Cancelled)
    }

    fn run_stage(&self, index: usize) -> Result<(), BuildError> {
        let result = StageRun::new(self, index).and_then(StageRun::run);
        if result.is_err() {
            self.stop.fail();
        }
        let slot = &self.slots[index];
        let (value, result) = match result {
            Ok(finished) => (Some(Arc::new(finished)), Ok(())),
            Err(error) => (None, Err(error)),
        };
        *slot.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        slot.ready.notify_all();
        result
    }

    /// How many steps came from the cache, and how many ran.
    pub fn counts(&self) -> (usize, usize) {
        (self.cached.load(Ordering::Relaxed), self.executed.load(Ordering::Relaxed))
    }

    /// Who clones for a step.
    pub(crate) fn cloner(&self) -> Cloner<'_> {
        Cloner {
            store: self.store,
            setup: self.options.git,
            attachments: &self.options.attachments,
            progress: self.progress,
            stop: &self.stop,
            keep_history: false,
            steps: 0,
        }
    }

    /// The next step's number.
    pub(crate) fn next_step(&self) -> StepId {
        StepId(self.step_count.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Counts a step that came from the cache.
    pub(crate) fn count_cached(&self) {
        self.cached.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a step that ran.
    pub(crate) fn count_executed(&self) {
        self.executed.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a stage; `None` when it failed.
    pub(crate) fn wait(&self, index: usize) -> Option<Arc<Finished>> {
        let slot = &self.slots[index];
        let mut result = slot.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            result = slot.ready.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The files that `--from` or `from=` of `stage` means.
    pub(crate) fn origin(&self, stage: usize, from: Option<&str>) -> Result<Origin<'a>, StepError> {
        let Some(from) = from else { return Ok(Origin::Context(self.context)) };
        let filesystem = match &self.plan.stages[stage].sources[from] {
            SourceRef::Stage(index) => self.wait(*index).ok_or(StepError::Cancelled)?.filesystem.clone(),
            SourceRef::Image(name) => self.base_images[name].filesystem.clone(),
            SourceRef::Directory(name) => return Ok(Origin::Context(&self.named[name])),
        };
        let tree = filesystem.tree(self.store)?;
        Ok(Origin::Layers { tree, key: filesystem.key, name: from.to_owned(), ignore: Ignore::default() })
    }

    /// The digest of the files that `words` select. Files in layers never change, so theirs is remembered.
    pub(crate) fn digest(
        &self,
        origin: &Origin<'_>,
        words: &[String],
        options: Options<'_>,
    ) -> Result<(String, Option<Vec<Selected>>), StepError> {
        let selected = || -> Result<(String, Vec<Selected>), StepError> {
            let selection = select(origin.source(), words, options)?;
            Ok((select::digest(origin.source(), &selection)?, selection))
        };
        let Origin::Layers { key, .. } = origin else {
            return selected().map(|(digest, selection)| (digest, Some(selection)));
        };
        let key = KeyBuilder::new("files")
            .add("in", &key.0)
            .list("words", words)
            .list("exclude", options.exclude.patterns())
            .add("parents", [u8::from(options.parents)])
            .finish();
        let database = StepError::engine("read the build cache");
        if let Some(digest) = self.cache.text(&key).map_err(database)? {
            return Ok((digest, None));
        }
        let (digest, selection) = selected()?;
        self.cache.put_text(&key, &digest).map_err(StepError::engine("write the build cache"))?;
        Ok((digest, Some(selection)))
    }

    /// Destinations in the container and sources on the host of the files that tell a step about its network.
    pub(crate) fn network_files(
        &self,
        network: RunNetwork,
    ) -> Result<Vec<(&'static str, PathBuf)>, StepError> {
        let dir = self.workspace.path();
        let host = network == RunNetwork::Host;
        let resolv = dir.join(if host { "resolv.conf.host" } else { "resolv.conf" });
        let hosts = dir.join("hosts");
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).map_err(StepError::io("write", path.display()))
        };
        let mut written = self.network_files_written.lock().unwrap_or_else(PoisonError::into_inner);
        if !written.contains(&host) {
            write(&resolv, crate::network::resolv_conf(network))?;
            write(&hosts, self.options.hosts.concat())?;
            written.push(host);
        }
        Ok(vec![("/etc/resolv.conf", resolv), ("/etc/hosts", hosts)])
    }
}

/// The failure that made the others stop.
fn first_cause(failures: Vec<BuildError>) -> Option<BuildError> {
    let is_effect = |error: &BuildError| {
        matches!(error, BuildError::Cancelled | BuildError::Step { error: StepError::Cancelled, .. })
    };
    let mut failures: Vec<_> = failures.into_iter().collect();
    failures.sort_by_key(is_effect);
    failures.into_iter().next()
}

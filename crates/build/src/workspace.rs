//! `<run root>/builds/<unique>/`: what running steps need outside the store, and what a killed build leaves to clean up.
//!
//! ```text
//! <unique>.lock            held by the build
//! <unique>/<step>/         step.json, secrets; named like the step's control group
//! <unique>/endpoint-<n>    a leased endpoint, as JSON
//! <unique>/hosts, resolv.conf
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use cgroup::{Cgroup, Hierarchy};
use net::{EndpointPlan, EndpointSource, Netns};
use store::Store;
use sys::fs::{FileLock, LockKind};

use crate::step::{self, PLAN_FILE};

/// The directory of one build; removed when dropped.
pub struct Workspace {
    path: PathBuf,
    lock_path: PathBuf,
    serial: AtomicU32,
    _lock: FileLock,
}

impl Workspace {
    /// Makes a directory below `builds` and holds its lock.
    pub fn create(builds: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(builds)?;
        loop {
            let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let (path, lock_path) = (builds.join(&name), builds.join(format!("{name}.lock")));
            let Some(lock) = FileLock::try_acquire(&lock_path, LockKind::Exclusive)? else { continue };
            // Nobody else's: a step's plan holds build arguments and secrets.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, lock_path, serial: AtomicU32::new(0), _lock: lock }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number no other step of this build has.
    pub fn next(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// The name, below the parent group, of the control group of `step`.
    pub fn group_name(&self, step: u32) -> String {
        let build = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("build-{build}-{step}")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if sys::fs::remove_tree(&self.path).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// The directories of cache mounts.
pub fn cache_mounts(store: &Store) -> PathBuf {
    store.data().join("cache-mounts")
}

/// Ends and removes what builds that were killed left behind. Nothing here is the caller's fault, so nothing here fails.
pub fn reconcile(builds: &Path, context: &net::Context, endpoints: &dyn EndpointSource) {
    let Ok(entries) = fs::read_dir(builds) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(Some(lock)) = FileLock::try_existing(&path, LockKind::Exclusive) else { continue };
        clean(&path.with_extension(""), context, endpoints);
        let _ = fs::remove_file(&path);
        drop(lock);
    }
}

fn clean(build: &Path, context: &net::Context, endpoints: &dyn EndpointSource) {
    let name = build.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Ok(hierarchy) = Hierarchy::usable() {
        let prefix = format!("{}/build-{name}-", context.owner());
        let ours = Cgroup::list(&hierarchy, &context.owner()).unwrap_or_default();
        let ours = ours.into_iter().filter(|group| group.name().starts_with(&prefix));
        let steps = fs::read_dir(build).into_iter().flatten().flatten();
        let plans = steps.filter_map(|step| step::read(&step.path().join(PLAN_FILE)).ok());
        let elsewhere = plans.filter(|plan| plan.group.is_absolute());
        let elsewhere = elsewhere.filter_map(|plan| step::find_group(&hierarchy, &plan.group).ok());
        for group in ours.chain(elsewhere) {
            let _ = group.kill_all();
            let _ = group.remove();
        }
    }
    for entry in fs::read_dir(build).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("endpoint-") {
            let plan = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(plan) = plan {
                let plan: EndpointPlan = plan;
                let _ = net::detach(context, &plan, Netns::Ending);
                endpoints.release(&plan);
            }
        }
    }
    let _ = sys::fs::remove_tree(build);
}

//! `up` and `create`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use diag::Failure;

use super::converge::Convergence;
use super::images::BuildWhen;
use super::instance::by_service;
use super::walk::{self, Graph};
use super::{Instance, Recreate, Scale, Stack};
use crate::model::Service;

/// `up`, and with `no_start` also `create`.
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// All enabled ones when empty.
    pub services: Vec<String>,
    /// Without what they depend on.
    pub no_deps: bool,
    /// `--build`.
    pub build: bool,
    /// `--no-build`.
    pub no_build: bool,
    /// `--pull`: instead of what services say.
    pub pull: Option<image::PullPolicy>,
    pub recreate: Recreate,
    /// `--always-recreate-deps`.
    pub recreate_deps: bool,
    /// `-V`.
    pub renew_anonymous_volumes: bool,
    pub remove_orphans: bool,
    pub scale: Scale,
    pub timeout_s: Option<i64>,
    pub no_start: bool,
    /// Come back when everything is running or healthy.
    pub wait: bool,
    pub wait_timeout: Option<Duration>,
    /// Stay, show output, and stop everything when interrupted; otherwise `-d`.
    pub attach: bool,
    /// Only the output of these; of all that do not say `attach: false` when empty.
    pub attach_only: Vec<String>,
    /// Not the output of these.
    pub no_attach: Vec<String>,
    pub abort_on_container_exit: bool,
    pub abort_on_container_failure: bool,
    /// Return the exit code of this service (implies `abort_on_container_exit`).
    pub exit_code_from: Option<String>,
}

/// How `up` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpResult {
    /// Everything runs; nobody is attached.
    Detached,
    /// The attached containers are done; the code of the one that counts.
    Finished(i32),
    /// The user interrupted it; everything is stopped.
    Interrupted,
}

impl Stack<'_> {
    /// Creates and starts the project, replacing only containers whose service has changed.
    pub fn up(&self, options: &UpOptions) -> Result<UpResult, Failure> {
        if let Some(service) = &options.exit_code_from {
            self.project.service(service)?;
        }
        let services = self.services(&options.services, options.no_deps)?;
        let when = match (options.build, options.no_build) {
            (true, _) => BuildWhen::Always,
            (_, true) => BuildWhen::Never,
            _ => BuildWhen::Missing,
        };
        for name in options.scale.keys() {
            self.project.service(name)?;
        }
        let mut existing = self.instances()?;
        self.handle_orphans(&existing, options)?;
        let images = self.ensure_images(&services, when, options.pull)?;
        if self.ensure_resources(&services, options.timeout_s)? {
            existing = self.instances()?;
        }

        let before: BTreeSet<String> = existing
            .iter()
            .filter(|instance| instance.is_running())
            .map(|instance| instance.id().to_owned())
            .collect();
        let begun_ns = engine::time::now_ns();
        let run = Convergence {
            existing: by_service(existing),
            images,
            recreate: options.recreate,
            recreate_dependencies: if options.recreate_deps { Recreate::Force } else { Recreate::Diverged },
            named: options.services.iter().cloned().collect(),
            scale: options.scale.clone(),
            timeout_s: options.timeout_s,
            renew_anonymous_volumes: options.renew_anonymous_volumes,
            start: !options.no_start,
            targets: Mutex::default(),
            renewed: Mutex::default(),
        };
        let converged = walk::first(walk::walk(&graph(&services), |name, gate| {
            self.converge(&run, self.project.service(name)?, gate)
        }));
        if options.attach && self.interrupt.is_raised() {
            self.stop_all(self.of(&services)?, options.timeout_s)?;
            return Ok(UpResult::Interrupted);
        }
        converged?;
        if options.wait {
            let deadline = options.wait_timeout.map(|timeout| Instant::now() + timeout);
            let targets = self.of(&services)?;
            walk::first(walk::each(&targets, |instance| self.await_ready(&instance.target(), deadline)))?;
        }
        if options.no_start || !options.attach {
            return Ok(UpResult::Detached);
        }
        self.attached(self.of(&services)?, options, &before, begun_ns)
    }

    /// The containers of `services`.
    fn of(&self, services: &[&Service]) -> Result<Vec<Instance>, Failure> {
        let mut instances = self.instances_of(&[])?;
        instances.retain(|instance| services.iter().any(|service| service.name == instance.service));
        Ok(instances)
    }

    fn handle_orphans(&self, existing: &[Instance], options: &UpOptions) -> Result<(), Failure> {
        let orphans: Vec<&Instance> = existing
            .iter()
            .filter(|instance| !instance.oneoff && !self.project.services.contains_key(&instance.service))
            .collect();
        let setting = |key: &str| {
            let value = self.project.environment.get(key).map(String::as_str);
            matches!(value, Some("1" | "true" | "TRUE" | "True"))
        };
        if orphans.is_empty() || setting("COMPOSE_IGNORE_ORPHANS") {
            return Ok(());
        }
        if options.remove_orphans || setting("COMPOSE_REMOVE_ORPHANS") {
            return walk::first(walk::each(&orphans, |orphan| {
                self.remove_instance(orphan, options.timeout_s)
            }));
        }
        let names: Vec<&str> = orphans.iter().map(|orphan| orphan.name()).collect();
        self.reporter.warning(&format!(
            "found orphan containers ([{}]) for this project; if you removed or renamed their service, \
             run this command with --remove-orphans to clean up",
            names.join(" ")
        ));
        Ok(())
    }
}

/// Who starts after whom among `services`.
pub(crate) fn graph(services: &[&Service]) -> Graph {
    services
        .iter()
        .map(|service| (service.name.clone(), service.depends_on.keys().cloned().collect()))
        .collect()
}

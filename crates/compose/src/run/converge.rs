//! From the containers a service has to the containers it should have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use diag::Failure;
use engine::model::{
    ContainerSpec, IpcMode, Labels, Mount, MountKind, MountSyntax, NamespaceMode, NetworkMode, RemoveOptions,
    StopOptions,
};

use super::instance::ByService;
use super::wait::Target;
use super::walk::{self, Gate};
use super::{Instance, Kind, Object, Scale, Stack, StackError, Status, label};
use crate::model::Service;

/// What to do with a container that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// Replace it when its service or image has changed.
    #[default]
    Diverged,
    /// Replace it anyhow.
    Force,
    /// Leave it as it is.
    Never,
}

/// One run of `up`, `create` or `run`, shared by the threads of its services.
pub(crate) struct Convergence {
    pub existing: ByService,
    /// Image id of each service that takes part.
    pub images: BTreeMap<String, String>,
    pub recreate: Recreate,
    pub recreate_dependencies: Recreate,
    /// The services the user named; the others are here because these need them.
    pub named: BTreeSet<String>,
    pub scale: Scale,
    pub timeout_s: Option<i64>,
    pub renew_anonymous_volumes: bool,
    pub start: bool,
    /// Containers of each service as far as it has got.
    pub targets: Mutex<BTreeMap<String, Vec<Target>>>,
    /// Services with a container that was replaced or started anew.
    pub renewed: Mutex<BTreeSet<String>>,
}

/// A container that the service keeps or got.
struct Slot {
    target: Target,
    running: bool,
    fresh: bool,
}

impl Convergence {
    fn targets_of(&self, service: &str) -> Vec<Target> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.get(service).cloned().unwrap_or_default()
    }

    fn was_renewed(&self, service: &str) -> bool {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).contains(service)
    }

    fn policy(&self, service: &str) -> Recreate {
        if self.named.is_empty() || self.named.contains(service) {
            self.recreate
        } else {
            self.recreate_dependencies
        }
    }
}

impl Stack<'_> {
    /// Brings `service` to its wanted containers and, if asked, starts them once its dependencies allow.
    pub(crate) fn converge(
        &self,
        run: &Convergence,
        service: &Service,
        gate: &Gate<'_>,
    ) -> Result<(), Failure> {
        let skipped = || Failure::from(StackError::Skipped { service: service.name.clone() });
        // A namespace can only be joined when its owner is there, so such a container is not even created before.
        let shares = shares_namespace(&service.container);
        if shares && !gate.pass() {
            return Err(skipped());
        }
        let free = run.start && service.depends_on.is_empty();
        let slots = self.slots(run, service, free)?;
        let targets = slots.iter().map(|slot| slot.target.clone()).collect();
        run.targets.lock().unwrap_or_else(PoisonError::into_inner).insert(service.name.clone(), targets);
        if slots.iter().any(|slot| slot.fresh) {
            run.renewed.lock().unwrap_or_else(PoisonError::into_inner).insert(service.name.clone());
        }
        if !run.start {
            return Ok(());
        }
        if !gate.pass() {
            return Err(skipped());
        }
        if slots.iter().any(|slot| !slot.running) {
            self.await_dependencies(run, service)?;
        }
        let restart =
            service.depends_on.iter().any(|(name, dependency)| dependency.restart && run.was_renewed(name));
        walk::first(walk::each(&slots, |slot| {
            if self.interrupt.is_raised() {
                return Err(StackError::Interrupted.into());
            }
            match (slot.running, restart) {
                (false, _) => self.start_target(&slot.target),
                (true, true) if !slot.fresh => self.restart_target(&slot.target, run.timeout_s),
                _ => Ok(()),
            }
        }))?;
        if restart {
            run.renewed.lock().unwrap_or_else(PoisonError::into_inner).insert(service.name.clone());
        }
        Ok(())
    }

    fn await_dependencies(&self, run: &Convergence, service: &Service) -> Result<(), Failure> {
        for (name, dependency) in &service.depends_on {
            // `--no-deps`, or an optional one whose profile is off.
            if !run.images.contains_key(name) {
                continue;
            }
            match self.await_condition(name, dependency.condition, &run.targets_of(name)) {
                Err(failure) if !dependency.required && !self.interrupt.is_raised() => {
                    self.reporter.warning(&format!("optional dependency {name}: {failure}"));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Creates, replaces and removes containers until there are as many as wanted.
    fn slots(&self, run: &Convergence, service: &Service, start: bool) -> Result<Vec<Slot>, Failure> {
        let wanted = run.scale.get(&service.name).copied().unwrap_or(service.replicas);
        if let Some(name) = service.container_name.as_ref().filter(|_| wanted > 1) {
            return Err(StackError::FixedName { service: service.name.clone(), name: name.clone() }.into());
        }
        let image = run.images.get(&service.name).map_or("", String::as_str);
        let mut existing: Vec<&Instance> = run
            .existing
            .get(&service.name)
            .into_iter()
            .flatten()
            .filter(|instance| !instance.oneoff)
            .collect();
        // Outdated ones go first when there are too many, then the highest numbers.
        existing.sort_by_key(|instance| (self.has_diverged(instance, service, image), instance.number));
        let keep = existing.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let superfluous = existing.split_off(keep);
        walk::first(walk::each(&superfluous, |instance| self.remove_instance(instance, run.timeout_s)))?;

        let mut next = existing.iter().map(|instance| instance.number).max().unwrap_or(0);
        let mut jobs: Vec<(u32, Option<&Instance>)> =
            existing.iter().map(|instance| (instance.number, Some(*instance))).collect();
        while jobs.len() < usize::try_from(wanted).unwrap_or(usize::MAX) {
            next += 1;
            jobs.push((next, None));
        }
        let slots = Mutex::new(Vec::new());
        walk::first(walk::each(&jobs, |(number, old)| {
            if self.interrupt.is_raised() {
                return Err(StackError::Interrupted.into());
            }
            let slot = match old {
                None => self.create_instance(service, *number, image, start)?,
                Some(old) => match run.policy(&service.name) {
                    Recreate::Never => keep_instance(old),
                    Recreate::Diverged if !self.has_diverged(old, service, image) => keep_instance(old),
                    _ => self.replace_instance(run, service, old, image)?,
                },
            };
            if slot.running && !slot.fresh {
                let object = Object { kind: Kind::Container, name: &slot.target.name };
                self.reporter.progress(object, Status::Done("Running"));
            }
            slots.lock().unwrap_or_else(PoisonError::into_inner).push((*number, slot));
            Ok(())
        }))?;
        let mut slots = slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        slots.sort_by_key(|(number, _)| *number);
        Ok(slots.into_iter().map(|(_, slot)| slot).collect())
    }

    fn has_diverged(&self, instance: &Instance, service: &Service, image: &str) -> bool {
        // Docker Compose's containers do not say what they refer to.
        let references = instance.container.labels.get(label::REFERENCES);
        instance.label(label::HASH) != service.hash
            || instance.label(label::IMAGE) != image
            || references.is_some_and(|references| *references != service.references)
    }

    fn create_instance(
        &self,
        service: &Service,
        number: u32,
        image: &str,
        start: bool,
    ) -> Result<Slot, Failure> {
        let name = service.container_name(&self.project.name, number);
        let object = Object { kind: Kind::Container, name: &name };
        let mut spec = self.container_spec(service, number, image)?;
        spec.name = Some(name.clone());
        self.reporter.progress(object, Status::Doing(if start { "Starting" } else { "Creating" }));
        let made = self.reported(object, || {
            let created = match start {
                true => self.engine.run_detached(spec).map_err(Failure::from)?,
                false => self.engine.create(spec).map_err(Failure::from)?,
            };
            created.warnings.iter().for_each(|warning| self.reporter.warning(warning));
            Ok(created.id)
        })?;
        self.reporter.progress(object, Status::Done(if start { "Started" } else { "Created" }));
        Ok(Slot { target: Target { id: made.as_str().to_owned(), name }, running: start, fresh: true })
    }

    /// Makes the new container under a name of its own first, so that the old one stays when that fails.
    fn replace_instance(
        &self,
        run: &Convergence,
        service: &Service,
        old: &Instance,
        image: &str,
    ) -> Result<Slot, Failure> {
        let name = service.container_name(&self.project.name, old.number);
        let object = Object { kind: Kind::Container, name: old.name() };
        self.reporter.progress(object, Status::Doing("Recreate"));
        let id = self.reported(object, || {
            let mut spec = self.container_spec(service, old.number, image)?;
            spec.name = Some(format!("{}_{name}", old.container.id.short()));
            if !run.renew_anonymous_volumes {
                self.inherit_volumes(&mut spec, old)?;
            }
            let id = self.engine.create(spec).map_err(Failure::from)?.id;
            let replaced = self.stop_instance(old, run.timeout_s).and_then(|()| {
                let options = RemoveOptions { force: true, volumes: run.renew_anonymous_volumes };
                self.engine.remove(old.id(), &options)?;
                self.engine.rename(id.as_str(), &name).map_err(Failure::from)
            });
            if let Err(failure) = replaced {
                let _ = self.engine.remove(id.as_str(), &RemoveOptions { force: true, volumes: false });
                return Err(failure);
            }
            Ok(id)
        })?;
        self.reporter.progress(object, Status::Done("Recreated"));
        Ok(Slot { target: Target { id: id.as_str().to_owned(), name }, running: false, fresh: true })
    }

    /// Mounts the anonymous volumes of `old` at the same places, so that their data outlives the container.
    fn inherit_volumes(&self, spec: &mut ContainerSpec, old: &Instance) -> Result<(), Failure> {
        for point in self.engine.inspect(old.id())?.mounts {
            let Some(name) = point.name.filter(|_| point.kind == "volume") else { continue };
            let named = spec.mounts.iter().any(|mount| {
                let anonymous = matches!(&mount.kind, MountKind::Volume { name: None, .. });
                mount.target == point.target && !anonymous
            });
            let declared = self.project.volumes.values().any(|volume| volume.name == name);
            if named || declared {
                continue;
            }
            let owners = spec.mounts.iter().find_map(|mount| match &mount.kind {
                MountKind::Volume { owners, .. } if mount.target == point.target => Some(owners.clone()),
                _ => None,
            });
            spec.mounts.retain(|mount| mount.target != point.target);
            spec.mounts.push(Mount {
                target: point.target,
                kind: MountKind::Volume {
                    name: Some(name),
                    no_copy: false,
                    subpath: None,
                    driver: None,
                    driver_opts: Labels::new(),
                    labels: Labels::new(),
                    owners: owners.unwrap_or_default(),
                },
                read_only: point.read_only,
                syntax: MountSyntax::Volume,
            });
        }
        Ok(())
    }

    /// The request for container `number` of `service`, without its name.
    pub(crate) fn container_spec(
        &self,
        service: &Service,
        number: u32,
        image: &str,
    ) -> Result<ContainerSpec, Failure> {
        let mut spec = service.container.clone();
        spec.image = service.image.clone();
        spec.mounts.extend(self.file_mounts(service)?);
        let project = self.project;
        let paths = |paths: &[std::path::PathBuf]| {
            paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(",")
        };
        for (key, value) in [
            (label::PROJECT, project.name.clone()),
            (label::SERVICE, service.name.clone()),
            (label::NUMBER, number.to_string()),
            (label::ONEOFF, "False".to_owned()),
            (label::HASH, service.hash.clone()),
            (label::REFERENCES, service.references.clone()),
            (label::IMAGE, image.to_owned()),
            (label::DEPENDS_ON, service.dependency_label()),
            (label::FILES, paths(&project.files)),
            (label::DIRECTORY, project.directory.to_string_lossy().into_owned()),
            (label::VERSION, label::VERSION_VALUE.to_owned()),
        ] {
            spec.labels.insert(key.to_owned(), value);
        }
        if !project.env_files.is_empty() {
            spec.labels.insert(label::ENV_FILES.to_owned(), paths(&project.env_files));
        }
        Ok(spec)
    }

    pub(crate) fn start_target(&self, target: &Target) -> Result<(), Failure> {
        let object = Object { kind: Kind::Container, name: &target.name };
        self.reporter.progress(object, Status::Doing("Starting"));
        let warnings = self.reported(object, || self.engine.start(&target.id).map_err(Failure::from))?;
        warnings.iter().for_each(|warning| self.reporter.warning(&format!("{}: {warning}", target.name)));
        self.reporter.progress(object, Status::Done("Started"));
        Ok(())
    }

    pub(crate) fn restart_target(&self, target: &Target, timeout_s: Option<i64>) -> Result<(), Failure> {
        let object = Object { kind: Kind::Container, name: &target.name };
        let options = StopOptions { timeout_s, signal: None };
        self.reporter.progress(object, Status::Doing("Restarting"));
        self.reported(object, || self.engine.restart(&target.id, &options).map_err(Failure::from))?;
        self.reporter.progress(object, Status::Done("Started"));
        Ok(())
    }

    /// Runs `step` and tells about its failure.
    pub(crate) fn reported<T>(
        &self,
        object: Object<'_>,
        step: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = step();
        if let Err(failure) = &result {
            self.reporter.progress(object, Status::Failed(&failure.to_string()));
        }
        result
    }
}

fn keep_instance(instance: &Instance) -> Slot {
    let target = Target { id: instance.id().to_owned(), name: instance.name().to_owned() };
    Slot { target, running: instance.is_running(), fresh: false }
}

/// Whether the container lives in a namespace of another container.
fn shares_namespace(spec: &ContainerSpec) -> bool {
    matches!(spec.network.mode, NetworkMode::Container(_))
        || matches!(spec.isolation.pid, NamespaceMode::Container(_))
        || matches!(spec.isolation.ipc, IpcMode::Container(_))
        || !spec.volumes_from.is_empty()
}

//! Verbs on containers that exist: start, stop, restart, kill, pause, remove, wait.

use std::collections::{BTreeMap, BTreeSet};

use diag::{Class, Failure};
use engine::model::{RemoveOptions, StopOptions, WaitCondition};

use super::instance::{ByService, by_service};
use super::wait::Target;
use super::walk::{self, Graph};
use super::{Instance, Kind, Object, Stack, StackError, Status};

/// `rm`.
#[derive(Clone, Debug, Default)]
pub struct RmOptions {
    pub services: Vec<String>,
    /// Stop running ones first; otherwise they stay.
    pub stop: bool,
    /// Remove their anonymous volumes too.
    pub volumes: bool,
}

/// `kill`.
#[derive(Clone, Debug, Default)]
pub struct KillOptions {
    /// All of the project's when there is none.
    pub services: Vec<String>,
    /// SIGKILL when absent.
    pub signal: Option<String>,
    /// Also containers of services the file does not have any more.
    pub orphans: bool,
}

/// Who was started after whom, from the labels of containers.
pub(crate) fn graph(instances: &ByService) -> Graph {
    instances
        .iter()
        .map(|(service, instances)| {
            let before = instances.iter().flat_map(Instance::dependencies).map(|(name, _)| name.to_owned());
            (service.clone(), before.filter(|name| name != service).collect())
        })
        .collect()
}

impl Stack<'_> {
    /// Starts stopped containers, each after what it depends on.
    pub fn start(&self, services: &[String]) -> Result<(), Failure> {
        let instances = self.instances_of(services)?;
        for service in services {
            if !instances.iter().any(|instance| instance.service == *service) {
                return Err(StackError::NoContainer { service: service.clone() }.into());
            }
        }
        let groups = by_service(instances);
        let targets: BTreeMap<&String, Vec<Target>> = groups
            .iter()
            .map(|(service, instances)| (service, instances.iter().map(Instance::target).collect()))
            .collect();
        walk::first(walk::walk(&graph(&groups), |name, gate| {
            if !gate.pass() {
                return Err(StackError::Skipped { service: name.to_owned() }.into());
            }
            let stopped: Vec<&Instance> =
                groups.get(name).into_iter().flatten().filter(|instance| !instance.is_running()).collect();
            if stopped.is_empty() {
                return Ok(());
            }
            if let Some(service) = self.project.services.get(name) {
                for (other, dependency) in &service.depends_on {
                    if let Some(targets) = targets.get(other) {
                        self.await_condition(other, dependency.condition, targets)?;
                    }
                }
            }
            walk::first(walk::each(&stopped, |instance| self.start_target(&instance.target())))
        }))
    }

    /// Stops containers, each after what depends on it.
    pub fn stop(&self, services: &[String], timeout_s: Option<i64>) -> Result<(), Failure> {
        let instances = self.instances_of(services)?;
        self.stop_all(instances, timeout_s)
    }

    pub(crate) fn stop_all(&self, instances: Vec<Instance>, timeout_s: Option<i64>) -> Result<(), Failure> {
        let groups = by_service(instances);
        // What depends on a service is gone first, whether that went well or not.
        walk::first(walk::walk(&walk::reversed(&graph(&groups)), |name, gate| {
            gate.pass();
            let instances: Vec<&Instance> = groups.get(name).into_iter().flatten().collect();
            walk::first(walk::each(&instances, |instance| self.stop_instance(instance, timeout_s)))
        }))
    }

    pub(crate) fn stop_instance(&self, instance: &Instance, timeout_s: Option<i64>) -> Result<(), Failure> {
        if !instance.is_running() {
            return Ok(());
        }
        let object = instance.object();
        self.reporter.progress(object, Status::Doing("Stopping"));
        let options = StopOptions { timeout_s, signal: None };
        self.reported(object, || {
            gone_is_fine(self.engine.stop(instance.id(), &options).map(drop).map_err(Failure::from))
        })?;
        self.reporter.progress(object, Status::Done("Stopped"));
        Ok(())
    }

    pub(crate) fn remove_instance(&self, instance: &Instance, timeout_s: Option<i64>) -> Result<(), Failure> {
        self.stop_instance(instance, timeout_s)?;
        self.remove_stopped(instance, false)
    }

    fn remove_stopped(&self, instance: &Instance, volumes: bool) -> Result<(), Failure> {
        let object = instance.object();
        self.reporter.progress(object, Status::Doing("Removing"));
        let options = RemoveOptions { force: true, volumes };
        self.reported(object, || {
            gone_is_fine(self.engine.remove(instance.id(), &options).map(drop).map_err(Failure::from))
        })?;
        self.reporter.progress(object, Status::Done("Removed"));
        Ok(())
    }

    /// Restarts containers in dependency order, and what wants to be restarted along unless `no_deps`.
    pub fn restart(&self, services: &[String], timeout_s: Option<i64>, no_deps: bool) -> Result<(), Failure> {
        let mut instances = self.instances_of(&[])?;
        self.instances_of(services)?;
        if !services.is_empty() {
            let mut wanted: BTreeSet<String> = services.iter().cloned().collect();
            let mut grown = !no_deps;
            while grown {
                let more: Vec<String> = instances
                    .iter()
                    .filter(|instance| !wanted.contains(&instance.service))
                    .filter(|instance| {
                        instance.dependencies().any(|(name, restart)| restart && wanted.contains(name))
                    })
                    .map(|instance| instance.service.clone())
                    .collect();
                grown = !more.is_empty();
                wanted.extend(more);
            }
            instances.retain(|instance| wanted.contains(&instance.service));
        }
        let groups = by_service(instances);
        walk::first(walk::walk(&graph(&groups), |name, gate| {
            if !gate.pass() {
                return Err(StackError::Skipped { service: name.to_owned() }.into());
            }
            let instances: Vec<&Instance> = groups.get(name).into_iter().flatten().collect();
            walk::first(walk::each(&instances, |instance| self.restart_target(&instance.target(), timeout_s)))
        }))
    }

    /// Sends a signal to running containers.
    pub fn kill(&self, options: &KillOptions) -> Result<(), Failure> {
        let mut running = self.running(&options.services)?;
        // Without a file the project is what its containers say, and whoever names one means it.
        let everything = options.orphans || self.project.services.is_empty() || !options.services.is_empty();
        running.retain(|instance| everything || self.project.services.contains_key(&instance.service));
        walk::first(walk::each(&running, |instance| {
            let object = instance.object();
            self.reporter.progress(object, Status::Doing("Killing"));
            let signal = options.signal.as_deref().unwrap_or("SIGKILL");
            self.reported(object, || {
                gone_is_fine(self.engine.kill(instance.id(), signal).map_err(Failure::from))
            })?;
            self.reporter.progress(object, Status::Done("Killed"));
            Ok(())
        }))
    }

    /// Freezes running containers.
    pub fn pause(&self, services: &[String]) -> Result<(), Failure> {
        let running = self.running(services)?;
        walk::first(walk::each(&running, |instance| {
            self.reported(instance.object(), || self.engine.pause(instance.id()).map_err(Failure::from))?;
            self.reporter.progress(instance.object(), Status::Done("Paused"));
            Ok(())
        }))
    }

    /// Thaws paused containers.
    pub fn unpause(&self, services: &[String]) -> Result<(), Failure> {
        let running = self.running(services)?;
        walk::first(walk::each(&running, |instance| {
            if !instance.is_paused() {
                return Ok(());
            }
            self.reported(instance.object(), || self.engine.unpause(instance.id()).map_err(Failure::from))?;
            self.reporter.progress(instance.object(), Status::Done("Unpaused"));
            Ok(())
        }))
    }

    fn running(&self, services: &[String]) -> Result<Vec<Instance>, Failure> {
        let mut instances = self.instances_of(services)?;
        instances.retain(Instance::is_running);
        Ok(instances)
    }

    /// What [`Stack::remove_stopped_containers`] would remove, for the question before it.
    pub fn removable(&self, options: &RmOptions) -> Result<Vec<Instance>, Failure> {
        let mut instances = self.instances_of(&options.services)?;
        instances.retain(|instance| options.stop || !instance.is_running());
        Ok(instances)
    }

    /// `rm`: removes stopped containers; returns how many.
    pub fn rm(&self, options: &RmOptions) -> Result<usize, Failure> {
        let instances = self.removable(options)?;
        if options.stop {
            self.stop_all(instances.clone(), None)?;
        }
        walk::first(walk::each(&instances, |instance| self.remove_stopped(instance, options.volumes)))?;
        Ok(instances.len())
    }

    /// Waits until the first containers of `services` have stopped; their names and exit codes.
    pub fn wait(&self, services: &[String]) -> Result<Vec<(String, i32)>, Failure> {
        let instances = self.instances_of(services)?;
        for service in services {
            if !instances.iter().any(|instance| instance.service == *service) {
                return Err(StackError::NoContainer { service: service.clone() }.into());
            }
        }
        let codes = std::sync::Mutex::new(BTreeMap::new());
        walk::first(walk::each(&instances, |instance| {
            let code = self.engine.wait(instance.id(), WaitCondition::NotRunning)?;
            if let Ok(mut codes) = codes.lock() {
                codes.insert(instance.name().to_owned(), code);
            }
            Ok(())
        }))?;
        Ok(codes.into_inner().unwrap_or_default().into_iter().collect())
    }
}

impl Instance {
    pub(crate) fn target(&self) -> Target {
        Target { id: self.id().to_owned(), name: self.name().to_owned() }
    }

    pub(crate) fn object(&self) -> Object<'_> {
        Object { kind: Kind::Container, name: self.name() }
    }
}

/// A container that went away meanwhile (or stopped by itself) is where it should be.
pub(crate) fn gone_is_fine(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.class() == Class::NotFound => Ok(()),
        other => other,
    }
}

//! `run`: one more container of a service, for one command.

use std::fmt::Write as _;
use std::io::Read as _;

use diag::Failure;
use engine::model::{ContainerSpec, Mount, NetworkMode, PortMapping, RestartPolicy};

use super::images::BuildWhen;
use super::{Recreate, Stack, UpOptions, label};
use crate::model::Service;

/// `run`.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    pub service: String,
    /// Instead of the service's command.
    pub command: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=value`, over the service's.
    pub env: Vec<String>,
    pub labels: Vec<(String, String)>,
    pub name: Option<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub mounts: Vec<Mount>,
    pub publish: Vec<PortMapping>,
    /// Publish the service's ports too.
    pub service_ports: bool,
    /// Answer to the service's names too.
    pub use_aliases: bool,
    pub no_deps: bool,
    pub build: bool,
    /// `--pull`: instead of what the service says.
    pub pull: Option<image::PullPolicy>,
    pub remove: bool,
    pub remove_orphans: bool,
    pub tty: bool,
    pub interactive: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
}

/// A container to run; everything it needs is there.
#[derive(Clone, Debug)]
pub struct OneOff {
    pub spec: ContainerSpec,
}

impl Stack<'_> {
    /// Starts what the service depends on, makes networks and volumes, and says what to run.
    pub fn one_off(&self, options: &RunOptions) -> Result<OneOff, Failure> {
        let service = self.project.enabled_service(&options.service)?;
        if !options.no_deps && !service.depends_on.is_empty() {
            self.up(&UpOptions {
                services: self.enabled_dependencies(service),
                recreate: Recreate::Diverged,
                remove_orphans: options.remove_orphans,
                ..UpOptions::default()
            })?;
            self.await_for(service)?;
        }
        let when = if options.build { BuildWhen::Always } else { BuildWhen::Missing };
        let images = self.ensure_images(&[service], when, options.pull)?;
        self.ensure_resources(&[service], None)?;
        let image = images.get(&service.name).map_or("", String::as_str);
        let mut spec = self.container_spec(service, 1, image)?;
        let slug = slug();
        let own = || format!("{}-{}-run-{slug}", self.project.name, service.name);
        spec.name = Some(options.name.clone().unwrap_or_else(own));
        spec.labels.insert(label::ONEOFF.into(), "True".into());
        spec.labels.remove(label::HASH);
        spec.labels.extend(options.labels.iter().cloned());
        adjust(&mut spec, options);
        Ok(OneOff { spec })
    }

    fn enabled_dependencies(&self, service: &Service) -> Vec<String> {
        let enabled =
            |name: &&String| self.project.services.get(*name).is_some_and(|service| service.enabled);
        service.depends_on.keys().filter(enabled).cloned().collect()
    }

    /// Waits for the conditions of `service`.
    fn await_for(&self, service: &Service) -> Result<(), Failure> {
        for (name, dependency) in &service.depends_on {
            let instances = self.instances_of(&[])?;
            let targets: Vec<_> = instances
                .iter()
                .filter(|instance| instance.service == *name)
                .map(super::Instance::target)
                .collect();
            if !targets.is_empty() || dependency.required {
                self.await_condition(name, dependency.condition, &targets)?;
            }
        }
        Ok(())
    }
}

fn adjust(spec: &mut ContainerSpec, options: &RunOptions) {
    spec.restart = RestartPolicy::No;
    spec.auto_remove = options.remove;
    if let Some(entrypoint) = &options.entrypoint {
        spec.process.entrypoint = Some(entrypoint.clone());
        spec.process.command = None;
    }
    if !options.command.is_empty() {
        spec.process.command = Some(options.command.clone());
    }
    for assignment in &options.env {
        let key = assignment.split('=').next().unwrap_or_default();
        spec.process.env.retain(|own| own.split('=').next() != Some(key));
        spec.process.env.push(assignment.clone());
    }
    if options.user.is_some() {
        spec.process.user.clone_from(&options.user);
    }
    if options.working_dir.is_some() {
        spec.process.working_dir.clone_from(&options.working_dir);
    }
    spec.process.tty = options.tty;
    spec.process.open_stdin = options.interactive;
    spec.process.stdin_once = options.interactive;
    spec.isolation.cap_add.extend(options.cap_add.iter().cloned());
    spec.isolation.cap_drop.extend(options.cap_drop.iter().cloned());
    spec.mounts.retain(|mount| !options.mounts.iter().any(|own| own.target == mount.target));
    spec.mounts.extend(options.mounts.iter().cloned());
    if !options.service_ports {
        spec.network.publish.clear();
    }
    spec.network.publish.extend(options.publish.iter().cloned());
    if let NetworkMode::Networks(endpoints) = &mut spec.network.mode {
        for endpoint in endpoints {
            // A service's fixed address belongs to its own container.
            endpoint.ipv4 = None;
            endpoint.mac = None;
            if !options.use_aliases {
                endpoint.aliases.clear();
            }
        }
    }
}

/// Twelve random hexadecimal digits.
fn slug() -> String {
    let mut bytes = [0; 6];
    // Without randomness the name may collide, which the engine says clearly.
    let _ = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

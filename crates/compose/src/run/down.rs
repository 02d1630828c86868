//! `down`: away with everything the project made.

use std::collections::BTreeSet;

use diag::{Class, Failure};
use engine::model::{Filters, RemoveOptions};

use super::lifecycle::gone_is_fine;
use super::{Kind, Object, Stack, Status, label, walk};

/// `down`.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// Only these services; networks and volumes stay when others still use them.
    pub services: Vec<String>,
    /// Containers of services the file does not have any more go too.
    pub remove_orphans: bool,
    /// Named volumes of the project and anonymous ones of its containers.
    pub volumes: bool,
    pub images: RemoveImages,
    pub timeout_s: Option<i64>,
}

/// `--rmi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoveImages {
    #[default]
    None,
    /// Images built for services that give them no name.
    Local,
    /// Images of every service.
    All,
}

impl Stack<'_> {
    /// Stops and removes containers, then networks, and what else is asked for.
    pub fn down(&self, options: &DownOptions) -> Result<(), Failure> {
        let all = self.instances()?;
        let only: BTreeSet<&String> = options.services.iter().collect();
        // Without a file the project is what its containers say.
        let everything = options.remove_orphans || self.project.services.is_empty();
        let (going, staying): (Vec<_>, Vec<_>) = all.into_iter().partition(|instance| {
            let known = everything || self.project.services.contains_key(&instance.service);
            known && (only.is_empty() || only.contains(&instance.service))
        });
        if going.is_empty() && only.is_empty() && self.project.services.is_empty() {
            self.reporter
                .warning(&format!("no resource found to remove for project {:?}", self.project.name));
        }
        let stopped = self.stop_all(going.clone(), options.timeout_s);
        let ids: Vec<String> = going.iter().map(|instance| instance.id().to_owned()).collect();
        going
            .iter()
            .for_each(|instance| self.reporter.progress(instance.object(), Status::Doing("Removing")));
        let removal = RemoveOptions { force: true, volumes: options.volumes };
        let mut failures = Vec::new();
        for (instance, result) in going.iter().zip(self.engine.remove_many(&ids, &removal)) {
            match gone_is_fine(result.map(drop)) {
                Ok(()) => self.reporter.progress(instance.object(), Status::Done("Removed")),
                Err(failure) => {
                    self.reporter.progress(instance.object(), Status::Failed(&failure.to_string()));
                    failures.push(failure);
                }
            }
        }
        // A container that could not be stopped gracefully but is gone now is no failure.
        if !failures.is_empty() {
            stopped?;
        }
        walk::first(failures)?;
        if options.services.is_empty() {
            self.remove_networks()?;
            if options.volumes {
                self.remove_volumes()?;
            }
            if staying.is_empty() {
                let _ = std::fs::remove_dir_all(self.files_directory());
            }
        }
        self.remove_images(options)
    }

    fn own(&self) -> Filters {
        let mut filters = Filters::default();
        filters.add("label", format!("{}={}", label::PROJECT, self.project.name));
        filters
    }

    fn remove_networks(&self) -> Result<(), Failure> {
        let networks = self.engine.networks(&self.own())?;
        walk::first(walk::each(&networks, |network| {
            let object = Object { kind: Kind::Network, name: &network.name };
            self.reporter.progress(object, Status::Doing("Removing"));
            match self.engine.network_remove(&network.name).map(drop).map_err(Failure::from) {
                // Somebody else's container is on it: it stays, as with Docker Compose.
                Err(failure) if failure.class() == Class::Conflict => {
                    self.reporter.warning(&failure.to_string());
                    self.reporter.progress(object, Status::Done("Resource is still in use"));
                    return Ok(());
                }
                other => self.reported(object, || gone_is_fine(other))?,
            }
            self.reporter.progress(object, Status::Done("Removed"));
            Ok(())
        }))
    }

    fn remove_volumes(&self) -> Result<(), Failure> {
        let mut names: BTreeSet<String> =
            self.engine.volumes(&self.own())?.into_iter().map(|volume| volume.name).collect();
        let declared = self.project.volumes.values().filter(|volume| !volume.external);
        names.extend(declared.map(|volume| volume.name.clone()));
        for name in names {
            let object = Object { kind: Kind::Volume, name: &name };
            match self.engine.volume_remove(&name, false).map(drop).map_err(Failure::from) {
                Ok(()) => self.reporter.progress(object, Status::Done("Removed")),
                Err(failure) if failure.class() == Class::NotFound => {}
                Err(failure) if failure.class() == Class::Conflict => {
                    self.reporter.warning(&failure.to_string());
                    self.reporter.progress(object, Status::Done("Resource is still in use"));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn remove_images(&self, options: &DownOptions) -> Result<(), Failure> {
        let services = self.project.enabled().filter(|service| match options.images {
            RemoveImages::None => false,
            RemoveImages::Local => service.image_is_implied(self.project),
            RemoveImages::All => true,
        });
        let images: BTreeSet<&str> = services.map(|service| service.image.as_str()).collect();
        for name in images {
            let object = Object { kind: Kind::Image, name };
            match self.engine.image_remove(name, false).map(drop).map_err(Failure::from) {
                Ok(()) => self.reporter.progress(object, Status::Done("Removed")),
                Err(failure) if failure.class() == Class::NotFound => {}
                Err(failure) if failure.class() == Class::Conflict => {
                    self.reporter.warning(&failure.to_string())
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

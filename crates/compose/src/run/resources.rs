//! Networks and volumes of a project.

use std::collections::BTreeSet;

use diag::Failure;
use engine::model::{Filters, Labels, Status as ContainerStatus, VolumeInfo, VolumeSpec};

use super::{Instance, Kind, Object, Stack, StackError, Status, label, walk};
use crate::model::{Network, Service, Volume};

impl Stack<'_> {
    /// Makes the networks and volumes that `services` use and that do not exist; networks that are to be different now are made
    /// anew. True when that stopped containers.
    pub(crate) fn ensure_resources(
        &self,
        services: &[&Service],
        timeout_s: Option<i64>,
    ) -> Result<bool, Failure> {
        let networks: BTreeSet<&String> = services.iter().flat_map(|service| &service.networks).collect();
        let volumes: BTreeSet<&String> = services.iter().flat_map(|service| &service.volumes).collect();
        let networks: Vec<&Network> =
            networks.into_iter().filter_map(|key| self.project.networks.get(key)).collect();
        let volumes: Vec<&Volume> =
            volumes.into_iter().filter_map(|key| self.project.volumes.get(key)).collect();
        let mut known = match networks.is_empty() {
            true => Vec::new(),
            false => self.engine.networks(&Filters::default())?,
        };
        // What others have to make comes first: without it nothing is made here either.
        for network in networks.iter().filter(|network| network.external) {
            let name = &network.spec.name;
            if !known.iter().any(|info| info.name == *name) {
                return Err(StackError::ExternalMissing { kind: "network", name: name.clone() }.into());
            }
        }
        for volume in volumes.iter().filter(|volume| volume.external) {
            if self.existing_volume(&volume.name)?.is_none() {
                let name = volume.name.clone();
                return Err(StackError::ExternalMissing { kind: "volume", name }.into());
            }
        }
        let mut stopped = Vec::new();
        for network in networks.iter().filter(|network| !network.external) {
            let name = &network.spec.name;
            let Some(info) = known.iter().find(|info| info.name == *name) else { continue };
            self.check_owner("network", name, &info.labels, label::NETWORK, &network.key)?;
            if info.labels.get(label::HASH).is_some_and(|made_with| *made_with != network.hash) {
                stopped.extend(self.remove_changed(name, timeout_s)?);
                known.retain(|info| info.name != *name);
            }
        }
        let missing: Vec<&Network> = networks
            .into_iter()
            .filter(|network| !known.iter().any(|info| info.name == network.spec.name))
            .collect();
        walk::first(walk::each(&missing, |network| self.create_network(network)))?;
        for volume in volumes.into_iter().filter(|volume| !volume.external) {
            self.ensure_volume(volume)?;
        }
        // Those of `services` are started by whoever asked; the others only had to make way.
        let bystanders: Vec<&Instance> = stopped
            .iter()
            .filter(|instance| !services.iter().any(|service| service.name == instance.service))
            .collect();
        walk::first(walk::each(&bystanders, |instance| self.start_target(&instance.target())))?;
        Ok(!stopped.is_empty())
    }

    /// Removes a network that is to be different now; the project's containers that ran on it are stopped and returned.
    fn remove_changed(&self, name: &str, timeout_s: Option<i64>) -> Result<Vec<Instance>, Failure> {
        let running = self.engine.network_inspect(name)?.containers;
        let mut others: BTreeSet<String> = running.into_iter().map(|(id, ..)| id.to_string()).collect();
        let (mut stopped, mut never_ran) = (Vec::new(), Vec::new());
        for instance in self.instances()?.into_iter().filter(|instance| !instance.oneoff) {
            if others.remove(instance.id()) {
                stopped.push(instance);
            } else if instance.container.state.status == ContainerStatus::Created
                && instance.container.networks.contains_key(name)
            {
                never_ran.push(instance);
            }
        }
        if let Some(other) = others.into_iter().next() {
            let container = self.engine.inspect(&other)?.name;
            return Err(StackError::NetworkChanged { name: name.to_owned(), container }.into());
        }
        self.stop_all(stopped.clone(), timeout_s)?;
        // They hold their place although there is nothing in them to lose.
        never_ran.iter().try_for_each(|instance| self.remove_instance(instance, timeout_s))?;
        let object = Object { kind: Kind::Network, name };
        self.reporter.progress(object, Status::Doing("Removing"));
        self.reported(object, || self.engine.network_remove(name).map(drop).map_err(Failure::from))?;
        self.reporter.progress(object, Status::Done("Removed"));
        Ok(stopped)
    }

    fn create_network(&self, network: &Network) -> Result<(), Failure> {
        let object = Object { kind: Kind::Network, name: &network.spec.name };
        self.reporter.progress(object, Status::Doing("Creating"));
        let mut spec = network.spec.clone();
        spec.labels.extend(self.object_labels(label::NETWORK, &network.key));
        spec.labels.insert(label::HASH.into(), network.hash.clone());
        self.reported(object, || self.engine.network_create(spec.clone()).map(drop).map_err(Failure::from))?;
        self.reporter.progress(object, Status::Done("Created"));
        Ok(())
    }

    fn existing_volume(&self, name: &str) -> Result<Option<VolumeInfo>, Failure> {
        match self.engine.volume_inspect(name).map_err(Failure::from) {
            Ok(info) => Ok(Some(info)),
            Err(failure) if failure.class() == diag::Class::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn ensure_volume(&self, volume: &Volume) -> Result<(), Failure> {
        let name = volume.name.clone();
        let object = Object { kind: Kind::Volume, name: &name };
        if let Some(info) = self.existing_volume(&name)? {
            self.check_owner("volume", &name, &info.labels, label::VOLUME, &volume.key)?;
            if info.options != volume.spec.driver_opts {
                let key = &volume.key;
                self.reporter.warning(&format!(
                    "volume {name} exists with other driver_opts than {key} has now; they count after `down -v`"
                ));
            }
            return Ok(());
        }
        self.reporter.progress(object, Status::Doing("Creating"));
        make_bound_directory(&volume.spec)?;
        let mut spec = volume.spec.clone();
        spec.labels.extend(self.object_labels(label::VOLUME, &volume.key));
        self.engine.volume_create(spec)?;
        self.reporter.progress(object, Status::Done("Created"));
        Ok(())
    }

    /// An object with our name must be ours: same project, same key.
    fn check_owner(
        &self,
        kind: &'static str,
        name: &str,
        labels: &Labels,
        key_label: &str,
        key: &str,
    ) -> Result<(), StackError> {
        let project = &self.project.name;
        match (labels.get(label::PROJECT), labels.get(key_label)) {
            (Some(owner), Some(made_for)) if owner == project && made_for == key => Ok(()),
            _ => Err(StackError::Foreign { kind, name: name.to_owned(), project: project.clone() }),
        }
    }

    fn object_labels(&self, key_label: &str, key: &str) -> [(String, String); 3] {
        [
            (label::PROJECT.into(), self.project.name.clone()),
            (key_label.into(), key.to_owned()),
            (label::VERSION.into(), label::VERSION_VALUE.into()),
        ]
    }
}

/// A volume that binds a directory gets that directory.
fn make_bound_directory(spec: &VolumeSpec) -> Result<(), StackError> {
    let option = |key: &str| spec.driver_opts.get(key).map_or("", String::as_str);
    let bind = option("o").split(',').any(|word| matches!(word.trim(), "bind" | "rbind"));
    let device = std::path::Path::new(option("device"));
    if !bind || !device.is_absolute() || device.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(device).map_err(|source| StackError::Write { path: device.to_owned(), source })
}

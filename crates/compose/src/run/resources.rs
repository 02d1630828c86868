//! Networks and volumes of a project.

use std::collections::BTreeSet;

use diag::Failure;
use engine::model::{Filters, Labels, NetworkInfo, NetworkSpec, VolumeSpec};
use sha2::{Digest as _, Sha256};

use super::{Kind, Object, Stack, StackError, Status, label, walk};
use crate::model::{Network, Service, Volume};

impl Stack<'_> {
    /// Makes the networks and volumes that `services` use and that do not exist.
    pub(crate) fn ensure_resources(&self, services: &[&Service]) -> Result<(), Failure> {
        let networks: BTreeSet<&String> = services.iter().flat_map(|service| &service.networks).collect();
        let volumes: BTreeSet<&String> = services.iter().flat_map(|service| &service.volumes).collect();
        if !networks.is_empty() {
            let known = self.engine.networks(&Filters::default())?;
            let networks: Vec<&Network> =
                networks.into_iter().filter_map(|key| self.project.networks.get(key)).collect();
            walk::first(walk::each(&networks, |network| self.ensure_network(network, &known)))?;
        }
        for volume in volumes.into_iter().filter_map(|key| self.project.volumes.get(key)) {
            self.ensure_volume(volume)?;
        }
        Ok(())
    }

    fn ensure_network(&self, network: &Network, known: &[NetworkInfo]) -> Result<(), Failure> {
        let name = network.spec.name.clone();
        let object = Object { kind: Kind::Network, name: &name };
        let existing = known.iter().find(|info| info.name == name);
        if network.external {
            return match existing {
                Some(_) => Ok(()),
                None => Err(StackError::ExternalMissing { kind: "network", name }.into()),
            };
        }
        let hash = network_hash(&network.spec);
        if let Some(info) = existing {
            self.check_owner("network", &name, &info.labels, label::NETWORK, &network.key)?;
            let made_with = info.labels.get(label::HASH);
            if made_with.is_none_or(|made_with| *made_with == hash) {
                return Ok(());
            }
            let inspected = self.engine.network_inspect(&name)?;
            if let Some((_, container, _)) = inspected.containers.into_iter().next() {
                return Err(StackError::NetworkChanged { name, container }.into());
            }
            self.engine.network_remove(&name)?;
        }
        self.reporter.progress(object, Status::Doing("Creating"));
        let mut spec = network.spec.clone();
        spec.labels.extend(self.object_labels(label::NETWORK, &network.key));
        spec.labels.insert(label::HASH.into(), hash);
        self.engine.network_create(spec)?;
        self.reporter.progress(object, Status::Done("Created"));
        Ok(())
    }

    fn ensure_volume(&self, volume: &Volume) -> Result<(), Failure> {
        let name = volume.name.clone();
        let object = Object { kind: Kind::Volume, name: &name };
        let existing = match self.engine.volume_inspect(&name) {
            Ok(info) => Some(info),
            Err(error) => {
                let failure = Failure::from(error);
                if failure.class() != diag::Class::NotFound {
                    return Err(failure);
                }
                None
            }
        };
        if volume.external {
            return match existing {
                Some(_) => Ok(()),
                None => Err(StackError::ExternalMissing { kind: "volume", name }.into()),
            };
        }
        if let Some(info) = existing {
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

/// Digest of what a network was made from.
fn network_hash(spec: &NetworkSpec) -> String {
    let text = serde_json::to_string(spec).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

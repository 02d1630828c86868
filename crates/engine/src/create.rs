//! Creating a container: everything is validated and resolved before anything is made.
//!
//! ```text
//! validate -> image -> references to other containers -> merge -> mounts   refuse, make nothing
//! transaction: name, addresses, volumes, record                            all or nothing
//! directories, volumes filled from the image                               undone when they fail
//! ```

mod endpoints;
mod error;
mod merge;
mod mounts;
pub(crate) mod validate;

pub use error::CreateError;
pub use validate::{InvalidSpec, spec as check};

pub(crate) use endpoints::lease;
pub(crate) use merge::{argv, env_key};
pub(crate) use mounts::is_anonymous_name;

use crate::engine::Engine;
use crate::model::{ContainerId, ContainerSpec, IpcMode, MountKind, NamespaceMode, NetworkMode};
use crate::network::{self, NetworkError};
use crate::record::{Container, ContainerDoc, MountSource};
use crate::{events, ids, names, time};
use image::Image;
use std::path::PathBuf;
use store::Durability;
use store::db::containers::{self, NameError};
use store::db::volumes;

/// A created container.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What the user should know although it is no error.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Creates a container without starting it.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left of a container that could not be created.
    pub fn create(&self, spec: ContainerSpec) -> Result<Created, CreateError> {
        validate::spec(&spec)?;
        let id = ContainerId::from_string(ids::random().map_err(CreateError::Random)?);
        let (container, warnings) = self.create_validated(id, spec)?;
        Ok(Created { id: container.id, name: container.name, warnings })
    }

    /// Creates the container `id` from a request that [`validate::spec`] has accepted.
    pub(crate) fn create_validated(
        &self,
        id: ContainerId,
        mut spec: ContainerSpec,
    ) -> Result<(Container, Vec<String>), CreateError> {
        // Held until a row names the layers, so that the collector cannot take them in between.
        let content = self.store().lock_shared()?;
        let image = self.images().resolve(&spec.image)?;
        self.settle_references(&mut spec)?;
        merge::image_config(&mut spec, &image.config.config)?;
        let mounts = mounts::resolve(&spec.mounts)?;
        self.check_devices(&spec)?;
        let warnings = warnings(&spec);
        let wanted = endpoints::wanted(&spec.network.mode);
        if wanted.iter().any(|endpoint| endpoint.network == network::DEFAULT_NETWORK) {
            self.ensure_default_network()?;
        }
        mounts::create_sources(&spec.mounts)?;
        let shell = spec.process.shell.clone().or_else(|| image.config.config.shell.clone());
        let name = spec.name.take().map(|name| name.strip_prefix('/').map_or(name.clone(), str::to_owned));
        let doc = ContainerDoc { spec, shell, mounts, endpoints: Vec::new() };
        let mut container = Container {
            id,
            name: String::new(),
            created_ns: time::now_ns(),
            image: Some(image.id),
            layers: image.diff_ids.clone(),
            doc,
        };
        let made = self.insert(&mut container, name, &wanted)?;
        drop(content);
        if let Err(error) = self.materialise(&container, &image) {
            self.uncreate(&container, &made);
            return Err(error);
        }
        for volume in &made {
            self.emit(&events::volume(volume, "create"));
        }
        self.emit(&events::container(&container, "create"));
        Ok((container, warnings))
    }

    /// Replaces names of other containers by ids, and takes over the mounts of `--volumes-from`.
    fn settle_references(&self, spec: &mut ContainerSpec) -> Result<(), CreateError> {
        if let NetworkMode::Networks(endpoints) = &spec.network.mode
            && let [only] = endpoints.as_slice()
        {
            // Faces may pass any `--network` value as a network's name.
            let mode = match only.network.split_once(':') {
                _ if only.network == "host" => Some(NetworkMode::Host),
                _ if only.network == "none" => Some(NetworkMode::None),
                Some(("container", other)) => Some(NetworkMode::Container(other.to_owned())),
                _ => None,
            };
            spec.network.mode = mode.unwrap_or_else(|| spec.network.mode.clone());
        }
        if let NetworkMode::Container(other) = &mut spec.network.mode {
            *other = self.find(other)?.id.to_string();
        }
        if let NamespaceMode::Container(other) = &mut spec.isolation.pid {
            *other = self.find(other)?.id.to_string();
        }
        if let IpcMode::Container(other) = &mut spec.isolation.ipc {
            *other = self.find(other)?.id.to_string();
        }
        for from in spec.volumes_from.clone() {
            let (other, option) = from.split_once(':').unwrap_or((&from, ""));
            for mount in mounts::volumes_from(&self.find(other)?, option)? {
                if !spec.mounts.iter().any(|own| own.target == mount.target) {
                    spec.mounts.push(mount);
                }
            }
        }
        Ok(())
    }

    fn check_devices(&self, spec: &ContainerSpec) -> Result<(), CreateError> {
        for device in &spec.isolation.devices {
            if !device.host.exists() {
                return Err(CreateError::Device { path: device.host.clone() });
            }
        }
        Ok(())
    }

    /// The one transaction of a creation; returns the volumes it made.
    fn insert(
        &self,
        container: &mut Container,
        name: Option<String>,
        wanted: &[crate::model::EndpointSpec],
    ) -> Result<Vec<String>, CreateError> {
        // What is gone after its exit anyway need not survive a power cut.
        let durability = if container.doc.spec.auto_remove { Durability::Relaxed } else { Durability::Full };
        self.store().database().write(durability, |writer| {
            container.name = match &name {
                Some(name) => name.clone(),
                None => free_name(writer)?,
            };
            container.doc.endpoints = endpoints::lease_all(writer, &container.id, wanted)?;
            let mut made = Vec::new();
            for (name, row) in crate::volume::rows_for(container)? {
                if volumes::insert(writer, &row)? {
                    made.push(name);
                }
            }
            containers::insert(writer, &container.to_row())?;
            Ok(made)
        })
    }

    /// Makes what the record promises: the writable layer and the volumes.
    fn materialise(&self, container: &Container, image: &Image) -> Result<(), CreateError> {
        self.make_directories(container)?;
        for mount in &container.doc.mounts {
            if let MountSource::Volume { name, no_copy, .. } = &mount.source {
                let directory = self.ensure_volume_directory(name)?;
                if !no_copy {
                    self.fill_volume(&directory, &image.diff_ids, &mount.target)?;
                }
            }
        }
        Ok(())
    }

    /// The data directory with the overlay's two; also at every start, because a power cut may have taken them.
    pub(crate) fn make_directories(&self, container: &Container) -> Result<(), CreateError> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let data = self.data_dir(&container.id);
        let make = |path: PathBuf, mode: u32| match std::fs::DirBuilder::new().mode(mode).create(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(CreateError::io("create", path, e)),
            Ok(()) => Ok(true),
        };
        if make(data.clone(), 0o710)? | make(data.join("work"), 0o700)? | make(data.join("upper"), 0o755)? {
            // The upper directory's mode is that of the container's `/`; it follows the image's.
            let upper = data.join("upper");
            let top = container.layers.last().map(|layer| self.store().snapshots().path(layer));
            let mode = top.and_then(|path| path.metadata().ok()).map_or(0o755, |m| m.permissions().mode());
            std::fs::set_permissions(&upper, PermissionsExt::from_mode(mode & 0o7777))
                .map_err(|e| CreateError::io("set the mode of", upper, e))?;
        }
        Ok(())
    }

    /// Takes back a creation whose files could not be made; the caller has the error to report.
    ///
    /// Files go first: on a full disk there is no room for the transaction before.
    fn uncreate(&self, container: &Container, made: &[String]) {
        let _ = sys::fs::remove_tree(&self.data_dir(&container.id));
        let removed: Result<(), NameError> =
            self.store().database().write_removal(Durability::Full, |writer| {
                containers::remove(writer, container.id.as_str())?;
                for volume in made {
                    volumes::remove(writer, volume)?;
                }
                Ok(())
            });
        if removed.is_ok() {
            for volume in made {
                let _ = sys::fs::remove_tree(&self.store().data().join("volumes").join(volume));
            }
        }
    }
}

fn free_name(writer: &store::db::Writer<'_>) -> Result<String, CreateError> {
    let mut attempt = 0;
    loop {
        let mut bytes = [0; 3];
        sys::random::fill(&mut bytes).map_err(CreateError::Random)?;
        let name = names::random(bytes, attempt);
        if containers::by_name(writer, &name)?.is_none() {
            return Ok(name);
        }
        attempt += 1;
    }
}

fn warnings(spec: &ContainerSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.network.mode == NetworkMode::Host
        && (!spec.network.publish.is_empty() || spec.network.publish_all)
    {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if spec.limits.oom_kill_disable && spec.limits.memory_bytes.is_none() {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running \
             out of resources."
                .to_owned(),
        );
    }
    let over_volume = spec.mounts.iter().filter(|m| matches!(m.kind, MountKind::Volume { .. }));
    for mount in over_volume.filter(|m| m.target.starts_with("/proc") || m.target.starts_with("/sys")) {
        warnings.push(format!("volume at {} hides the kernel's own files", mount.target));
    }
    warnings
}

impl From<NetworkError> for CreateError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

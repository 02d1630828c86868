//! Volumes of the driver `local`: created, filled, listed, removed.
//!
//! ```text
//! <data root>/volumes/<name>/_data    the files, unless driver options put them elsewhere
//! <data root>/volumes/<name>/_fill    being copied from an image; renamed over `_data` when complete
//! <run root>/volumes/<name>           a volume of `type=tmpfs`
//! ```

mod copy;
mod fill;
mod place;

use crate::engine::Engine;
use crate::events;
use crate::list::name_matches;
use crate::model::{ContainerId, Filters, FiltersError, MountKind, Pruned, VolumeInfo, VolumeSpec};
use crate::record::{Container, MountSource, RecordError, VolumeDoc, VolumePlace};
use crate::{create, ids, names, time};
use diag::{Class, Diagnose};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use store::db::volumes::VolumeRecord as Row;
use store::db::{Reader, containers, volumes};
use store::{DatabaseError, Durability};

/// Why an operation on a volume failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum VolumeError {
    #[error("get {name}: no such volume")]
    NotFound { name: String },
    #[error("remove {name}: volume is in use - [{}]", holders.join(", "))]
    InUse { name: String, holders: Vec<String> },
    #[error("{}", crate::names::invalid_volume(name))]
    Name { name: String },
    #[error("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found")]
    Driver { name: String, driver: String },
    #[error("create {name}: volume option {option} is not supported: {why}")]
    Option { name: String, option: String, why: &'static str },
    #[error("create {name}: conflict: a volume of this name with other driver options exists")]
    Differs { name: String },
    #[error("cannot {action} {} of volume {name}", path.display())]
    Io { name: String, action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot fill volume {name} from {path} of the image")]
    Fill { name: String, path: String, source: io::Error },
    #[error("cannot get random bytes for a name")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Filter(#[from] FiltersError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for VolumeError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::Driver { .. } => Class::NotFound,
            Self::InUse { .. } | Self::Differs { .. } => Class::Conflict,
            Self::Name { .. } => Class::Invalid,
            Self::Option { .. } => Class::Unsupported,
            Self::Io { source, .. } | Self::Fill { source, .. } | Self::Random(source) => {
                Class::of_io(source)
            }
            Self::Filter(error) => error.class(),
            Self::Record(error) => error.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some("remove the containers that use it first".into()),
            Self::Filter(error) => error.hint(),
            Self::Database(error) => error.hint(),
            _ => None,
        }
    }
}

impl VolumeError {
    fn io(name: &str, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let (name, path) = (name.to_owned(), path.to_owned());
        move |source| Self::Io { name, action, path, source }
    }
}

/// Rows for the volumes that `container` mounts, to be inserted unless they exist.
pub(crate) fn rows_for(container: &Container) -> Result<Vec<(String, Row)>, VolumeError> {
    let mut rows = Vec::new();
    for mount in &container.doc.mounts {
        let MountSource::Volume { name, .. } = &mount.source else { continue };
        let asked = container.doc.spec.mounts.iter().find(|m| m.target == mount.target).map(|m| &m.kind);
        let (driver_opts, labels, anonymous) = match asked {
            Some(MountKind::Volume { name, driver_opts, labels, .. }) => {
                (driver_opts.clone(), labels.clone(), name.is_none())
            }
            _ => Default::default(),
        };
        let spec = VolumeSpec { name: Some(name.clone()), driver: None, driver_opts, labels };
        let place = place::of(name, &spec.driver_opts)?;
        let doc = VolumeDoc { spec, place };
        let row =
            Row { name: name.clone(), created_ns: container.created_ns, anonymous, record: doc.to_json() };
        rows.push((name.clone(), row));
    }
    Ok(rows)
}

/// Which containers, running or not, mount each volume.
fn holders(reader: &Reader<'_>) -> Result<HashMap<String, Vec<ContainerId>>, VolumeError> {
    let mut holders: HashMap<String, Vec<ContainerId>> = HashMap::new();
    for row in containers::list(reader)? {
        let container = Container::from_row(row)?;
        for name in container.volumes() {
            holders.entry(name.to_owned()).or_default().push(container.id.clone());
        }
    }
    Ok(holders)
}

const FILTERS: &[&str] = &["dangling", "driver", "label", "label!", "name"];

impl Engine {
    /// Creates a volume; one that exists with the same driver options is returned as it is.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub fn volume_create(&self, mut spec: VolumeSpec) -> Result<VolumeInfo, VolumeError> {
        let anonymous = spec.name.as_ref().is_none_or(String::is_empty);
        let name = match spec.name.take().filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => ids::random().map_err(VolumeError::Random)?,
        };
        if !names::is_valid(&name) {
            return Err(VolumeError::Name { name });
        }
        if let Some(driver) = spec.driver.as_deref().filter(|driver| !matches!(*driver, "" | "local")) {
            return Err(VolumeError::Driver { name, driver: driver.to_owned() });
        }
        spec.name = Some(name.clone());
        let doc = VolumeDoc { place: place::of(&name, &spec.driver_opts)?, spec };
        let row = Row { name: name.clone(), created_ns: time::now_ns(), anonymous, record: doc.to_json() };
        let made = self.store().database().write(Durability::Full, |writer| volumes::insert(writer, &row))?;
        if made {
            self.ensure_volume_directory(&name)?;
            self.emit(&events::volume(&name, "create"));
            return self.volume_info(&row, Vec::new());
        }
        let info = self.volume_inspect(&name)?;
        if info.options != doc.spec.driver_opts {
            return Err(VolumeError::Differs { name });
        }
        Ok(info)
    }

    /// One volume, with the containers that use it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn volume_inspect(&self, name: &str) -> Result<VolumeInfo, VolumeError> {
        let (row, mut holders) = self
            .store()
            .database()
            .read(|reader| Ok::<_, VolumeError>((volumes::get(reader, name)?, holders(reader)?)))?;
        let row = row.ok_or_else(|| VolumeError::NotFound { name: name.to_owned() })?;
        self.volume_info(&row, holders.remove(name).unwrap_or_default())
    }

    /// The volumes that match, by name.
    ///
    /// # Errors
    /// [`VolumeError::Filter`] for filters volumes do not have.
    pub fn volumes(&self, filters: &Filters) -> Result<Vec<VolumeInfo>, VolumeError> {
        filters.allow(FILTERS)?;
        let dangling = filters.flag("dangling")?;
        let (rows, mut holders) = self
            .store()
            .database()
            .read(|reader| Ok::<_, VolumeError>((volumes::list(reader)?, holders(reader)?)))?;
        let mut found = Vec::new();
        for row in rows {
            let users = holders.remove(&row.name).unwrap_or_default();
            let info = self.volume_info(&row, users)?;
            let shown = filters.any("name", |wanted| name_matches(&info.name, wanted))
                && filters.any("driver", |wanted| info.driver == wanted)
                && filters.labels(&info.labels)
                && dangling.is_none_or(|wanted| wanted == info.used_by.is_empty());
            if shown {
                found.push(info);
            }
        }
        Ok(found)
    }

    /// Removes a volume and its files. `force` is content when there is none.
    ///
    /// # Errors
    /// [`VolumeError::InUse`] while a container mounts it, running or not.
    pub fn volume_remove(&self, name: &str, force: bool) -> Result<(), VolumeError> {
        let place = self.store().database().write_removal(Durability::Full, |writer| {
            let Some(row) = volumes::get(writer, name)? else {
                return if force { Ok(None) } else { Err(VolumeError::NotFound { name: name.to_owned() }) };
            };
            if let Some(holders) = holders(writer)?.remove(name) {
                let holders = holders.iter().map(ToString::to_string).collect();
                return Err(VolumeError::InUse { name: name.to_owned(), holders });
            }
            volumes::remove(writer, name)?;
            Ok(Some(VolumeDoc::from_json(name, &row.record)?.place))
        })?;
        if let Some(place) = place {
            self.remove_volume_files(name, &place)?;
            self.emit(&events::volume(name, "destroy"));
        }
        Ok(())
    }

    /// Removes volumes that no container mounts: anonymous ones, and named ones too with `all`.
    ///
    /// # Errors
    /// [`VolumeError`]; what was removed before it stays removed.
    pub fn volume_prune(&self, filters: &Filters, all: bool) -> Result<Pruned, VolumeError> {
        filters.allow(&["all", "label", "label!"])?;
        let all = all || filters.flag("all")?.unwrap_or(false);
        let mut pruned = Pruned::default();
        for info in self.volumes(&Filters::default())? {
            if !info.used_by.is_empty() || !(all || info.anonymous) || !filters.labels(&info.labels) {
                continue;
            }
            let size = store::disk_bytes(&info.mountpoint);
            match self.volume_remove(&info.name, true) {
                // Somebody began to use it.
                Err(VolumeError::InUse { .. }) => continue,
                result => result?,
            }
            pruned.reclaimed_bytes += size;
            pruned.volumes.push(info.name);
        }
        self.emit(&events::prune("volume", pruned.reclaimed_bytes));
        Ok(pruned)
    }

    /// Removes those of `names` that are anonymous and that no container mounts any more (`rm -v`, `--rm`).
    pub(crate) fn remove_anonymous_volumes(&self, names: &[String]) -> Result<(), VolumeError> {
        for name in names {
            let row = self.store().database().read(|reader| volumes::get(reader, name))?;
            if row.is_some_and(|row| row.anonymous) {
                match self.volume_remove(name, true) {
                    Err(VolumeError::InUse { .. }) => {}
                    result => result?,
                }
            }
        }
        Ok(())
    }

    fn volume_info(&self, row: &Row, used_by: Vec<ContainerId>) -> Result<VolumeInfo, VolumeError> {
        let doc = VolumeDoc::from_json(&row.name, &row.record)?;
        let mut labels = doc.spec.labels;
        if row.anonymous {
            labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
        }
        Ok(VolumeInfo {
            name: row.name.clone(),
            driver: "local".into(),
            mountpoint: self.volume_path(&row.name, &doc.place),
            created_ns: row.created_ns,
            labels,
            options: doc.spec.driver_opts,
            anonymous: row.anonymous || create::is_anonymous_name(&row.name),
            used_by,
            size_bytes: None,
        })
    }

    /// Where a volume's files are.
    fn volume_path(&self, name: &str, place: &VolumePlace) -> PathBuf {
        match place {
            VolumePlace::Own => self.store().volume_dir(name),
            VolumePlace::Directory(path) => path.clone(),
            VolumePlace::Memory => self.store().run().join("volumes").join(name),
        }
    }

    /// The directory of a volume that has a row, made when missing.
    pub(crate) fn ensure_volume_directory(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let row = self.store().database().read(|reader| volumes::get(reader, name))?;
        let row = row.ok_or_else(|| VolumeError::NotFound { name: name.to_owned() })?;
        let doc = VolumeDoc::from_json(name, &row.record)?;
        let path = self.volume_path(name, &doc.place);
        if !path.is_dir() {
            place::make(&path, &doc).map_err(VolumeError::io(name, "create", &path))?;
        }
        Ok(path)
    }

    fn remove_volume_files(&self, name: &str, place: &VolumePlace) -> Result<(), VolumeError> {
        if *place == VolumePlace::Memory {
            let path = self.volume_path(name, place);
            sys::fs::remove_tree(&path).map_err(VolumeError::io(name, "remove", &path))?;
        }
        // A directory the user named stays his.
        let own = self.store().data().join("volumes").join(name);
        sys::fs::remove_tree(&own).map_err(VolumeError::io(name, "remove", &own))
    }
}

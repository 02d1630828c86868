//! `linux.cgroupsPath`: where a container's group is, and who makes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::runtime::LinuxResources;

use crate::systemd::{Placeholder, Scope, properties_of};
use crate::{Cgroup, CgroupError, Hierarchy, Version};

/// Who makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Whoever writes to the file systems.
    Cgroupfs,
    /// systemd, where it runs.
    Systemd,
}

/// A place for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory below the hierarchies' roots; see [`Cgroup::at`].
    Path(PathBuf),
    /// A scope of systemd.
    Scope(Scope),
}

/// A group that was just made.
#[derive(Debug)]
pub struct Made {
    pub group: Cgroup,
    /// Where [`Cgroup::at`] finds it again.
    pub path: PathBuf,
    /// Keeps a scope, which ends with its last member, until the container's first process is in.
    pub until_joined: Option<Placeholder>,
}

/// The version systemd is to set limits in.
fn version(hierarchy: &Hierarchy) -> Result<Version, CgroupError> {
    hierarchy.version().ok_or_else(|| CgroupError::Withheld { what: "a scope".to_owned() })
}

impl Place {
    /// Reads `cgroups_path`, in the style of `manager`; without one it is made from the container's `id`.
    pub fn parse(manager: Manager, cgroups_path: Option<&Path>, id: &str) -> Result<Self, CgroupError> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        match manager {
            Manager::Cgroupfs => Ok(Self::Path(given.map_or_else(|| PathBuf::from(id), Path::to_owned))),
            Manager::Systemd => {
                let text = given.map_or_else(|| format!(":hull:{id}"), |path| path.display().to_string());
                Scope::parse(&text).map(Self::Scope)
            }
        }
    }

    /// Makes the group with the limits of `resources`; `annotations` may have properties of a scope.
    ///
    /// A scope needs a caller with one thread.
    ///
    /// # Errors
    /// Nothing is left behind when this fails.
    pub fn create(
        &self,
        hierarchy: &Hierarchy,
        resources: &LinuxResources,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Made, CgroupError> {
        match self {
            Self::Path(path) => {
                let group = Cgroup::create_at(hierarchy, path, resources)?;
                let path = group.path();
                Ok(Made { group, path, until_joined: None })
            }
            Self::Scope(scope) => {
                let extra = properties_of(annotations)?;
                let placeholder = Placeholder::new().map_err(|source| CgroupError::Join {
                    path: PathBuf::from(&scope.unit),
                    pid: 0,
                    source,
                })?;
                let path = scope.start(version(hierarchy)?, resources, &extra, placeholder.pid)?;
                let group = Cgroup::adopt(hierarchy, &path, resources).inspect_err(|_| {
                    let _ = scope.stop();
                })?;
                Ok(Made { group, path, until_joined: Some(placeholder) })
            }
        }
    }

    /// Changes the limits of `group`, which is here.
    pub fn update(
        &self,
        hierarchy: &Hierarchy,
        group: &Cgroup,
        resources: &LinuxResources,
    ) -> Result<(), CgroupError> {
        if let Self::Scope(scope) = self {
            scope.update(version(hierarchy)?, resources)?;
        }
        group.update(resources)
    }

    /// Removes `group`, which is here and has no processes any more, and its scope.
    pub fn remove(&self, group: &Cgroup) -> Result<(), CgroupError> {
        if let Self::Scope(scope) = self {
            scope.stop()?;
        }
        group.remove()
    }
}

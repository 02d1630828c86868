//! One control group: made, joined, changed, listed and removed.

mod create;
mod freeze;
mod remove;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::runtime::LinuxResources;

use crate::files::write_plain;
use crate::{CgroupError, Hierarchy, Version};

/// A control group by its name, whether it exists or not.
#[derive(Clone, Debug)]
pub struct Cgroup {
    name: String,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    V1 {
        /// The directory this group has, or would have, in each mounted hierarchy.
        directories: Vec<V1Directory>,
    },
    V2 {
        mount: PathBuf,
        directory: PathBuf,
    },
}

#[derive(Clone, Debug)]
struct V1Directory {
    path: PathBuf,
    mount: PathBuf,
    controllers: Vec<String>,
}

impl V1Directory {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// Whether every container is a member from its start. Others are joined when something asks for them.
    fn is_basic(&self) -> bool {
        ["memory", "cpu", "cpuacct", "pids", "devices"].iter().any(|c| self.has(c))
    }
}

impl Cgroup {
    /// Creates the group `name`, such as `hull-<instance>/<container id>`, with the limits of `resources`.
    ///
    /// What an interrupted command left under the same name is removed first if nothing runs in it.
    ///
    /// # Errors
    /// Nothing is left behind when this fails.
    pub fn create(
        hierarchy: &Hierarchy,
        name: &str,
        resources: &LinuxResources,
    ) -> Result<Self, CgroupError> {
        let group = Self::open(hierarchy, name)?;
        group.create_directories(resources).inspect_err(|_| group.undo())?;
        Ok(group)
    }

    /// Names the group `name` without looking whether it exists.
    pub fn open(hierarchy: &Hierarchy, name: &str) -> Result<Self, CgroupError> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if name.len() > 200 || !name.split('/').all(is_plain) {
            return Err(CgroupError::Invalid { what: "control group name", value: name.to_string() });
        }
        let layout = match hierarchy {
            Hierarchy::V1 { mounts, .. } => {
                let flat = name.replace('/', "-");
                let directories = mounts
                    .iter()
                    .filter(|m| !m.controllers.iter().any(|c| c.starts_with("name=")))
                    .map(|m| V1Directory {
                        path: m.point.join(&flat),
                        mount: m.point.clone(),
                        controllers: m.controllers.clone(),
                    })
                    .collect();
                Layout::V1 { directories }
            }
            Hierarchy::V2 { point } => Layout::V2 { mount: point.clone(), directory: point.join(name) },
        };
        Ok(Self { name: name.to_string(), layout })
    }

    /// Every group below `parent` (`hull-<instance>`) that exists, for the command that looks for leftovers.
    pub fn list(hierarchy: &Hierarchy, parent: &str) -> Result<Vec<Self>, CgroupError> {
        let mut names: Vec<String> = match hierarchy {
            Hierarchy::V1 { mounts, .. } => {
                let prefix = format!("{parent}-");
                let entries = mounts.iter().flat_map(|m| subdirectories(&m.point));
                entries
                    .filter_map(|path| Some(path.file_name()?.to_str()?.strip_prefix(&prefix)?.to_string()))
                    .collect()
            }
            Hierarchy::V2 { point } => subdirectories(&point.join(parent))
                .filter_map(|path| Some(path.file_name()?.to_str()?.to_string()))
                .collect(),
        };
        names.retain(|name| name != crate::supervisor::NAME);
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| Self::open(hierarchy, &format!("{parent}/{name}"))).collect()
    }

    /// The name given at its creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.directories().any(Path::exists)
    }

    /// The directory as a descriptor for `CLONE_INTO_CGROUP`; v1 has no such thing, and [`Self::add`] does it there.
    pub fn join_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match &self.layout {
            Layout::V1 { .. } => Ok(None),
            Layout::V2 { directory, .. } => File::open(directory)
                .map(|file| Some(file.into()))
                .map_err(|source| CgroupError::Read { path: directory.clone(), source }),
        }
    }

    /// Moves the process `pid` (0: the caller) into the group.
    ///
    /// A cgroup namespace takes the group its maker is in as its root: join before `unshare(CLONE_NEWCGROUP)`.
    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        let mut joined = false;
        for directory in self.directories() {
            match write_plain(&directory.join("cgroup.procs"), &pid.to_string()) {
                Ok(()) => joined = true,
                // A v1 hierarchy this group does not need.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CgroupError::Join { path: directory.to_owned(), pid, source }),
            }
        }
        if joined {
            return Ok(());
        }
        let path = self.main_directory().to_owned();
        Err(CgroupError::Join { path, pid, source: io::ErrorKind::NotFound.into() })
    }

    /// Moves the calling thread, the only one of its process, into the group, where a clone has not done so (v1).
    ///
    /// A thread that moves itself skips the kernel's lock over all forks and exits of the host, for which [`Self::add`] waits
    /// a grace period of 5 to 15 ms (`cgroup_procs_write_start`, since Linux 5.5).
    pub fn enter(&self) -> io::Result<()> {
        let Layout::V1 { directories } = &self.layout else { return Ok(()) };
        let mut joined = Err(io::ErrorKind::NotFound.into());
        for directory in directories {
            match write_plain(&directory.path.join("tasks"), "0") {
                Ok(()) => joined = Ok(()),
                // A hierarchy this group does not need.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        joined
    }

    /// On v1, the controllers and the group's directory in each hierarchy it could be in, to show them to its members;
    /// `None` on v2, where a cgroup namespace does that.
    pub fn v1_views(&self) -> Option<impl Iterator<Item = (&[String], &Path)>> {
        match &self.layout {
            Layout::V1 { directories } => {
                Some(directories.iter().map(|d| (d.controllers.as_slice(), d.path.as_path())))
            }
            Layout::V2 { .. } => None,
        }
    }

    /// The processes in the group and in groups made below it.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        collect_pids(self.main_directory(), &mut pids)?;
        Ok(pids)
    }

    /// The version it lives in.
    pub(crate) fn version(&self) -> Version {
        match self.layout {
            Layout::V1 { .. } => Version::V1,
            Layout::V2 { .. } => Version::V2,
        }
    }

    /// The directory of v2, or the one on v1 that every member is in.
    fn main_directory(&self) -> &Path {
        match &self.layout {
            Layout::V1 { directories } => {
                let order = ["pids", "memory", "cpuacct", "cpu", "devices"];
                let found = order.iter().find_map(|c| directories.iter().find(|d| d.has(c)));
                // `Hierarchy` is v1 only when there is some controller.
                &found.unwrap_or(&directories[0]).path
            }
            Layout::V2 { directory, .. } => directory,
        }
    }

    /// Every directory the group has or could have.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let (v1, v2) = match &self.layout {
            Layout::V1 { directories } => (directories.as_slice(), None),
            Layout::V2 { directory, .. } => (&[][..], Some(directory.as_path())),
        };
        v1.iter().map(|d| d.path.as_path()).chain(v2)
    }

    /// The v1 directory of `controller`, or the one of v2, if the hierarchy is mounted.
    pub(crate) fn directory_of(&self, controller: &str) -> Option<&Path> {
        match &self.layout {
            Layout::V1 { directories } => {
                directories.iter().find(|d| d.has(controller)).map(|d| d.path.as_path())
            }
            Layout::V2 { directory, .. } => Some(directory),
        }
    }
}

fn subdirectories(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.path())
}

fn collect_pids(directory: &Path, pids: &mut Vec<i32>) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.procs");
    match fs::read_to_string(&path) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // Removed meanwhile, or a threaded group of v2, whose processes its domain lists.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(EOPNOTSUPP | crate::files::ENODEV)) => {}
        Err(source) => return Err(CgroupError::Read { path, source }),
    }
    subdirectories(directory).try_for_each(|child| collect_pids(&child, pids))
}

const EOPNOTSUPP: i32 = 95;

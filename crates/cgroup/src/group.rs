//! One control group: made, joined, changed, listed and removed.

mod create;
mod freeze;
mod remove;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use oci::runtime::LinuxResources;

use crate::files::write_plain;
use crate::hierarchy::Memberships;
use crate::{CgroupError, Delegation, Hierarchy, V1Mount, Version};

/// A control group by its name, whether it exists or not.
#[derive(Clone, Debug)]
pub struct Cgroup {
    name: String,
    layout: Layout,
    origin: Origin,
}

/// Whose the directories around a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// hull's own: a parent goes with its last child.
    Ours,
    /// Somebody else's, who said where to put the group: parents are made, but never removed.
    Given,
    /// The group's too: systemd made it.
    Adopted,
}

#[derive(Clone, Debug)]
enum Layout {
    V1 {
        /// The directory this group has, or would have, in each mounted hierarchy.
        directories: Vec<V1Directory>,
    },
    V2 {
        /// The root, or the first group of what has been given to this user.
        mount: PathBuf,
        directory: PathBuf,
        /// Whether `mount` is such a group.
        delegated: bool,
    },
    /// A group in name only, where none can be made.
    Withheld,
}

#[derive(Clone, Debug)]
struct V1Directory {
    path: PathBuf,
    mount: PathBuf,
    controllers: Vec<String>,
    /// In a hierarchy that is systemd's alone, which makes the directory or does not: the file through which a process joins.
    keeper: Option<&'static str>,
}

impl Layout {
    fn v1(mounts: &[V1Mount], path: impl Fn(&Path) -> PathBuf) -> Self {
        let directory = |m: &V1Mount| V1Directory {
            path: path(&m.point),
            mount: m.point.clone(),
            controllers: m.controllers.clone(),
            keeper: None,
        };
        Self::V1 { directories: mounts.iter().filter(|m| !m.is_named()).map(directory).collect() }
    }

    fn delegated(given: &Delegation, path: &Path) -> Self {
        Self::V2 { mount: given.root().to_owned(), directory: given.root().join(path), delegated: true }
    }

    /// Adds the hierarchies without controllers in which systemd sees who is in its scopes.
    fn with_systemd_s(
        self,
        mounts: &[V1Mount],
        unified: Option<&Path>,
        path: impl Fn(&Path) -> PathBuf,
    ) -> Self {
        let Self::V1 { mut directories } = self else { return self };
        let named = mounts.iter().filter(|m| m.is_named()).map(|m| (m.point.as_path(), "tasks"));
        for (mount, keeper) in named.chain(unified.map(|mount| (mount, "cgroup.procs"))) {
            directories.push(V1Directory {
                path: path(mount),
                mount: mount.to_owned(),
                controllers: Vec::new(),
                keeper: Some(keeper),
            });
        }
        Self::V1 { directories }
    }
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
        group.create_all(resources)?;
        Ok(group)
    }

    fn create_all(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let mut made = Vec::new();
        self.create_directories(resources, &mut made).inspect_err(|_| self.undo(&made))
    }

    /// Creates the group at `path` below each hierarchy's root, as `linux.cgroupsPath` gives it; see [`Self::at`].
    ///
    /// # Errors
    /// Nothing is left behind when this fails; a group with processes in it is an error.
    pub(crate) fn create_at(
        hierarchy: &Hierarchy,
        path: &Path,
        resources: &LinuxResources,
    ) -> Result<Self, CgroupError> {
        let group = Self::at(hierarchy, path)?;
        group.create_all(resources)?;
        Ok(group)
    }

    /// Takes over the group at `path`, which systemd has made, and sets its limits.
    pub(crate) fn adopt(
        hierarchy: &Hierarchy,
        path: &Path,
        resources: &LinuxResources,
    ) -> Result<Self, CgroupError> {
        let group = Self { origin: Origin::Adopted, ..Self::at(hierarchy, path)? };
        group.create_all(resources)?;
        Ok(group)
    }

    /// Names the group at `path`, nested like that in every v1 hierarchy, without looking whether it exists.
    ///
    /// It is a member of every v1 hierarchy, of systemd's own where systemd has made it. An absolute path starts at the root of the hierarchies. A relative one is, as with runc, below the caller's own group on
    /// v1 (in the hierarchy that stands for all), and beside it on v2, where a group with processes can have none below; where only a
    /// part has been given to this user, both start there.
    pub fn at(hierarchy: &Hierarchy, path: &Path) -> Result<Self, CgroupError> {
        let name = path.display().to_string();
        let invalid = || CgroupError::Invalid { what: "linux.cgroupsPath", value: name.clone() };
        let mut parts =
            path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
        let plain = parts.clone().all(|part| matches!(part, Component::Normal(_))) && !name.contains('\0');
        if parts.next().is_none() || !plain {
            return Err(invalid());
        }
        let own = if path.is_absolute() { Memberships::default() } else { Memberships::of_caller()? };
        let inner = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
        let layout = match hierarchy {
            Hierarchy::V1 { mounts, unified } => {
                let path = inner(own.v1(mounts)).join(inner(path));
                let below = |mount: &Path| mount.join(&path);
                Layout::v1(mounts, below).with_systemd_s(mounts, unified.as_deref(), below)
            }
            Hierarchy::V2 { point } => {
                let beside = own.v2().parent().unwrap_or(Path::new("/"));
                let directory = point.join(inner(beside)).join(inner(path));
                Layout::V2 { mount: point.clone(), directory, delegated: false }
            }
            Hierarchy::Delegated(given) => Layout::delegated(given, &inner(path)),
            Hierarchy::Withheld => return Err(CgroupError::Withheld { what: format!("the place {name}") }),
        };
        Ok(Self { name, layout, origin: Origin::Given })
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
                Layout::v1(mounts, |mount| mount.join(&flat))
            }
            Hierarchy::V2 { point } => {
                Layout::V2 { mount: point.clone(), directory: point.join(name), delegated: false }
            }
            Hierarchy::Delegated(given) => Layout::delegated(given, Path::new(name)),
            Hierarchy::Withheld => Layout::Withheld,
        };
        Ok(Self { name: name.to_string(), layout, origin: Origin::Ours })
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
            Hierarchy::V2 { point } => names_in(&point.join(parent)),
            Hierarchy::Delegated(given) => names_in(&given.root().join(parent)),
            Hierarchy::Withheld => Vec::new(),
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

    /// Its path below the root of each hierarchy, where [`Self::at`] finds it again.
    pub fn path(&self) -> PathBuf {
        let Some(directory) = self.main_directory() else { return PathBuf::from(&self.name) };
        let mount = match &self.layout {
            Layout::V1 { directories } => directories.iter().find(|d| d.path == directory).map(|d| &d.mount),
            Layout::V2 { mount, .. } => Some(mount),
            Layout::Withheld => None,
        };
        let inner = mount.and_then(|mount| directory.strip_prefix(mount).ok()).unwrap_or(directory);
        Path::new("/").join(inner)
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.directories().any(Path::exists)
    }

    /// The directory as a descriptor for `CLONE_INTO_CGROUP`; v1 has no such thing, and [`Self::add`] does it there.
    pub fn join_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match &self.layout {
            Layout::V1 { .. } | Layout::Withheld => Ok(None),
            Layout::V2 { mount, delegated: true, .. } if !Delegation::at(mount).holds_caller()? => {
                Err(CgroupError::Outside { path: mount.clone() })
            }
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
        match self.main_directory() {
            Some(path) => {
                let path = path.to_owned();
                Err(CgroupError::Join { path, pid, source: io::ErrorKind::NotFound.into() })
            }
            None => Ok(()),
        }
    }

    /// Moves the calling thread, the only one of its process, into the group, where a clone has not done so (v1).
    ///
    /// A thread that moves itself skips the kernel's lock over all forks and exits of the host, for which [`Self::add`] waits
    /// a grace period of 5 to 15 ms (`cgroup_procs_write_start`, since Linux 5.5).
    pub fn enter(&self) -> io::Result<()> {
        let Layout::V1 { directories } = &self.layout else { return Ok(()) };
        let mut joined = Err(io::ErrorKind::NotFound.into());
        for directory in directories {
            match write_plain(&directory.path.join(directory.keeper.unwrap_or("tasks")), "0") {
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
                let shown = directories.iter().filter(|d| d.keeper.is_none());
                Some(shown.map(|d| (d.controllers.as_slice(), d.path.as_path())))
            }
            Layout::V2 { .. } | Layout::Withheld => None,
        }
    }

    /// The processes in the group and in groups made below it; none where there are no groups.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(directory) = self.main_directory() {
            collect_pids(directory, &mut pids)?;
        }
        Ok(pids)
    }

    /// The version it lives in.
    pub(crate) fn version(&self) -> Result<Version, CgroupError> {
        match self.layout {
            Layout::V1 { .. } => Ok(Version::V1),
            Layout::V2 { .. } => Ok(Version::V2),
            Layout::Withheld => Err(CgroupError::Withheld { what: "measuring a container".to_string() }),
        }
    }

    /// Whether this is a group in name only, because this user has been given none.
    pub fn is_withheld(&self) -> bool {
        matches!(self.layout, Layout::Withheld)
    }

    /// The directory of v2, or the one on v1 that every member is in.
    fn main_directory(&self) -> Option<&Path> {
        match &self.layout {
            Layout::V1 { directories } => {
                let found = MAIN.iter().find_map(|c| directories.iter().find(|d| d.has(c)));
                // `Hierarchy` is v1 only when there is some controller.
                Some(&found.unwrap_or(&directories[0]).path)
            }
            Layout::V2 { directory, .. } => Some(directory),
            Layout::Withheld => None,
        }
    }

    /// Every directory the group has or could have.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let (v1, v2) = match &self.layout {
            Layout::V1 { directories } => (directories.as_slice(), None),
            Layout::V2 { directory, .. } => (&[][..], Some(directory.as_path())),
            Layout::Withheld => (&[][..], None),
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
            Layout::Withheld => None,
        }
    }
}

/// The v1 controllers whose hierarchy stands for all, the first that there is.
pub(crate) const MAIN: [&str; 5] = ["pids", "memory", "cpuacct", "cpu", "devices"];

fn names_in(path: &Path) -> Vec<String> {
    subdirectories(path).filter_map(|path| Some(path.file_name()?.to_str()?.to_string())).collect()
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

//! The caller's half of the work: everything the child will need, parsed and checked before it exists.

mod labels;
mod mounts;
mod refuse;
mod rights;
pub mod tuning;
mod validate;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cgroup::Cgroup;
use oci::runtime::{Linux, LinuxDevice, LinuxTimeOffset, NamespaceType, Process, Spec, State, Status};
use sys::mount::{Depth, Propagation};
use sys::namespace::{Kind, KindSet};

use crate::child::devices;
use crate::listener::Listener;
use crate::seccomp::{Program, Seccomp};
use crate::users::IdMaps;
use crate::{Launch, LaunchError, Lifetime, Rootfs, Stdio, UserSpec};

pub use labels::Labels;
pub use mounts::{Datum, IdMap, MountPlan, OPTIONS as MOUNT_OPTIONS, Source};
pub use rights::{Limit, Rights, warnings};
pub use tuning::Tuning;

/// What any process in a container needs, the first or a later one.
pub struct ProcessPlan<'a> {
    pub id: &'a str,
    pub process: &'a Process,
    pub user: &'a UserSpec,
    pub extra_groups: &'a [String],
    pub rights: Rights,
    /// The system call filter, compiled.
    pub filter: Option<Program>,
    /// Who answers for calls that the filter leaves to somebody else.
    pub listener: Option<Listener>,
    pub limits: Vec<Limit>,
    pub tuning: Tuning,
    pub labels: Labels,
    pub stdio: Stdio,
    /// The host's `/dev/null`, for streams that are not given.
    pub null: OwnedFd,
    pub init: bool,
    /// Whether the process ends when its caller does.
    pub bound: bool,
    /// Where somebody else than the caller may start the program.
    pub gate: Option<UnixListener>,
    pub preserve_fds: u32,
    /// Whether it becomes root of another user namespace first.
    pub other_users: bool,
}

/// Whose user namespace the container's is.
pub enum Users {
    /// The caller's.
    Hosts,
    /// One of its own.
    New(IdMaps),
    /// One that exists.
    Joined(OwnedFd),
}

impl<'a> ProcessPlan<'a> {
    pub fn new(
        id: &'a str,
        process: &'a Process,
        linux: Option<&Linux>,
        user: &'a UserSpec,
        extra_groups: &'a [String],
        seccomp: &Seccomp,
        stdio: Stdio,
    ) -> Result<Self, LaunchError> {
        validate::process(process)?;
        if process.terminal && !matches!(stdio, Stdio::Terminal { .. }) {
            return Err(invalid("process.terminal", "the caller connects no terminal"));
        }
        let null = sys::fs::open("/dev/null", sys::fs::OFlags::RDWR, 0)
            .map_err(|source| LaunchError::Clone { id: id.to_owned(), source })?;
        let rights = Rights::new(process);
        let filter = seccomp
            .compile(rights.bounding)
            .map_err(|source| LaunchError::Seccomp { id: id.to_owned(), source })?;
        Ok(Self {
            id,
            process,
            user,
            extra_groups,
            rights,
            filter,
            listener: None,
            limits: rights::limits(process)?,
            tuning: Tuning::new(process, linux)?,
            labels: Labels::new(process)?,
            stdio,
            null,
            init: false,
            bound: false,
            gate: None,
            preserve_fds: 0,
            other_users: false,
        })
    }
}

/// What the first process needs beside [`ProcessPlan`].
pub struct ContainerPlan<'a> {
    pub process: ProcessPlan<'a>,
    pub spec: &'a Spec,
    pub rootfs: &'a Rootfs,
    pub bundle: &'a Path,
    pub cgroup: Option<&'a Cgroup>,
    pub no_pivot: bool,
    /// How the mount of the root spreads; a slave of the host's when nothing else is said.
    pub root_propagation: Option<(Propagation, Depth)>,
    pub mounts: Vec<MountPlan<'a>>,
    /// Where groups for `linux.intelRdt` are, when it asks for one.
    pub resctrl: Option<PathBuf>,
    /// Device nodes that the caller makes and the child binds to their places.
    pub shelf: Vec<LinuxDevice>,
    pub users: Users,
    /// Namespaces to make at the clone.
    pub create: KindSet,
    /// Whether the child makes a cgroup namespace once it is in its cgroup.
    pub cgroup_namespace: bool,
    /// Clock offsets of the time namespace that the child then makes, as timens_offsets wants them.
    pub time_offsets: Option<String>,
    /// Namespaces to join, in an order that keeps the rights to join the rest.
    pub join: Vec<(Kind, OwnedFd)>,
}

impl<'a> ContainerPlan<'a> {
    pub fn new(launch: Launch<'a>) -> Result<Self, LaunchError> {
        let spec = launch.spec;
        validate::spec(spec)?;
        refuse::spec(spec, launch.seccomp)?;
        let process = spec.process.as_ref().ok_or_else(|| invalid("process", "there is none to run"))?;
        let mut process = ProcessPlan::new(
            launch.id,
            process,
            spec.linux.as_ref(),
            launch.user,
            launch.extra_groups,
            launch.seccomp,
            launch.stdio,
        )?;
        process.init = launch.init;
        process.preserve_fds = launch.preserve_fds;
        match launch.lifetime {
            Lifetime::Caller => process.bound = true,
            Lifetime::Own(gate) => process.gate = Some(gate),
        }
        let mut plan = Self {
            process,
            spec,
            rootfs: launch.rootfs,
            bundle: launch.bundle,
            cgroup: launch.cgroup,
            no_pivot: launch.no_pivot,
            root_propagation: root_propagation(spec)?,
            mounts: spec.mounts.iter().map(MountPlan::new).collect::<Result<_, _>>()?,
            resctrl: refuse::resctrl(spec)?,
            shelf: Vec::new(),
            users: Users::Hosts,
            create: KindSet::EMPTY,
            cgroup_namespace: false,
            time_offsets: None,
            join: Vec::new(),
        };
        if let Some(label) = labels::of_mounts(spec.linux.as_ref())? {
            plan.mounts.iter_mut().for_each(|mount| mount.set_label(label));
        }
        plan.namespaces(launch.join)?;
        plan.process.other_users = plan.has_other_users();
        if plan.process.other_users {
            plan.shelf = devices::for_shelf(&plan);
        }
        if !plan.owns_names() && (spec.hostname.is_some() || spec.domainname.is_some()) {
            return Err(invalid("host name", "the container has no uts namespace of its own"));
        }
        plan.process.listener =
            Listener::new(plan.process.filter.as_ref(), || plan.state_without_pid(Status::Created))?;
        refuse::net_devices(spec, plan.create.contains(Kind::Network) || plan.joins(Kind::Network))?;
        refuse::sysctls(spec, |kind| match kind {
            Kind::User => plan.has_other_users(),
            kind => plan.create.contains(kind) || plan.joins(kind),
        })?;
        Ok(plan)
    }

    fn namespaces(&mut self, given: &[(NamespaceType, BorrowedFd<'_>)]) -> Result<(), LaunchError> {
        let listed = self.spec.linux.iter().flat_map(|linux| &linux.namespaces);
        for (r#type, path) in listed.map(|namespace| (namespace.r#type, &namespace.path)) {
            let kind = kind_of(r#type);
            if given.iter().any(|(joined, _)| *joined == r#type) {
                continue;
            }
            match path {
                None if kind == Kind::Cgroup => self.cgroup_namespace = true,
                None if kind == Kind::Time && !self.offsets().is_empty() => {
                    self.time_offsets = Some(time_offsets(self.offsets())?);
                }
                None if kind == Kind::User => {
                    let linux = self.spec.linux.as_ref();
                    let maps = linux.map(|linux| (&linux.uid_mappings[..], &linux.gid_mappings[..]));
                    let (uids, gids) = maps.unwrap_or_default();
                    self.users = Users::New(IdMaps::new(uids, gids, "linux")?);
                    self.create = self.create.with(kind);
                }
                None => self.create = self.create.with(kind),
                Some(path) => {
                    let object = format!("{} namespace {}", kind.file(), path.display());
                    let failed = |source| LaunchError::Setup {
                        step: crate::Step::Join,
                        object: object.clone(),
                        source,
                    };
                    let fd = sys::namespace::open_path(path).map_err(failed)?;
                    if !sys::namespace::is_of(&fd, kind) {
                        let why = format!("{} is not one", path.display());
                        return Err(invalid(format!("linux.namespaces: {}", kind.file()), why));
                    }
                    self.join(kind, fd);
                }
            }
        }
        for (r#type, fd) in given {
            let fd = fd
                .try_clone_to_owned()
                .map_err(|source| LaunchError::Clone { id: self.process.id.to_owned(), source })?;
            self.join(kind_of(*r#type), fd);
        }
        let linux = self.spec.linux.iter();
        let maps = linux
            .flat_map(|linux| [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)]);
        if let Some((field, _)) =
            maps.filter(|_| !matches!(self.users, Users::New(_))).find(|m| !m.1.is_empty())
        {
            return Err(invalid(format!("linux.{field}"), "the container has no user namespace of its own"));
        }
        if !self.offsets().is_empty() && self.time_offsets.is_none() {
            return Err(invalid("linux.timeOffsets", "the container has no time namespace of its own"));
        }
        if !self.create.contains(Kind::Mount) && !self.joins(Kind::Mount) {
            return Err(LaunchError::Unsupported {
                what: "a container without a mount namespace".to_owned(),
            });
        }
        self.spare_own_mounts()
    }

    fn offsets(&self) -> &'a BTreeMap<String, LinuxTimeOffset> {
        const NONE: &BTreeMap<String, LinuxTimeOffset> = &BTreeMap::new();
        self.spec.linux.as_ref().map_or(NONE, |linux| &linux.time_offsets)
    }

    /// The root of a joined mount namespace is switched, for everybody in it: that must not be the caller's or the host's.
    fn spare_own_mounts(&self) -> Result<(), LaunchError> {
        let Some((_, joined)) = self.join.iter().find(|(kind, _)| *kind == Kind::Mount) else {
            return Ok(());
        };
        let inode = |fd: &OwnedFd| sys::fs::stat(fd).map(|stat| stat.st_ino).ok();
        // What this process may not even look at, nobody had it join.
        let inode_at = |path: &str| inode(&sys::namespace::open_path(path.as_ref()).ok()?);
        if ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].into_iter().any(|path| inode_at(path) == inode(joined)) {
            let why = "a container there would take the host's root file system away";
            return Err(invalid("linux.namespaces: mount", why));
        }
        Ok(())
    }

    fn join(&mut self, kind: Kind, fd: OwnedFd) {
        match kind {
            Kind::User => self.users = Users::Joined(fd),
            _ => self.join.push((kind, fd)),
        }
    }

    /// Whether the ids in the container are not the caller's.
    pub fn has_other_users(&self) -> bool {
        !matches!(self.users, Users::Hosts)
    }

    /// Whether the first process waits for the caller's share of the set-up.
    pub fn waits_for_caller(&self) -> bool {
        let devices = self.spec.linux.as_ref().is_some_and(|linux| !linux.net_devices.is_empty());
        let hooks = self.spec.hooks.as_ref().is_some_and(|hooks| !hooks.are_none_before_start());
        hooks
            || devices
            || self.resctrl.is_some()
            || self.root_from_outside()
            || self.mounts.iter().any(|mount| self.mount_from_outside(mount))
    }

    /// What hooks are told; `pid` is that of the first process as the caller sees it.
    pub fn state(&self, status: Status, pid: i32) -> State {
        State { pid: Some(pid), ..self.state_without_pid(status) }
    }

    fn state_without_pid(&self, status: Status) -> State {
        State {
            oci_version: self.spec.oci_version.clone(),
            id: self.process.id.to_owned(),
            status,
            bundle: self.bundle.to_owned(),
            pid: None,
            annotations: self.spec.annotations.clone(),
        }
    }

    /// Whether the caller mounts the root filesystem: from the child's place it could not, or would see another one.
    pub fn root_from_outside(&self) -> bool {
        self.has_other_users() || self.joins(Kind::Mount)
    }

    /// Whether the caller prepares this mount.
    pub fn mount_from_outside(&self, mount: &MountPlan<'_>) -> bool {
        match &mount.source {
            Source::Bind { path, .. } => {
                self.root_from_outside() || mount.id_map.is_some() || crate::foreign::parse(path).is_some()
            }
            Source::New { kind: "tmpfs", .. } => self.has_other_users() && mount.is_dev(),
            // They show a namespace, to those who have rights over it.
            Source::New { kind: "sysfs", .. } => {
                self.has_other_users() && !self.create.contains(Kind::Network)
            }
            Source::New { kind: "mqueue", .. } => self.has_other_users() && !self.create.contains(Kind::Ipc),
            // Its directories are the host's.
            Source::New { kind: "overlay", .. } => self.has_other_users(),
            Source::New { .. } | Source::Cgroup | Source::Remount { .. } => false,
        }
    }

    pub fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|(joined, _)| *joined == kind)
    }

    /// Whether host names are the container's own affair.
    pub fn owns_names(&self) -> bool {
        self.create.contains(Kind::Uts)
    }
}

fn kind_of(r#type: NamespaceType) -> Kind {
    match r#type {
        NamespaceType::Pid => Kind::Pid,
        NamespaceType::Network => Kind::Network,
        NamespaceType::Mount => Kind::Mount,
        NamespaceType::Ipc => Kind::Ipc,
        NamespaceType::Uts => Kind::Uts,
        NamespaceType::User => Kind::User,
        NamespaceType::Cgroup => Kind::Cgroup,
        NamespaceType::Time => Kind::Time,
    }
}

pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> LaunchError {
    LaunchError::Invalid { what: what.into(), why: why.into() }
}

/// Lines for timens_offsets; the clocks are those the kernel has offsets for (time_namespaces(7)).
fn time_offsets(offsets: &BTreeMap<String, LinuxTimeOffset>) -> Result<String, LaunchError> {
    let mut lines = String::new();
    for (clock, LinuxTimeOffset { secs, nanosecs }) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(invalid("linux.timeOffsets", format!("there is no clock called {clock:?}")));
        }
        if *nanosecs > 999_999_999 {
            let why = format!("{nanosecs} ns are more than a second");
            return Err(invalid(format!("linux.timeOffsets.{clock}.nanosecs"), why));
        }
        lines += &format!("{clock} {secs} {nanosecs}\n");
    }
    Ok(lines)
}

fn root_propagation(spec: &Spec) -> Result<Option<(Propagation, Depth)>, LaunchError> {
    let word = spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation.as_deref()).unwrap_or_default();
    match mounts::propagation(word) {
        // It is one already, and so is all below it.
        Some((Propagation::Slave, _)) => Ok(None),
        Some(found) => Ok(Some(found)),
        None if word.is_empty() => Ok(None),
        None => Err(invalid("linux.rootfsPropagation", format!("there is none called {word:?}"))),
    }
}

/// Names and the numbers the kernel has for them.
pub type Named<T> = &'static [(&'static str, T)];

fn named<T: Copy>(table: Named<T>, name: &str, field: impl FnOnce() -> String) -> Result<T, LaunchError> {
    let found = table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    found.ok_or_else(|| invalid(field(), format!("there is none called {name:?}")))
}

fn flags(table: Named<u64>, names: &[String], field: impl Fn() -> String) -> Result<u64, LaunchError> {
    names.iter().try_fold(0, |flags, name| Ok(flags | named(table, name, &field)?))
}

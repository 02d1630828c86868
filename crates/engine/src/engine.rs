//! The engine: an opened pair of roots, and where everything of it is.

use crate::model::ContainerId;
use crate::record::Container;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use store::{Roots, Store, StoreError};

/// All containers, images, networks and volumes under one pair of roots; may be shared between threads.
///
/// It holds nothing but paths and a database connection: any number of engines, in any number of processes, work on the same roots.
pub struct Engine {
    store: Store,
    instance: String,
    network: net::Context,
    program: OnceLock<OwnedFd>,
    pub(crate) registry: OnceLock<registry::Client>,
    hierarchy: OnceLock<cgroup::Hierarchy>,
}

/// Under which number a hidden command finds the first of what [`Engine::spawn_hidden`] passes on.
pub(crate) const INHERITED_FD: i32 = 3;

impl Engine {
    /// Opens the roots, making what is missing; leftovers of killed processes are cleaned up as they are met.
    ///
    /// # Errors
    /// [`StoreError`] naming the path that could not be made or read.
    pub fn open(roots: &Roots) -> Result<Self, StoreError> {
        let store = Store::open(roots)?;
        let instance = roots.instance();
        let network = net::Context { instance: instance.clone(), run: roots.run.join("networks") };
        let (program, registry, hierarchy) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { store, instance, network, program, registry, hierarchy })
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Images of this engine.
    pub fn images(&self) -> image::Images<'_> {
        image::Images::new(&self.store)
    }

    /// What sets this engine's names on the host apart from other roots'.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whose networks these are; for building.
    pub fn net_context(&self) -> &net::Context {
        &self.network
    }

    /// The event log.
    pub fn events_path(&self) -> PathBuf {
        self.store.run().join("events.jsonl")
    }

    /// A container's directory in the data root.
    pub(crate) fn data_dir(&self, id: &ContainerId) -> PathBuf {
        self.store.container_dir(id.as_str())
    }

    /// A container's directory in the run root.
    pub(crate) fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.store.run().join("containers").join(id.as_str())
    }

    /// The program that monitors are: this one, on a mount through which no container can ever write to it (CVE-2019-5736).
    pub(crate) fn program(&self) -> io::Result<BorrowedFd<'_>> {
        match self.program.get() {
            Some(program) => Ok(program.as_fd()),
            None => {
                let sealed = runtime::seal::program()?;
                Ok(self.program.get_or_init(|| sealed).as_fd())
            }
        }
    }

    /// Starts one of hull's hidden commands, `args` and the descriptors that it finds from [`INHERITED_FD`] on, and leaves it to itself.
    pub(crate) fn spawn_hidden(&self, args: &[&OsStr], inherited: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Under no number that becomes another's before the exec.
        let above = INHERITED_FD + i32::try_from(inherited.len()).expect("they are few");
        let apart = |fd| sys::spawn::duplicate_above(fd, above);
        let program = apart(self.program()?)?;
        let inherited = inherited.iter().map(|fd| apart(*fd)).collect::<io::Result<Vec<_>>>()?;
        sys::spawn::spawn_forgotten(&sys::spawn::Spawn {
            program: Path::new(&format!("/proc/self/fd/{}", program.as_raw_fd())),
            args: &[&[OsStr::new("hull")], args].concat(),
            fds: &inherited.iter().map(AsFd::as_fd).zip(INHERITED_FD..).collect::<Vec<_>>(),
            new_session: true,
        })
        .map(drop)
    }

    /// Name of a container's control group.
    pub(crate) fn cgroup_name(&self, id: &ContainerId) -> String {
        format!("hull-{}/{id}", self.instance)
    }

    /// The path of a container's control group when `--cgroup-parent` says where it is.
    pub(crate) fn cgroup_path(&self, container: &Container) -> Option<PathBuf> {
        let parent =
            container.doc.spec.isolation.cgroup_parent.as_deref().filter(|parent| !parent.is_empty())?;
        Some(Path::new("/").join(parent).join(container.id.as_str()))
    }

    /// A container's control group, whether it exists or not.
    pub(crate) fn cgroup(&self, container: &Container) -> Result<cgroup::Cgroup, cgroup::CgroupError> {
        let hierarchy = self.hierarchy()?;
        match self.cgroup_path(container) {
            Some(path) => cgroup::Cgroup::at(hierarchy, &path),
            None => cgroup::Cgroup::open(hierarchy, &self.cgroup_name(&container.id)),
        }
    }

    /// The host's control groups.
    pub(crate) fn hierarchy(&self) -> Result<&cgroup::Hierarchy, cgroup::CgroupError> {
        match self.hierarchy.get() {
            Some(hierarchy) => Ok(hierarchy),
            None => {
                let found = cgroup::Hierarchy::usable()?;
                Ok(self.hierarchy.get_or_init(|| found))
            }
        }
    }

    /// Appends to the event log. An event that cannot be written is no failure of what it tells about.
    pub(crate) fn emit(&self, event: &monitor::events::Event) {
        let _ = monitor::events::append(&self.events_path(), event);
    }
}

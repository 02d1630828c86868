//! Creating a container that waits to be started.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cgroup::{Hierarchy, Manager};
use oci::runtime::NamespaceType;
use sys::fs::ProcessLock;

use super::bundle::Bundle;
use super::group::{Group, allow_default_devices};
use super::{CONFIG, Container, ContainerError, Containers, GATE, Identity, LOCK, Record};
use crate::seccomp::Seccomp;
use crate::{Launch, Lifetime, Process, Rootfs, Stdio, UserSpec};

/// A container to create.
#[derive(Debug)]
pub struct NewContainer<'a> {
    pub id: &'a str,
    pub bundle: Bundle,
    /// Who makes its control group, and how `linux.cgroupsPath` is to be read.
    pub manager: Manager,
    pub stdio: Stdio,
    /// How many descriptors after the standard streams the program inherits; the caller made sure that they are open.
    pub preserve_fds: u32,
    /// Whether the root is switched without pivot_root(2).
    pub no_pivot: bool,
}

/// A container just created. Dropping it without [`keep`](Self::keep) takes all of it back.
#[derive(Debug)]
pub struct Fresh {
    container: Option<Container>,
    process: Option<Process>,
    _lock: ProcessLock,
}

impl Containers {
    /// Creates a container, whose first process waits to be [started](Container::start) and outlives the caller.
    ///
    /// # Errors
    /// Nothing is left behind when this fails.
    pub fn create(&self, new: NewContainer<'_>) -> Result<Fresh, ContainerError> {
        let NewContainer { id, bundle, manager, stdio, preserve_fds, no_pivot } = new;
        let directory = self.directory(id)?;
        if directory.exists() {
            return Err(ContainerError::Exists { id: id.to_owned() });
        }
        let linux = bundle.spec.linux.as_ref();
        let seccomp = Seccomp::of(&bundle.spec);
        let mut resources = linux.and_then(|linux| linux.resources.clone()).unwrap_or_default();
        allow_default_devices(&mut resources.devices);
        let cgroup_failure = |source| ContainerError::Cgroup { id: id.to_owned(), source };
        let path = linux.and_then(|linux| linux.cgroups_path.as_deref());
        let (group, place) = Group::choose(manager, path, &self.root, id).map_err(cgroup_failure)?;
        let record = record(id, &bundle, group)?;
        let rootfs = Rootfs::Directory(record.rootfs.clone());
        // Before it is on record: whoever deletes the container kills what is in its group.
        if let Some(group) = record.group.open().map_err(cgroup_failure)?
            && group.exists()
            && group.pids().is_ok_and(|pids| !pids.is_empty())
        {
            return Err(ContainerError::GroupInUse { group: group.name().to_owned() });
        }
        let (lock, gate) = self.publish(&directory, &record, &bundle.json)?;
        let mut fresh =
            Fresh { container: Some(Container { directory, record }), process: None, _lock: lock };
        let container = fresh.container.as_mut().expect("it was just put there");
        let made = Hierarchy::detect()
            .and_then(|hierarchy| place.create(&hierarchy, &resources, &bundle.spec.annotations))
            .map_err(cgroup_failure)?;
        if let Group::Scope { path, .. } = &mut container.record.group {
            *path = Some(made.path.clone());
        }
        let created = crate::create(Launch {
            id,
            spec: &bundle.spec,
            rootfs: &rootfs,
            user: &UserSpec::Ids,
            extra_groups: &[],
            cgroup: Some(&made.group),
            seccomp: &seccomp,
            stdio,
            join: &[],
            init: false,
            bundle: &bundle.directory,
            lifetime: Lifetime::Own(gate),
            preserve_fds,
            no_pivot,
        })
        .map_err(|source| ContainerError::Create { source })?;
        container.record.process =
            Some(Identity::of(created.pid()).map_err(|source| container.files(source))?);
        container.record.write(&container.directory)?;
        let process = created.leave().map_err(|source| ContainerError::Create { source })?;
        // The first process is in the group by now.
        drop(made);
        container.record.complete = true;
        container.record.write(&container.directory)?;
        fresh.process = Some(process);
        Ok(fresh)
    }

    /// Makes the directory of a container, complete when it gets its name.
    fn publish(
        &self,
        directory: &Path,
        record: &Record,
        config: &[u8],
    ) -> Result<(ProcessLock, UnixListener), ContainerError> {
        let files = |source| ContainerError::Files { path: directory.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.root).map_err(files)?;
        let draft = Draft(self.root.join(format!(".{}.{}", record.id, std::process::id())));
        if draft.0.exists() {
            // Of a process that had our number before.
            sys::fs::remove_tree(&draft.0).map_err(files)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&draft.0).map_err(files)?;
        let lock = ProcessLock::acquire(draft.0.join(LOCK).as_path()).map_err(files)?;
        fs::write(draft.0.join(CONFIG), config).map_err(files)?;
        let gate = sys::fs::open_dir(draft.0.as_path())
            .and_then(|directory| sys::socket::listen_in(directory.as_fd(), GATE))
            .map_err(files)?;
        record.write(&draft.0)?;
        match sys::fs::rename_noreplace(draft.0.as_path(), directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ContainerError::Exists { id: record.id.clone() })
            }
            renamed => renamed.map_err(files).map(|()| (lock, gate)),
        }
    }
}

/// A directory under a name that only its maker knows; removed when dropped, unless it has got another name.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        if self.0.exists() {
            let _ = sys::fs::remove_tree(&self.0);
        }
    }
}

fn record(id: &str, bundle: &Bundle, group: Group) -> Result<Record, ContainerError> {
    let spec = &bundle.spec;
    if spec.process.is_none() {
        return Err(ContainerError::Incomplete { id: id.to_owned(), what: "process" });
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hooks = spec.hooks.clone().unwrap_or_default();
    let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    Ok(Record {
        version: Record::VERSION,
        id: id.to_owned(),
        oci_version: spec.oci_version.clone(),
        rootfs: bundle.rootfs(id)?,
        bundle: bundle.directory.clone(),
        created_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        owner: sys::process::user_id(),
        annotations: spec.annotations.clone(),
        group,
        own_pids: namespaces.any(|n| n.r#type == NamespaceType::Pid && n.path.is_none()),
        process: None,
        complete: false,
        poststart: hooks.poststart,
        poststop: hooks.poststop,
        intel_rdt: spec.linux.as_ref().and_then(|linux| linux.intel_rdt.clone()),
    })
}

impl Fresh {
    /// The process id of its first process.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().expect("only `keep` takes it, and consumes self").pid()
    }

    /// The first process.
    pub fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("only `keep` takes it, and consumes self")
    }

    /// Lets the container live.
    pub fn keep(mut self) -> (Container, Process) {
        let taken = self.container.take().zip(self.process.take());
        taken.expect("only this takes them, and consumes self")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(container) = &self.container {
            // Of what fails here nobody hears: the reason for it all is on its way to the user.
            let _ = container.destroy();
        }
    }
}

//! One more process in a running container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use cgroup::Cgroup;
use oci::runtime::NamespaceType;
use oci::runtime::State;
use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned};

use crate::create::{Created, group_fd};
use crate::listener::Listener;
use crate::plan::ProcessPlan;
use crate::seccomp::Seccomp;
use crate::users::IdMaps;
use crate::{LaunchError, Process, Stdio, UserSpec, birth, channel, child, outside, seal};

/// A process to start in a container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's id, for errors.
    pub id: &'a str,
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    pub process: &'a oci::runtime::Process,
    /// Those settings of the container that each of its processes has: its time namespace, `personality`, `memoryPolicy`.
    pub linux: Option<&'a oci::runtime::Linux>,
    pub user: &'a UserSpec,
    /// More supplementary groups, by name or number, resolved in the container.
    pub extra_groups: &'a [String],
    /// The container's control group; without one the process stays in the caller's.
    pub cgroup: Option<&'a Cgroup>,
    pub seccomp: &'a Seccomp,
    /// The container's state, which the agent of a seccomp listener is told; a filter that has one needs it.
    pub state: Option<&'a State>,
    pub stdio: Stdio,
    /// How many descriptors after the standard streams the program inherits.
    pub preserve_fds: u32,
}

/// Starts a process in the namespaces, root and control group of a running container.
pub fn exec(request: Exec<'_>) -> Result<Process, LaunchError> {
    let Exec {
        id,
        container,
        process,
        linux,
        user,
        extra_groups,
        cgroup,
        seccomp,
        state,
        stdio,
        preserve_fds,
    } = request;
    let failed = |source| LaunchError::Clone { id: id.to_owned(), source };
    seal::check(id)?;
    let mut plan = ProcessPlan::new(id, process, linux, user, extra_groups, seccomp, stdio)?;
    plan.preserve_fds = preserve_fds;
    match state {
        Some(state) => plan.listener = Listener::new(plan.filter.as_ref(), || state.clone())?,
        None if plan.filter.as_ref().is_some_and(|filter| filter.agent().is_some()) => {
            return Err(LaunchError::Unsupported {
                what: "SCMP_ACT_NOTIFY without the container's state".to_owned(),
            });
        }
        None => {}
    }
    // A process that starts on other processors than the group's enters it itself.
    let born_in = if plan.tuning.initial_affinity.is_some() { None } else { cgroup };
    let group = group_fd(born_in)?;
    let how = Clone { cgroup: group.as_ref().map(AsFd::as_fd), ..Clone::default() };
    let (caller, callee) = channel::pair().map_err(failed)?;
    let mut entry = Entry::new(container, &plan.stdio).map_err(failed)?;
    let mut namespaces = linux.iter().flat_map(|linux| &linux.namespaces);
    if namespaces.any(|namespace| namespace.r#type == NamespaceType::Time) {
        entry.kinds = entry.kinds.with(Kind::Time);
    }
    plan.other_users = entry.kinds.contains(Kind::User);
    match birth::give_birth_beside(container, how).map_err(failed)? {
        Cloned::Child => {
            drop(caller);
            child::run_exec(plan, container, entry.kinds, cgroup, &callee)
        }
        Cloned::Parent { pid, pidfd } => {
            // The child's end, or the end of the stream would never come.
            drop(callee);
            Created::new(id, pid, pidfd, caller).start()
        }
    }
}

/// What the caller finds out about the container before it clones into it.
struct Entry {
    kinds: KindSet,
}

impl Entry {
    fn new(container: BorrowedFd<'_>, stdio: &Stdio) -> io::Result<Self> {
        let pid = sys::process::pid_of(container)?;
        let kinds = birth::kinds_to_join(pid)?;
        if kinds.contains(Kind::User)
            && let Some(maps) = IdMaps::of_process(pid)?
        {
            outside::give_streams(&maps, stdio)?;
        }
        Ok(Self { kinds })
    }
}

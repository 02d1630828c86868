//! One more process in a running container.

use std::os::fd::{AsFd, BorrowedFd};

use cgroup::Cgroup;
use sys::namespace::KindSet;
use sys::process::{Clone, Cloned};

use crate::create::{Created, group_fd, in_pid_namespace};
use crate::plan::ProcessPlan;
use crate::seccomp::Seccomp;
use crate::{LaunchError, Process, Stdio, UserSpec, channel, child, seal};

/// A process to start in a container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's id, for errors.
    pub id: &'a str,
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    pub process: &'a oci::runtime::Process,
    pub user: &'a UserSpec,
    /// More supplementary groups, by name or number, resolved in the container.
    pub extra_groups: &'a [String],
    /// The container's control group; without one the process stays in the caller's.
    pub cgroup: Option<&'a Cgroup>,
    pub seccomp: &'a Seccomp,
    pub stdio: Stdio,
}

/// Starts a process in the namespaces, root and control group of a running container.
pub fn exec(request: Exec<'_>) -> Result<Process, LaunchError> {
    let Exec { id, container, process, user, extra_groups, cgroup, seccomp, stdio } = request;
    let failed = |source| LaunchError::Clone { id: id.to_owned(), source };
    seal::check(id)?;
    let plan = ProcessPlan::new(id, process, user, extra_groups, seccomp, stdio)?;
    let group = group_fd(cgroup)?;
    let how = Clone { cgroup: group.as_ref().map(AsFd::as_fd), ..Clone::default() };
    let (caller, callee) = channel::pair().map_err(failed)?;
    // The child is born in the container's pid namespace: joining that takes effect for children only.
    let cloned = in_pid_namespace(
        |pid| sys::namespace::join_process(container, KindSet::EMPTY.with(pid)),
        || sys::process::clone(how),
    );
    match cloned.map_err(failed)? {
        Cloned::Child => {
            drop(caller);
            child::run_exec(plan, container, cgroup, &callee)
        }
        Cloned::Parent { pid, pidfd } => {
            // The child's end, or the end of the stream would never come.
            drop(callee);
            Created::new(id, pid, pidfd, caller).start()
        }
    }
}

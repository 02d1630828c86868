//! The container's side: a fresh copy of the caller turns into the container's first process.
//!
//! The order matters, and this is why:
//! 0. Where the caller has a share in the work, wait for it: the id maps, mounts only the host's root can make.
//! 1. Not dumpable, before anything of the container could look at this process.
//! 2. Signals, session, control group, join namespaces: while the host's `/proc` and `/sys` are still what they are.
//! 3. The root, found with the rights of the host's root; then the container's own root, whose the mounts become. Sysctls through the new procfs before parts of it become read-only.
//! 4. Protection of paths, then the switch of root: from here on plain paths are the container's.
//! 5. What [`finish`] does for every process: who it is, where it is, what it may do, and its program.

mod account;
mod cgroup;
mod copy_up;
pub mod devices;
mod finish;
mod labels;
mod lookup;
mod mounts;
mod moved;
mod protect;
mod reaper;
mod rootfs;
mod terminal;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::cgroup::Cgroup;
use oci::runtime::{Hook, State, Status};
use sys::fs::OFlags;
use sys::mount::{Attributes, Change, Depth, Propagation, Tree};
use sys::namespace::{Kind, KindSet};

use crate::channel::{At, Child, Fault};
use crate::error::Step;
use crate::hooks;
use crate::plan::{ContainerPlan, ProcessPlan, tuning};

use finish::finish;
pub use finish::is_nameless_pipe;
pub use mounts::new_tree;

/// Becomes the container's first process; reports what goes wrong and ends then.
pub fn run(plan: ContainerPlan<'_>, channel: &Child) -> ! {
    let fault = match build(plan, channel) {
        Ok(never) => match never {},
        Err(fault) => fault,
    };
    channel.report(fault);
    sys::process::exit(1)
}

/// What a step returns that only ends by executing the program.
pub enum Never {}

fn build(plan: ContainerPlan<'_>, channel: &Child) -> Result<Never, Fault> {
    let mut goods = match plan.waits_for_caller() {
        true => Goods::receive(&plan, channel)?,
        false => Goods::default(),
    };
    let pid = goods.pid;
    settle(&plan.process)?;
    if !plan.has_other_users() {
        grant(&plan.process, "self")?;
    }
    enter_group(plan.cgroup, plan.process.id)?;
    let join = |(kind, fd): &(Kind, OwnedFd)| {
        sys::namespace::join(fd.as_fd(), *kind).at(Step::Join, || format!("{} namespace", kind.file()))
    };
    if !plan.has_other_users() {
        let others = |kind: Kind| !matches!(kind, Kind::Pid | Kind::Mount);
        plan.join.iter().filter(|(kind, _)| others(*kind)).try_for_each(join)?;
    }
    if let Some(offsets) = &plan.time_offsets {
        make_time(offsets)?;
    }
    let id = || plan.process.id.to_owned();
    if plan.cgroup_namespace {
        // Only now: its root is the group this process is in.
        sys::namespace::unshare(KindSet::EMPTY.with(Kind::Cgroup)).at(Step::Cgroup, id)?;
    }
    // Last of all: from here on paths are others.
    plan.join.iter().filter(|(kind, _)| *kind == Kind::Mount).try_for_each(join)?;
    let shared = mounts::copy_shared(&plan)?;
    // Slave, not private: a mount that asks for it still receives what the host mounts below its source.
    sys::mount::set_propagation("/", Propagation::Slave, Depth::Recursive).at(Step::Isolate, id)?;
    let null = protect::open_null()?;
    let root = match goods.root.take() {
        Some(tree) => rootfs::attach(&plan, tree)?,
        None => rootfs::open(plan.rootfs)?,
    };
    become_root(&plan.process)?;
    let made = mounts::make_all(&plan, shared, goods.mounts, root.as_fd())?;
    devices::make_all(&plan, goods.shelf, root.as_fd())?;
    let terminal = terminal::open_in_root(&plan.process.stdio, plan.process.process, root.as_fd())?;
    mounts::sysctls(plan.spec, made.proc.as_ref().map(AsFd::as_fd))?;
    create_working_directory(&plan, root.as_fd())?;
    protect::paths(plan.spec, root.as_fd(), null.as_fd())?;
    set_names(&plan)?;
    if let Some(all) = &plan.spec.hooks {
        run_hooks("createContainer", &all.create_container, &plan.state(Status::Creating, pid))?;
    }
    switch_root(&plan, root.as_fd())?;
    let before_start = || match &plan.spec.hooks {
        Some(all) => run_hooks("startContainer", &all.start_container, &plan.state(Status::Created, pid)),
        None => Ok(()),
    };
    finish(&plan.process, terminal, channel, before_start)
}

/// What the caller prepared, each thing where the plan wants it.
#[derive(Default)]
struct Goods {
    /// This process as the caller sees it.
    pid: i32,
    root: Option<Tree>,
    /// The device nodes to be bound.
    shelf: Option<Tree>,
    /// For each mount of the plan; empty when there is none at all.
    mounts: Vec<Option<Tree>>,
}

impl Goods {
    fn receive(plan: &ContainerPlan<'_>, channel: &Child) -> Result<Self, Fault> {
        let (pid, fds) = channel.receive_goods()?;
        let mut trees = fds.into_iter().map(Tree::from_fd);
        let mut next = || trees.next().ok_or(Fault::Abandoned).map(Some);
        let root = if plan.root_from_outside() { next()? } else { None };
        let shelf = if plan.shelf.is_empty() { None } else { next()? };
        let wanted = plan.mounts.iter().map(|mount| plan.mount_from_outside(mount));
        let mounts = wanted.map(|wanted| if wanted { next() } else { Ok(None) }).collect::<Result<_, _>>()?;
        Ok(Self { pid, root, shelf, mounts })
    }
}

fn run_hooks(point: &'static str, hooks: &[Hook], state: &State) -> Result<(), Fault> {
    hooks::run(point, hooks, state).map_err(|error| Fault::Hook(error.to_string()))
}

const ENOSYS: i32 = 38;

/// Puts this process into its control group, unless it was born there.
fn enter_group(group: Option<&Cgroup>, id: &str) -> Result<(), Fault> {
    group.map_or(Ok(()), Cgroup::enter).at(Step::Cgroup, || id.to_owned())
}

/// Enters a time namespace of its own, whose clocks are set before anybody is in it: then they no longer can be.
fn make_time(offsets: &str) -> Result<(), Fault> {
    let object = || "linux.timeOffsets".to_owned();
    sys::namespace::unshare(KindSet::EMPTY.with(Kind::Time)).at(Step::Limit, object)?;
    std::fs::write("/proc/self/timens_offsets", offsets).at(Step::Limit, object)?;
    sys::namespace::open_path("/proc/self/ns/time_for_children".as_ref())
        .and_then(|namespace| sys::namespace::join(namespace.as_fd(), Kind::Time))
        .at(Step::Limit, object)
}

/// What has to be done before anything of the container is touched.
fn settle(plan: &ProcessPlan<'_>) -> Result<(), Fault> {
    let id = || plan.id.to_owned();
    // CVE-2016-9962: a process in the container must not trace this one, nor reach its descriptors or its program.
    sys::process::set_dumpable(false).at(Step::Rights, || "dumpable flag".to_owned())?;
    sys::signal::reset().at(Step::Isolate, id)?;
    sys::process::new_session().at(Step::Isolate, id)?;
    sys::process::set_umask(0);
    Ok(())
}

/// Gives the process `pid` (or `self`) what only the host's root may.
pub fn grant(plan: &ProcessPlan<'_>, pid: &str) -> Result<(), Fault> {
    match plan.process.oom_score_adj {
        None => Ok(()),
        Some(adjustment) => std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjustment.to_string())
            .at(Step::Limit, || format!("process.oomScoreAdj to {adjustment}")),
    }
}

/// Gives the process `pid` (0: the caller), which is or will be of another user namespace, what nobody there may take.
pub fn grant_ahead(plan: &ProcessPlan<'_>, pid: i32) -> Result<(), Fault> {
    for limit in &plan.limits {
        limit.permit(pid).at(Step::Limit, || format!("{} to {}:{}", limit.name, limit.soft, limit.hard))?;
    }
    plan.tuning.schedule(pid)
}

/// Takes the rights and belongings of the container's root: of another one than so far, where the user namespace is another.
fn become_root(plan: &ProcessPlan<'_>) -> Result<(), Fault> {
    let id = || plan.id.to_owned();
    if plan.other_users {
        // What is made from here on belongs to the container; the caller's own ids have no name in it.
        sys::process::set_identity(0, 0, &[]).at(Step::Identity, || "root of the container".to_owned())?;
        sys::process::set_dumpable(false).at(Step::Rights, || "dumpable flag".to_owned())?;
    }
    match sys::process::new_session_keyring() {
        // A kernel without keyrings has none to share.
        Err(error) if error.raw_os_error() == Some(ENOSYS) => Ok(()),
        other => other.at(Step::Keyring, id),
    }
}

fn create_working_directory(plan: &ContainerPlan<'_>, root: impl AsFd) -> Result<(), Fault> {
    let cwd = &plan.process.process.cwd;
    sys::fs::create_dir_all_in_root(root, cwd, 0o755)
        .map(drop)
        .at(Step::WorkDir, || cwd.display().to_string())
}

fn switch_root(plan: &ContainerPlan<'_>, root: impl AsFd) -> Result<(), Fault> {
    let id = || plan.process.id.to_owned();
    match plan.no_pivot {
        false => sys::mount::pivot_root(root.as_fd()),
        true => moved::switch(root.as_fd()),
    }
    .at(Step::Root, id)?;
    let read_only = plan.spec.root.as_ref().is_some_and(|root| root.readonly);
    let set = if read_only { Attributes::READ_ONLY } else { Attributes::NONE };
    let slash = || "/".to_owned();
    if set.is_empty() && plan.root_propagation.is_none() {
        return Ok(());
    }
    let root = sys::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Root, id)?;
    if let Some((propagation, depth)) = plan.root_propagation {
        let change = Change { propagation: Some(propagation), ..Change::default() };
        sys::mount::change(&root, change, depth).at(Step::Protect, slash)?;
    }
    match set.is_empty() {
        true => Ok(()),
        false => sys::mount::change(&root, Change::set(set), Depth::One).at(Step::Protect, slash),
    }
}

fn set_names(plan: &ContainerPlan<'_>) -> Result<(), Fault> {
    if !plan.owns_names() {
        return Ok(());
    }
    if let Some(name) = &plan.spec.hostname {
        sys::process::set_hostname(name).at(Step::Hostname, || name.clone())?;
    }
    if let Some(name) = &plan.spec.domainname {
        sys::process::set_domainname(name).at(Step::Hostname, || name.clone())?;
    }
    Ok(())
}

/// Becomes one more process of a running container.
pub fn run_exec(
    plan: ProcessPlan<'_>,
    container: BorrowedFd<'_>,
    namespaces: KindSet,
    group: Option<&Cgroup>,
    channel: &Child,
) -> ! {
    let fault = match enter(plan, container, namespaces, group, channel) {
        Ok(never) => match never {},
        Err(fault) => fault,
    };
    channel.report(fault);
    sys::process::exit(1)
}

fn enter(
    plan: ProcessPlan<'_>,
    container: BorrowedFd<'_>,
    namespaces: KindSet,
    group: Option<&Cgroup>,
    channel: &Child,
) -> Result<Never, Fault> {
    settle(&plan)?;
    grant(&plan, "self")?;
    tuning::move_to(plan.tuning.initial_affinity.as_ref(), "initial")?;
    // While the host's cgroup file systems are in sight.
    match group {
        // With processors of its own outside, it was not born in the group.
        Some(group) if plan.tuning.initial_affinity.is_some() => {
            group.add(0).map_err(io::Error::other).at(Step::Cgroup, || plan.id.to_owned())?;
        }
        group => enter_group(group, plan.id)?,
    }
    tuning::move_to(plan.tuning.final_affinity.as_ref(), "final")?;
    if plan.other_users {
        grant_ahead(&plan, 0)?;
    }
    sys::namespace::join_process(container, namespaces).at(Step::Join, || "namespaces".to_owned())?;
    become_root(&plan)?;
    let root =
        sys::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Root, || plan.id.to_owned())?;
    let terminal = terminal::open(&plan.stdio, plan.process, root.as_fd())?;
    finish(&plan, terminal, channel, || Ok(()))
}

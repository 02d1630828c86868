//! The caller's share of a container's set-up, done while its first process waits: what takes rights on the host that a
//! process in a user namespace of its own no longer has.
//!
//! The id maps come first. Then the mounts whose files get other owners, or whose sources only the host's root may open: each is
//! prepared attached to nothing and handed over as a descriptor, which the first process attaches in its own mount namespace.

mod dev;
mod netdev;
mod owners;
pub mod rdt;
mod root;
mod shelf;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::Status;
use sys::mount::Tree;
use sys::namespace::Kind;

use crate::channel::{At, Caller, Fault};
use crate::error::Step;
use crate::plan::{ContainerPlan, IdMap, MountPlan, Source, Users};
use crate::users::IdMaps;
use crate::{Stdio, birth, child, foreign, hooks};

/// Does all of it for the container whose first process is `pid`, and lets that go on.
pub fn prepare(plan: &ContainerPlan<'_>, pid: i32, channel: &Caller) -> Result<(), Fault> {
    let id = || plan.process.id.to_owned();
    if let Users::New(maps) = &plan.users {
        maps.write(pid).at(Step::IdMaps, id)?;
    }
    if plan.has_other_users() {
        child::grant(&plan.process, &pid.to_string())?;
        child::grant_ahead(&plan.process, pid)?;
    }
    if let (Some(rdt), Some(root)) =
        (plan.spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref()), &plan.resctrl)
    {
        rdt::assign(root, rdt, plan.process.id, pid)?;
    }
    netdev::move_all(plan, pid)?;
    if let Some(all) = &plan.spec.hooks {
        let state = plan.state(Status::Creating, pid);
        for (point, hooks) in [("prestart", &all.prestart), ("createRuntime", &all.create_runtime)] {
            hooks::run(point, hooks, &state).map_err(|error| Fault::Hook(error.to_string()))?;
        }
    }
    let world = World::of(plan, pid)?;
    if let Some(world) = &world {
        give_streams(&world.maps, &plan.process.stdio).at(Step::Stdio, || "its streams".to_owned())?;
    }
    let mut trees = Vec::new();
    if plan.root_from_outside() {
        trees.push(root::prepare(plan.rootfs, world.as_ref())?);
    }
    if !plan.shelf.is_empty() {
        trees.push(shelf::prepare(&plan.shelf, world.as_ref())?);
    }
    for mount in plan.mounts.iter().filter(|mount| plan.mount_from_outside(mount)) {
        trees.push(mount_tree(plan, mount, world.as_ref())?);
    }
    let fds: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
    channel.hand_over(pid, &fds).at(Step::Channel, id)
}

/// Makes the file system that shows a namespace of `kind` which is not the container's own.
fn view(
    plan: &ContainerPlan<'_>,
    kind: Kind,
    mount: &MountPlan<'_>,
    source: Option<&Path>,
    data: &[(&str, Option<&str>)],
) -> Result<Tree, Fault> {
    let Source::New { kind: file_system, .. } = mount.source else {
        unreachable!("only a new file system is a view");
    };
    let object = || mount.destination.display().to_string();
    let joined: Vec<_> = plan
        .join
        .iter()
        .filter(|(joined, _)| *joined == kind)
        .map(|(kind, fd)| (*kind, fd.as_fd()))
        .collect();
    let tree = birth::visit(&joined, || Ok(child::new_tree(mount, file_system, source, data)), |_| false);
    tree.at(Step::Mount, object)?
}

/// The user namespace of the container, when it has one.
pub struct World {
    pub namespace: OwnedFd,
    pub maps: IdMaps,
}

impl World {
    fn of(plan: &ContainerPlan<'_>, pid: i32) -> Result<Option<Self>, Fault> {
        let id = || plan.process.id.to_owned();
        let maps = match &plan.users {
            Users::Hosts => None,
            Users::New(maps) => Some(maps.clone()),
            Users::Joined(_) => IdMaps::of_process(pid).at(Step::IdMaps, id)?,
        };
        let Some(maps) = maps else { return Ok(None) };
        let namespace = sys::namespace::open(pid, Kind::User).at(Step::IdMaps, id)?;
        Ok(Some(Self { namespace, maps }))
    }

    /// The host's ids of the container's root.
    pub fn root(&self) -> Option<(u32, u32)> {
        self.maps.host_uid(0).zip(self.maps.host_gid(0))
    }
}

/// Makes pipes that were made for the process the property of the container's root, who may then give them to its user.
pub fn give_streams(maps: &IdMaps, stdio: &Stdio) -> io::Result<()> {
    let Stdio::Fds { stdin, stdout, stderr } = stdio else { return Ok(()) };
    let Some((uid, gid)) = maps.host_uid(0).zip(maps.host_gid(0)) else { return Ok(()) };
    for fd in [stdin, stdout, stderr].into_iter().flatten() {
        if child::is_nameless_pipe(fd.as_fd())? {
            sys::fs::chown(fd, uid, gid)?;
        }
    }
    Ok(())
}

fn mount_tree(plan: &ContainerPlan<'_>, mount: &MountPlan<'_>, world: Option<&World>) -> Result<Tree, Fault> {
    let (path, depth) = match &mount.source {
        Source::Bind { path, depth } => (*path, *depth),
        Source::New { kind: "overlay", data, .. } => return root::overlay_mount(mount, data, world),
        Source::New { kind: "sysfs", source, data } => {
            return view(plan, Kind::Network, mount, *source, data);
        }
        Source::New { kind: "mqueue", source, data } => return view(plan, Kind::Ipc, mount, *source, data),
        Source::New { data, .. } => return dev::prepare(plan.spec, mount, data, world),
        Source::Cgroup | Source::Remount { .. } => unreachable!("the container's own process does it"),
    };
    let copied = match foreign::parse(path) {
        Some((pid, inner)) => foreign::copy(pid, &inner, depth),
        None => Tree::copy(path, depth),
    };
    let tree = copied.at(Step::Source, || path.display().to_string())?;
    match (&mount.id_map, world) {
        (None, _) => {}
        (Some(IdMap { maps: Some(maps), depth }), _) => {
            let object = || format!("{} to the ids of the container", path.display());
            let namespace = maps.open_namespace().at(Step::IdMaps, object)?;
            owners::map(&tree, namespace.as_fd(), *depth, path)?;
        }
        (Some(IdMap { maps: None, depth }), Some(world)) => {
            owners::map(&tree, world.namespace.as_fd(), *depth, path)?;
        }
        // Its ids are the host's: there is nothing to map.
        (Some(IdMap { maps: None, .. }), None) => {}
    }
    Ok(tree)
}

//! `/dev` of a container with a user namespace: such a container's own process may not make device nodes.

use std::os::fd::AsFd;

use oci::runtime::Spec;
use sys::mount::Tree;

use super::World;
use crate::channel::{At, Fault};
use crate::child::{self, devices};
use crate::error::Step;
use crate::plan::{Datum, MountPlan};

/// Makes the tmpfs with every node in it, all of it the property of the container's root.
pub fn prepare(
    spec: &Spec,
    mount: &MountPlan<'_>,
    data: &[Datum<'_>],
    world: Option<&World>,
) -> Result<Tree, Fault> {
    let tree = child::new_tree(mount, "tmpfs", None, data)?;
    let root = world.and_then(World::root).unwrap_or((0, 0));
    sys::fs::chown_at(&tree, ".", root.0, root.1).at(Step::Device, || "/dev".to_owned())?;
    let owner = |uid: u32, gid: u32| match world {
        Some(world) => world.maps.host_uid(uid).zip(world.maps.host_gid(gid)).unwrap_or(root),
        None => (uid, gid),
    };
    devices::make_nodes(spec, tree.as_fd(), owner)?;
    Ok(tree)
}

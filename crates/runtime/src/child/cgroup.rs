//! `/sys/fs/cgroup`: the container's own control groups, nothing above them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use cgroup::Cgroup;
use sys::fs::OFlags;
use sys::mount::{Attributes, Change, Context, Depth, Tree};

use super::mounts::target;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::MountPlan;

pub fn mount(group: Option<&Cgroup>, mount: &MountPlan<'_>, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let object = || format!("cgroup at {}", mount.destination.display());
    let attributes = mount.change.set.with(mount.recursive.set);
    let views = group.and_then(Cgroup::v1_views);
    let kind = if views.is_some() { "tmpfs" } else { "cgroup2" };
    // The tmpfs of v1 is filled first and made read-only then.
    let first = if views.is_some() { attributes.without(Attributes::READ_ONLY) } else { attributes };
    let tree = Context::open(kind).and_then(|context| context.mount(first)).at(Step::Mount, object)?;
    let target = target(root, mount, &tree)?;
    tree.attach(target).at(Step::Mount, object)?;
    let Some(views) = views else { return spread(mount, &tree) };
    for (controllers, path) in views {
        add_view(tree.as_fd(), controllers, path, attributes).at(Step::Mount, object)?;
    }
    tree.change(Change::set(attributes), Depth::One).at(Step::Mount, object)?;
    spread(mount, &tree)
}

fn spread(mount: &MountPlan<'_>, tree: &Tree) -> Result<(), Fault> {
    let Some((propagation, depth)) = mount.propagation else { return Ok(()) };
    let change = Change { propagation: Some(propagation), ..Change::default() };
    tree.change(change, depth).at(Step::Mount, || format!("cgroup at {}", mount.destination.display()))
}

/// Binds the group's directory in one v1 hierarchy: cheaper than mounting the hierarchy anew, and shows the same.
fn add_view(
    tmpfs: BorrowedFd<'_>,
    controllers: &[String],
    path: &Path,
    attributes: Attributes,
) -> io::Result<()> {
    let view = match Tree::copy(path, Depth::One) {
        // The group is not a member of this hierarchy.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    view.change(Change::set(attributes), Depth::One)?;
    let name = controllers.join(",");
    sys::fs::mkdir_at(tmpfs, &*name, 0o755)?;
    view.attach(sys::fs::open_at(tmpfs, &*name, OFlags::PATH | OFlags::DIRECTORY, 0)?)?;
    for controller in controllers.iter().filter(|controller| **controller != name) {
        sys::fs::symlink_at(&*name, tmpfs, controller.as_str())?;
    }
    Ok(())
}

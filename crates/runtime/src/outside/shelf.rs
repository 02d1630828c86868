//! Device nodes for a container with a user namespace that do not lie in a `/dev` of its own: made here, on a tmpfs that the
//! container's own process takes them from, each by a bind mount.

use std::os::fd::AsFd;

use oci::runtime::LinuxDevice;
use sys::mount::{Attributes, Context, Tree};

use super::World;
use crate::channel::{At, Fault};
use crate::child::devices;
use crate::error::Step;

/// Makes a tmpfs with the nodes, each under its number, owned by whom the container knows as their owner.
pub fn prepare(devices: &[LinuxDevice], world: Option<&World>) -> Result<Tree, Fault> {
    let object = || "a directory for device nodes".to_owned();
    let tree = Context::open("tmpfs")
        .and_then(|context| context.mount(Attributes::NO_SUID.with(Attributes::NO_EXEC)))
        .at(Step::Device, object)?;
    for (number, device) in devices.iter().enumerate() {
        let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
        let owner = match world {
            Some(world) => world.maps.host_uid(uid).zip(world.maps.host_gid(gid)),
            None => Some((uid, gid)),
        };
        // Nobody in the container could be its owner.
        let owner = owner.ok_or_else(|| {
            let error = std::io::ErrorKind::InvalidInput.into();
            Fault::new(Step::Device, format!("{} for {uid}:{gid}", device.path.display()), &error)
        })?;
        devices::add(tree.as_fd(), number.to_string().as_ref(), device, (Some(owner.0), Some(owner.1)))
            .at(Step::Device, || device.path.display().to_string())?;
    }
    Ok(tree)
}

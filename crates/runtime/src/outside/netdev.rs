//! Network devices that move from the host into the container, with their addresses.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::namespace::Kind;
use sys::netlink::route::{Change, RouteSocket};

use crate::birth;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::ContainerPlan;

/// Moves every device of `linux.netDevices` to the container, whose first process is `pid`.
///
/// A device keeps its hardware address, its MTU and its lasting global addresses, and is up at the end (runtime-spec,
/// `config-linux.md`, "Network Devices"). One that could not be set up goes back.
pub fn move_all(plan: &ContainerPlan<'_>, pid: i32) -> Result<(), Fault> {
    let Some(linux) = plan.spec.linux.as_ref().filter(|linux| !linux.net_devices.is_empty()) else {
        return Ok(());
    };
    let object = || "in the container's network namespace".to_owned();
    let own = sys::namespace::open_own(Kind::Network).at(Step::NetDevice, object)?;
    let opened: OwnedFd;
    let theirs = match plan.join.iter().find(|(kind, _)| *kind == Kind::Network) {
        Some((_, joined)) => joined.as_fd(),
        None => {
            opened = sys::namespace::open(pid, Kind::Network).at(Step::NetDevice, object)?;
            opened.as_fd()
        }
    };
    let here = RouteSocket::open().at(Step::NetDevice, object)?;
    // A socket stays in the namespace it was opened in.
    let there =
        birth::visit(&[(Kind::Network, theirs)], RouteSocket::open, |_| false).at(Step::NetDevice, object)?;
    for (name, device) in &linux.net_devices {
        let new = device.name.as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        let journey = Journey { here: &here, there: &there, own: own.as_fd(), theirs };
        journey.make(name, new).map_err(|error| {
            let errno = error.errno().map_or(EIO, |errno| errno.raw_os_error());
            let what = if new == name { name.clone() } else { format!("{name} as {new}") };
            Fault::new(Step::NetDevice, what, &std::io::Error::from_raw_os_error(errno))
        })?;
    }
    Ok(())
}

const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

/// From one namespace to another.
struct Journey<'a> {
    here: &'a RouteSocket,
    there: &'a RouteSocket,
    own: BorrowedFd<'a>,
    theirs: BorrowedFd<'a>,
}

impl Journey<'_> {
    fn make(&self, name: &str, new: &str) -> Result<(), sys::netlink::Error> {
        let link = self.here.link(name)?.ok_or_else(|| std::io::Error::from_raw_os_error(ENODEV))?;
        let addresses = self.here.lasting_addresses(link.index)?;
        let before = self.there.links()?;
        if before.iter().any(|known| known.name == new) {
            return Err(std::io::Error::from_raw_os_error(EEXIST).into());
        }
        let moved = self.here.apply(&[Change::Move { index: link.index, netns: self.theirs, name: new }]);
        // The name may have been a pattern (`eth%d`), and the number may have been taken there. A name that failed may leave
        // the device there as well.
        let links = self.there.links()?;
        let Some(arrived) = links.iter().find(|link| before.iter().all(|known| known.index != link.index))
        else {
            return moved;
        };
        let index = arrived.index;
        let settled = moved
            .and_then(|()| self.there.add_addresses(index, &addresses))
            .and_then(|()| self.there.apply(&[Change::Up { index }]));
        if settled.is_err() {
            // The first error is the one that is told.
            let _ = self.there.apply(&[Change::Move { index, netns: self.own, name }]);
            if let Ok(Some(back)) = self.here.link(name) {
                let _ = self.here.add_addresses(back.index, &addresses);
                let _ = if link.up { self.here.apply(&[Change::Up { index: back.index }]) } else { Ok(()) };
            }
        }
        settled
    }
}

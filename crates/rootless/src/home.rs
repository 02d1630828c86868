//! Making the namespaces, and keeping them alive.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sys::fs::OFlags;
use sys::mount::{Depth, Tree};
use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned};

use crate::HomeError;
use crate::record::users_of;
use crate::subids::Ids;

/// What a home consists of.
pub const KINDS: KindSet = KindSet::EMPTY.with(Kind::User).with(Kind::Mount).with(Kind::Network);

/// The process that keeps a home: as long as it lives, others can join.
#[derive(Debug)]
pub struct Anchor {
    pub pid: i32,
    pub process: OwnedFd,
    pub users: u64,
}

/// Makes a home. `resolv_conf` takes the place of `/etc/resolv.conf` in it.
pub fn make(ids: &Ids, resolv_conf: Option<PathBuf>) -> Result<Anchor, HomeError> {
    let failed = |source| HomeError::Home { action: "make", source };
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    match sys::process::clone(Clone { namespaces: KINDS, ..Clone::default() })
        .map_err(|source| HomeError::Namespaces { source })?
    {
        Cloned::Child => {
            drop(ours);
            let settled = wait_for_ids(&theirs).and_then(|()| settle(resolv_conf.as_deref()));
            stay(settled, theirs)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let anchor = Guard(Some(pidfd));
            ids.write(pid)?;
            ours.write_all(b"i").map_err(failed)?;
            anchor.settled(pid, ours).map_err(failed)
        }
    }
}

/// Puts an anchor into the home that `inhabitant` lives in, whose own is gone.
pub fn adopt(inhabitant: OwnedFd) -> Result<Anchor, HomeError> {
    let failed = |source| HomeError::Home { action: "find back to", source };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    match sys::process::clone(Clone::default()).map_err(failed)? {
        Cloned::Child => {
            drop(ours);
            let joined = sys::namespace::join_process(inhabitant.as_fd(), KINDS);
            stay(joined.and_then(|()| become_root()), theirs)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            Guard(Some(pidfd)).settled(pid, ours).map_err(failed)
        }
    }
}

/// Ends the anchor of a home that did not come about.
struct Guard(Option<OwnedFd>);

impl Guard {
    fn settled(mut self, pid: i32, mut channel: UnixStream) -> io::Result<Anchor> {
        let mut errno = [0; 4];
        channel.read_exact(&mut errno)?;
        match i32::from_le_bytes(errno) {
            0 => {
                let users = users_of(pid).ok_or(io::ErrorKind::NotFound)?;
                let process = self.0.take().expect("only this takes it, and consumes self");
                Ok(Anchor { pid, process, users })
            }
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _ = sys::process::send_signal(process.as_fd(), SIGKILL);
            let _ = sys::process::wait(process.as_fd());
        }
    }
}

pub const SIGKILL: i32 = 9;
const EIO: i32 = 5;

fn wait_for_ids(mut channel: &UnixStream) -> io::Result<()> {
    channel.read_exact(&mut [0])
}

fn settle(resolv_conf: Option<&Path>) -> io::Result<()> {
    become_root()?;
    if let Some(file) = resolv_conf
        && let Ok(place) = sys::fs::open("/etc/resolv.conf", OFlags::PATH, 0)
    {
        Tree::copy(file, Depth::One)?.attach(place)?;
    }
    // Programs of an image may send pings, as they may under root's hull; the ids end where the user's do.
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 65535");
    net::loopback_up(sys::namespace::open_own(Kind::Network)?.as_fd()).map_err(io::Error::other)
}

fn become_root() -> io::Result<()> {
    sys::process::set_identity(0, 0, &[])?;
    // The change of user took that away, and with it everybody's right to join.
    sys::process::set_dumpable(true)?;
    sys::process::die_with_parent()?;
    sys::process::set_name(c"hull-home")
}

/// Reports how it went, and does nothing from then on.
fn stay(settled: io::Result<()>, mut channel: UnixStream) -> ! {
    let errno = match &settled {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(EIO),
    };
    let told = channel.write_all(&errno.to_le_bytes());
    if errno != 0 || told.is_err() {
        sys::process::exit(1);
    }
    drop(channel);
    // What the keeper had open is not this process's to keep.
    let _ = sys::process::close_from(3);
    loop {
        std::thread::park();
    }
}

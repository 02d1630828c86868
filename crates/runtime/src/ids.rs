//! Ranges of host ids for containers, each leased to one at a time.
//!
//! The files of images and volumes carry the container's own ids on the disk and are mapped when they are mounted. So a range
//! means nothing once its processes are gone, and a lease need only last as long as they do: it is a lock on one byte of
//! [`LOCKS`], which the kernel takes back when the holder ends, however it ends. All data roots of a host share that file.

mod identity;
mod policy;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::IdMapping;
use sys::fs::OFlags;
use sys::namespace::Kind;

use crate::users::IdMaps;

pub use identity::Identity;
pub use policy::{Policy, PolicyError, Users, fit, fit_groups};

/// How many ids a container has.
pub const RANGE: u32 = 65_536;

/// Byte N is locked while range N of the pool is leased.
const LOCKS: &str = "/run/hull-ids";

/// Where the pool is when `/etc/subuid` and `/etc/subgid` do not say: above the ids distributions give out, below those some
/// programs take for negative.
const DEFAULT: Pool = Pool { first: 0x7000_0000, ranges: 4095 };

/// All the ids containers may get on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    first: u32,
    ranges: u32,
}

impl Pool {
    /// The pool of this host: what `/etc/subuid` and `/etc/subgid` both give to `hull`, or else the default.
    ///
    /// # Errors
    /// Entries for `hull` that differ, or that do not hold one range.
    pub fn of_host() -> io::Result<Self> {
        let read = |path: &str| match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        Self::from_files(&read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    fn from_files(subuid: &str, subgid: &str) -> io::Result<Self> {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        match (entry(subuid), entry(subgid)) {
            (None, None) => Ok(DEFAULT),
            (Some(uids), Some(gids)) if uids != gids => {
                invalid("/etc/subuid and /etc/subgid give hull different ids")
            }
            (Some((first, count)), Some(_)) if count >= RANGE && first.checked_add(count).is_some() => {
                Ok(Self { first, ranges: count / RANGE })
            }
            (Some(_), Some(_)) => invalid("/etc/subuid gives hull fewer than 65536 ids"),
            _ => invalid("only one of /etc/subuid and /etc/subgid has an entry for hull"),
        }
    }

    /// Leases a range nobody else on this host has.
    ///
    /// # Errors
    /// `StorageFull` when all are taken.
    pub fn lease(self) -> io::Result<Lease> {
        self.lease_from(Path::new(LOCKS))
    }

    fn lease_from(self, locks: &Path) -> io::Result<Lease> {
        let file = sys::fs::open(locks, OFlags::RDWR | OFlags::CREATE, 0o600)?;
        // Spread by the pid, so that many starts at once do not all try the same ranges first.
        let start = std::process::id() % self.ranges;
        for n in 0..self.ranges {
            let number = (start + n) % self.ranges;
            if sys::fs::try_lock_byte(&file, number.into())? {
                return Ok(Lease { first: self.first + number * RANGE, _lock: file });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("all {} ranges of ids are in use", self.ranges),
        ))
    }
}

fn entry(text: &str) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.strip_prefix("hull:")?.split(':');
        Some((fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?))
    })
}

/// The map of 65,536 ids to the host's from `first` on.
fn mapping(first: u32) -> IdMapping {
    IdMapping { container_id: 0, host_id: first, size: RANGE }
}

/// Makes a user namespace with the range of ids from `first` on, and a network namespace that belongs to it; no process lives
/// in them. The caller has one thread.
pub fn open_namespaces(first: u32) -> io::Result<[OwnedFd; 2]> {
    let map = [mapping(first)];
    let maps = IdMaps::new(&map, &map, "range").map_err(io::Error::other)?;
    maps.open_namespaces([Kind::User, Kind::Network])
}

/// A range that is this process's to give to a container.
#[derive(Debug)]
pub struct Lease {
    first: u32,
    _lock: OwnedFd,
}

impl Lease {
    /// The host's id of the container's 0.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The map of users, and of groups.
    pub fn mapping(&self) -> IdMapping {
        mapping(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_what_both_files_say() {
        let check = |uids: &str, gids: &str| Pool::from_files(uids, gids).map_err(|error| error.to_string());
        assert_eq!(check("", "joe:1:2\n"), Ok(DEFAULT));
        let given = "joe:1:2\nhull:100000:131073\n";
        assert_eq!(check(given, given), Ok(Pool { first: 100_000, ranges: 2 }));
        assert!(check(given, "").unwrap_err().starts_with("only one of"));
        assert!(check(given, "hull:1:131073").unwrap_err().contains("different"));
        assert!(check("hull:5:7", "hull:5:7").unwrap_err().contains("fewer"));
    }

    #[test]
    fn a_range_is_leased_once_and_comes_back() {
        let locks = std::env::temp_dir().join(format!("hull-ids-test-{}", std::process::id()));
        let pool = Pool { first: 1000, ranges: 2 };
        let (one, two) = (pool.lease_from(&locks).unwrap(), pool.lease_from(&locks).unwrap());
        assert_ne!(one.first(), two.first());
        assert_eq!(pool.lease_from(&locks).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let first = one.first();
        drop(one);
        assert_eq!(pool.lease_from(&locks).unwrap().first(), first);
        std::fs::remove_file(&locks).unwrap();
    }
}

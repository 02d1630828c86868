//! User namespaces: which ids of the host the container's are.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::IdMapping;
use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned};

use crate::LaunchError;
use crate::plan::invalid;

/// The kernel's limit on the lines of one map (user_namespaces(7)).
const MAX_LINES: usize = 340;

/// The maps of users and of groups, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct IdMaps {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
}

impl IdMaps {
    /// Checks both maps; `what` names them in errors.
    ///
    /// # Errors
    /// A map that is empty or too long, a range that is empty or ends beyond the last id, ranges that overlap on either side.
    pub fn new(uids: &[IdMapping], gids: &[IdMapping], what: &str) -> Result<Self, LaunchError> {
        check(uids, &format!("{what}.uidMappings"))?;
        check(gids, &format!("{what}.gidMappings"))?;
        Ok(Self { uids: uids.to_vec(), gids: gids.to_vec() })
    }

    /// The maps a process lives under; `None` when they are those of a namespace in which every id is its own.
    pub fn of_process(pid: i32) -> io::Result<Option<Self>> {
        let read = |name| parse(&std::fs::read_to_string(format!("/proc/{pid}/{name}"))?);
        let maps = Self { uids: read("uid_map")?, gids: read("gid_map")? };
        let identity = [IdMapping { container_id: 0, host_id: 0, size: u32::MAX }];
        Ok((maps.uids != identity || maps.gids != identity).then_some(maps))
    }

    /// The host's number of the container's user.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        to_host(&self.uids, uid)
    }

    /// The host's number of the container's group.
    pub fn host_gid(&self, gid: u32) -> Option<u32> {
        to_host(&self.gids, gid)
    }

    /// Writes the maps of the user namespace that `pid` has just been born into.
    pub fn write(&self, pid: i32) -> io::Result<()> {
        std::fs::write(format!("/proc/{pid}/uid_map"), lines(&self.uids))?;
        std::fs::write(format!("/proc/{pid}/gid_map"), lines(&self.gids))
    }

    /// Makes a user namespace with these maps that no process lives in, for mapping the owners of a mount.
    pub fn open_namespace(&self) -> io::Result<OwnedFd> {
        let [users] = self.open_namespaces([Kind::User])?;
        Ok(users)
    }

    /// Makes namespaces that no process lives in, the user namespace with these maps among them and the owner of the others.
    pub fn open_namespaces<const N: usize>(&self, kinds: [Kind; N]) -> io::Result<[OwnedFd; N]> {
        let (mut theirs, ours) = io::pipe()?;
        let namespaces = kinds.into_iter().fold(KindSet::EMPTY, KindSet::with);
        let how = Clone { namespaces, ..Clone::default() };
        match sys::process::clone(how)? {
            Cloned::Child => {
                drop(ours);
                // Until the caller has what it wants, or is killed.
                let _ = theirs.read(&mut [0]);
                sys::process::exit(0)
            }
            Cloned::Parent { pid, pidfd } => {
                let open = |kind| sys::namespace::open(pid, kind);
                let opened = self
                    .write(pid)
                    .and_then(|()| kinds.into_iter().map(open).collect::<io::Result<Vec<_>>>());
                drop(ours);
                let _ = sys::process::wait(pidfd.as_fd());
                Ok(opened?.try_into().expect("one for each kind"))
            }
        }
    }
}

fn check(map: &[IdMapping], what: &str) -> Result<(), LaunchError> {
    if map.is_empty() || map.len() > MAX_LINES {
        return Err(invalid(what, format!("{} ranges, not 1 to {MAX_LINES}", map.len())));
    }
    for range in map {
        let fits = |first: u32| first.checked_add(range.size).is_some();
        if range.size == 0 || !fits(range.container_id) || !fits(range.host_id) {
            let why =
                format!("{} {} {} is not a range of ids", range.container_id, range.host_id, range.size);
            return Err(invalid(what, why));
        }
    }
    for side in [|range: &IdMapping| range.container_id, |range: &IdMapping| range.host_id] {
        let mut ranges: Vec<(u32, u32)> = map.iter().map(|range| (side(range), range.size)).collect();
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            return Err(invalid(what, format!("two ranges hold the id {}", pair[1].0)));
        }
    }
    Ok(())
}

fn to_host(map: &[IdMapping], id: u32) -> Option<u32> {
    map.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id)?;
        (offset < range.size).then(|| range.host_id + offset)
    })
}

fn lines(map: &[IdMapping]) -> String {
    map.iter().map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size)).collect()
}

fn parse(text: &str) -> io::Result<Vec<IdMapping>> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().map(|line| range(line).ok_or_else(|| io::ErrorKind::InvalidData.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> Vec<IdMapping> {
        let range = |&(container_id, host_id, size)| IdMapping { container_id, host_id, size };
        ranges.iter().map(range).collect()
    }

    fn refusal(ranges: &[(u32, u32, u32)]) -> String {
        IdMaps::new(&map(ranges), &map(&[(0, 0, 1)]), "linux").expect_err("a bad map").to_string()
    }

    #[test]
    fn ids_are_found_in_their_range() {
        let maps = IdMaps::new(&map(&[(0, 1000, 1), (1, 100_000, 65_535)]), &map(&[(0, 5, 1)]), "linux");
        let maps = maps.expect("a good map");
        assert_eq!(
            [0, 1, 65_535, 65_536].map(|id| maps.host_uid(id)),
            [Some(1000), Some(100_000), Some(165_534), None]
        );
        assert_eq!(parse(&lines(&maps.uids)).expect("what was written"), maps.uids);
    }

    #[test]
    fn bad_maps_are_refused() {
        assert!(refusal(&[]).contains("0 ranges"));
        assert!(refusal(&[(0, 0, 0)]).contains("is not a range"));
        assert!(refusal(&[(0, u32::MAX, 2)]).contains("is not a range"));
        assert!(refusal(&[(0, 10, 5), (4, 20, 5)]).contains("hold the id 4"));
        assert!(refusal(&[(0, 10, 5), (5, 14, 5)]).contains("hold the id 14"));
        let many: Vec<_> = (0..341).map(|id| (id, id, 1)).collect();
        assert!(refusal(&many).contains("341 ranges"));
    }
}

//! Keeping monitors out of the service or login session they were started from.
//!
//! systemd stops a service, and may end a session, by killing its control group. A monitor that stayed in there would go with
//! `systemctl restart` of whatever started the container. So monitors share a group of their own beside the containers', which
//! the last one removes. It has no limits; on v1 it exists only in the hierarchies systemd itself looks at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{read, write_plain};
use crate::{CgroupError, Hierarchy};

/// The last part of the group's name, which no container id can be.
pub(crate) const NAME: &str = "monitors";

/// Membership in the group of monitors.
#[derive(Debug)]
pub struct Supervisor {
    places: Vec<Place>,
    pid: i32,
}

#[derive(Debug)]
struct Place {
    /// The name in `/proc/<pid>/cgroup`.
    name: String,
    mount: PathBuf,
    directory: PathBuf,
    /// Where a leaving monitor goes.
    exit: PathBuf,
}

impl Supervisor {
    /// Moves `pid` (0: the caller) to `<parent>/monitors`, in each hierarchy where it is not in the root group anyway.
    pub fn enter(hierarchy: &Hierarchy, parent: &str, pid: i32) -> Result<Self, CgroupError> {
        let process = if pid == 0 { "self".to_string() } else { pid.to_string() };
        let memberships = read(&PathBuf::from(format!("/proc/{process}/cgroup")))?;
        let mut supervisor = Self { places: Vec::new(), pid };
        for place in places(hierarchy, parent) {
            if !is_in_root(&memberships, &place.name) {
                join(&place.directory, pid)?;
                supervisor.places.push(place);
            }
        }
        Ok(supervisor)
    }

    /// Moves the process out of the way, mostly to the root groups, and removes the group if it was the last one there.
    ///
    /// Meant for the last moment before the exit: a process cannot remove the group it is in.
    pub fn leave(self) {
        for Place { mount, directory, exit, .. } in &self.places {
            // Failing is harmless: the group is empty when this process is gone, and the next one to leave removes it.
            let _ = write_plain(&exit.join("cgroup.procs"), &self.pid.to_string());
            remove_empty(mount, directory);
        }
    }

    /// Removes the monitors' group below `parent` if nobody is in it: a killed monitor could not leave.
    pub fn sweep(hierarchy: &Hierarchy, parent: &str) {
        for Place { mount, directory, .. } in places(hierarchy, parent) {
            remove_empty(&mount, &directory);
        }
    }
}

/// Removes `directory` and what is above it up to the first that has members or other groups.
fn remove_empty(mount: &Path, directory: &Path) {
    let mut remove = Some(directory);
    while let Some(path) = remove.filter(|path| *path != mount && removed(path)) {
        remove = path.parent();
    }
}

/// Whether there is no group at `path` any more.
fn removed(path: &Path) -> bool {
    fs::remove_dir(path).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// What systemd tracks processes by.
fn places(hierarchy: &Hierarchy, parent: &str) -> Vec<Place> {
    let place = |name: &str, mount: &Path, directory: &str| Place {
        name: name.to_string(),
        mount: mount.to_owned(),
        directory: mount.join(directory),
        exit: mount.to_owned(),
    };
    match hierarchy {
        Hierarchy::V1 { mounts, unified } => {
            let flat = format!("{parent}-{NAME}");
            let named = mounts.iter().filter_map(|m| {
                let name = m.controllers.iter().find(|c| c.starts_with("name="))?;
                Some(place(name, &m.point, &flat))
            });
            named.chain(unified.iter().map(|point| place("", point, &flat))).collect()
        }
        Hierarchy::V2 { point } => vec![place("", point, &format!("{parent}/{NAME}"))],
        Hierarchy::Delegated(given) => {
            let place = place("", given.root(), &format!("{parent}/{NAME}"));
            // The first group must stay empty, or it cannot hand down controllers.
            given.others().map(|exit| Place { exit, ..place }).into_iter().collect()
        }
        Hierarchy::Withheld => Vec::new(),
    }
}

/// Whether the text of `/proc/<pid>/cgroup` has the root group for the hierarchy called `name`; v2 has no name.
fn is_in_root(memberships: &str, name: &str) -> bool {
    let mut paths = memberships.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next() == Some(name)).then(|| fields.next()).flatten()
    });
    paths.next().is_none_or(|path| path == "/")
}

/// Makes the directory, which a leaving monitor may remove at any moment until this process is in it.
fn join(directory: &Path, pid: i32) -> Result<(), CgroupError> {
    let procs = directory.join("cgroup.procs");
    let mut result = Ok(());
    for _ in 0..100 {
        match fs::create_dir_all(directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(CgroupError::Create { path: directory.to_owned(), source });
            }
            _ => {}
        }
        result = write_plain(&procs, &pid.to_string());
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(crate::files::ENODEV) => {}
            _ => break,
        }
    }
    result.map_err(|source| CgroupError::Join { path: directory.to_owned(), pid, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_groups_are_recognised() {
        let text = "9:name=systemd:/user.slice/a:b\n4:memory:/\n0::/\n";
        assert!(is_in_root(text, ""));
        assert!(!is_in_root(text, "name=systemd"));
        assert!(is_in_root(text, "name=other"), "a hierarchy that is not there holds nobody");
        assert!(!is_in_root("0::/system.slice/hull.service\n", ""));
    }
}

//! The control group of a container: where `linux.cgroupsPath` puts it, and finding it again.

use std::path::{Path, PathBuf};

use cgroup::{Cgroup, CgroupError, Hierarchy, Manager, Place};
use oci::digest::Digest;
use oci::runtime::{LinuxDeviceCgroup, LinuxResources};
use serde::{Deserialize, Serialize};

/// A group on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// A directory below the hierarchies' roots, absolute.
    Path(PathBuf),
    /// A scope of systemd, as `linux.cgroupsPath` names it; systemd says where its directory is when it has made it.
    Scope { name: String, path: Option<PathBuf> },
}

impl Group {
    /// The group of the container `id` below `root`, whose configuration says `path`.
    pub fn choose(
        manager: Manager,
        path: Option<&str>,
        root: &Path,
        id: &str,
    ) -> Result<(Self, Place), CgroupError> {
        let path = path.filter(|path| !path.is_empty());
        match manager {
            Manager::Cgroupfs => {
                let path = path.map_or_else(|| own(root, id), PathBuf::from);
                // A relative one is relative to the group of whoever asks.
                let path = Cgroup::at(&Hierarchy::detect()?, &path)?.path();
                Ok((Self::Path(path.clone()), Place::Path(path)))
            }
            Manager::Systemd => {
                let name = path.map_or_else(|| format!(":hull:{id}"), str::to_owned);
                let place = Place::parse(manager, Some(Path::new(&name)), id)?;
                Ok((Self::Scope { name, path: None }, place))
            }
        }
    }

    fn place(&self) -> Result<Place, CgroupError> {
        match self {
            Self::Path(path) => Ok(Place::Path(path.clone())),
            Self::Scope { name, .. } => Place::parse(Manager::Systemd, Some(Path::new(name)), ""),
        }
    }

    /// The group, whether it exists or not; none when only systemd could know.
    pub fn open(&self) -> Result<Option<Cgroup>, CgroupError> {
        match self {
            Self::Path(path) | Self::Scope { path: Some(path), .. } => {
                Cgroup::at(&Hierarchy::detect()?, path).map(Some)
            }
            Self::Scope { path: None, .. } => Ok(None),
        }
    }

    /// Changes its limits.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        match self.open()? {
            Some(group) => self.place()?.update(&Hierarchy::detect()?, &group, resources),
            None => Ok(()),
        }
    }

    /// Ends every process in it.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.open()? {
            Some(group) => group.kill_all().and_then(|()| group.thaw()),
            None => Ok(()),
        }
    }

    /// Removes it, when its processes have ended.
    pub fn remove(&self) -> Result<(), CgroupError> {
        match (self.open()?, self.place()?) {
            (Some(group), place) => place.remove(&group),
            // Its maker was killed before systemd answered.
            (None, Place::Scope(scope)) => scope.stop(),
            (None, Place::Path(_)) => Ok(()),
        }
    }
}

/// The group of a container whose configuration names none: containers of the same name below different roots do not meet.
fn own(root: &Path, id: &str) -> PathBuf {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let instance = Digest::of(root.as_os_str().as_encoded_bytes()).hex();
    PathBuf::from(format!("/hull-oci-{}-{id}", &instance[..8]))
}

/// Adds what every container may use to rules that would keep it from them, as other engines expect.
///
/// Spec: OCI runtime-spec 1.3, `config-linux.md`, "Default Devices".
pub fn allow_default_devices(rules: &mut Vec<LinuxDeviceCgroup>) {
    const NODES: [(i64, Option<i64>); 8] = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ];
    if rules.iter().all(|rule| rule.allow) {
        return;
    }
    let rule = |kind: &str, numbers: Option<(i64, Option<i64>)>, access: &str| LinuxDeviceCgroup {
        allow: true,
        r#type: Some(kind.to_owned()),
        major: numbers.map(|(major, _)| major),
        minor: numbers.and_then(|(_, minor)| minor),
        access: Some(access.to_owned()),
    };
    // Making a node is no right to use it.
    rules.extend(["c", "b"].map(|kind| rule(kind, None, "m")));
    rules.extend(NODES.map(|numbers| rule("c", Some(numbers), "rwm")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_two_roots_do_not_meet() {
        assert_ne!(own(Path::new("/run/a"), "x"), own(Path::new("/run/b"), "x"));
    }

    #[test]
    fn rules_that_forbid_nothing_stay_as_they_are() {
        let mut rules = vec![LinuxDeviceCgroup { allow: true, ..LinuxDeviceCgroup::default() }];
        allow_default_devices(&mut rules);
        assert_eq!(rules.len(), 1);
        rules[0].allow = false;
        allow_default_devices(&mut rules);
        assert_eq!(rules.len(), 11);
    }
}

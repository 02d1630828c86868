//! Which control group version is mounted, and where.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{CgroupError, Delegation};

/// The version that has the resource controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller, perhaps with an empty v2 one beside them (hybrid).
    V1,
    /// One hierarchy.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "cgroup v1",
            Self::V2 => "cgroup v2",
        })
    }
}

/// One mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its controllers; a hierarchy without any has its name instead, as `name=systemd`.
    pub controllers: Vec<String>,
}

impl V1Mount {
    /// Whether it has a name instead of controllers.
    pub fn is_named(&self) -> bool {
        self.controllers.iter().any(|controller| controller.starts_with("name="))
    }
}

/// The mounted hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// v1, with the mount point of the v2 hierarchy of a hybrid host.
    V1 {
        /// Every v1 hierarchy, in mount order, each controller once.
        mounts: Vec<V1Mount>,
        /// The v2 hierarchy beside them; it has no controllers of use.
        unified: Option<PathBuf>,
    },
    /// v2 with its mount point.
    V2 {
        /// Where it is mounted.
        point: PathBuf,
    },
    /// A part of v2 that has been given to this user: its first group stands for the root.
    Delegated(Delegation),
    /// There is one, but nothing of it has been given to this user: containers have no groups, and no limits.
    Withheld,
}

impl Hierarchy {
    /// Finds what containers can be put into from the top: what is mounted, or, where an ordinary user is root of a namespace,
    /// what he has been given of it.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`], as [`Self::detect`].
    pub fn usable() -> Result<Self, CgroupError> {
        let found = Self::detect()?;
        if !sys::user::is_in_subordinate_namespace() || found.is_ours() {
            return Ok(found);
        }
        let given = std::env::var_os(Delegation::VARIABLE).map(|root| Self::Delegated(Delegation::at(root)));
        Ok(given.unwrap_or(Self::Withheld))
    }

    /// Whether this process may make groups in it.
    fn is_ours(&self) -> bool {
        let may_write = |point: &PathBuf| sys::process::may_write(point);
        match self {
            Self::V1 { mounts, .. } => mounts.iter().all(|mount| may_write(&mount.point)),
            Self::V2 { point } => may_write(point),
            Self::Delegated(_) | Self::Withheld => false,
        }
    }

    /// Finds what is mounted: v2 where every distribution has it, or else what `/proc/self/mountinfo` says.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`] when there is neither version.
    pub fn detect() -> Result<Self, CgroupError> {
        let usual = PathBuf::from("/sys/fs/cgroup");
        // On hybrid hosts this is a tmpfs, which has no such file.
        if usual.join("cgroup.controllers").exists() {
            return Ok(Self::V2 { point: usual });
        }
        let path = PathBuf::from("/proc/self/mountinfo");
        let text = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
        Self::parse(&text).ok_or(CgroupError::NotMounted)
    }

    /// Finds the hierarchies in the text of a mountinfo file; see proc_pid_mountinfo(5).
    fn parse(mountinfo: &str) -> Option<Self> {
        let mut mounts: Vec<V1Mount> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            // Cheap refusal first: nearly every line is about something else.
            let Some((left, right)) = line.split_once(" - cgroup") else { continue };
            let Some(point) = left.split(' ').nth(4).map(unescape) else { continue };
            let mut fields = right.split(' ');
            match fields.next() {
                Some("2") if unified.is_none() => unified = Some(point),
                Some("") => {
                    let options = fields.nth(1).unwrap_or("").split(',');
                    let controllers: Vec<String> = options
                        .filter(|option| option.starts_with("name=") || KNOWN.contains(option))
                        .map(str::to_string)
                        .collect();
                    let seen = |c: &String| mounts.iter().any(|m| m.controllers.contains(c));
                    if !controllers.is_empty() && !controllers.iter().any(seen) {
                        mounts.push(V1Mount { point, controllers });
                    }
                }
                _ => {}
            }
        }
        let with_controllers = mounts.iter().any(|m| m.controllers.iter().any(|c| !c.starts_with("name=")));
        match unified {
            Some(point) if !with_controllers => Some(Self::V2 { point }),
            unified if with_controllers => Some(Self::V1 { mounts, unified }),
            _ => None,
        }
    }

    /// The version that has the controllers; none when they are withheld.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::V1 { .. } => Some(Version::V1),
            Self::V2 { .. } | Self::Delegated(_) => Some(Version::V2),
            Self::Withheld => None,
        }
    }

    /// The controllers a container can be limited with, for `hull info`.
    pub fn controllers(&self) -> Vec<String> {
        match self {
            Self::V1 { mounts, .. } => {
                let all = mounts.iter().flat_map(|m| &m.controllers);
                all.filter(|c| !c.starts_with("name=")).cloned().collect()
            }
            Self::V2 { point } => controllers_in(point),
            Self::Delegated(given) => controllers_in(given.root()),
            Self::Withheld => Vec::new(),
        }
    }
}

fn controllers_in(group: &Path) -> Vec<String> {
    let text = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_string).collect()
}

/// The groups a process is in, from `/proc/<pid>/cgroup`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memberships(String);

impl Memberships {
    pub fn of_caller() -> Result<Self, CgroupError> {
        crate::files::read(Path::new("/proc/self/cgroup")).map(Self)
    }

    /// The group in the v1 hierarchy that stands for all of `mounts`; the root where the process is in none.
    pub fn v1(&self, mounts: &[V1Mount]) -> &Path {
        let there = |name: &&&str| mounts.iter().any(|mount| mount.controllers.iter().any(|c| c == **name));
        let main = crate::group::MAIN.iter().find(there).copied().unwrap_or_default();
        self.find(|controllers| controllers.split(',').any(|one| one == main))
    }

    pub fn v2(&self) -> &Path {
        self.find(str::is_empty)
    }

    fn find(&self, wanted: impl Fn(&str) -> bool) -> &Path {
        let group = self.0.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            wanted(controllers).then_some(path)
        });
        Path::new(group.unwrap_or("/"))
    }
}

/// The v1 controllers, to tell them from the other mount options (`rw`, `clone_children`, `release_agent=...`).
const KNOWN: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "rdma",
    "misc",
];

/// Undoes the octal escapes (`\040` for a space) of mountinfo.
fn unescape(field: &str) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if bytes[at] == b'\\' => {
                out.push(byte);
                at += 4;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(point: &str, controllers: &[&str]) -> V1Mount {
        V1Mount { point: point.into(), controllers: controllers.iter().map(|c| c.to_string()).collect() }
    }

    #[test]
    fn pure_v2() {
        let text = "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Hierarchy::parse(text), Some(Hierarchy::V2 { point: "/sys/fs/cgroup".into() }));
    }

    #[test]
    fn hybrid_is_v1_with_a_unified_directory() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/systemd rw shared:10 master:3 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:32 / /mnt/a\\040b rw - cgroup cgroup rw,memory
";
        let expected = Hierarchy::V1 {
            mounts: vec![
                v1("/sys/fs/cgroup/systemd", &["name=systemd"]),
                v1("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                v1("/sys/fs/cgroup/memory", &["memory"]),
            ],
            unified: Some("/sys/fs/cgroup/unified".into()),
        };
        let found = Hierarchy::parse(text).expect("it is v1");
        assert_eq!(found, expected);
        assert_eq!(found.controllers(), ["cpu", "cpuacct", "memory"]);
    }

    #[test]
    fn v2_beside_a_named_v1_hierarchy_is_v2() {
        let text = "1 1 0:1 / /c rw - cgroup2 x rw\n2 1 0:2 / /s rw - cgroup x rw,name=systemd\n";
        assert_eq!(Hierarchy::parse(text), Some(Hierarchy::V2 { point: "/c".into() }));
    }

    #[test]
    fn own_groups() {
        let own = Memberships("9:cpu,cpuacct:/a\n4:memory:/b:c\n1:name=systemd:/s\n0::/u/v\n".into());
        assert_eq!(own.v1(&[v1("/x", &["cpu", "cpuacct"])]), Path::new("/a"));
        assert_eq!(own.v1(&[v1("/x", &["cpu"]), v1("/y", &["memory"])]), Path::new("/b:c"));
        assert_eq!(own.v1(&[v1("/x", &["pids"])]), Path::new("/"));
        assert_eq!(own.v2(), Path::new("/u/v"));
    }

    #[test]
    fn nothing_mounted() {
        assert_eq!(Hierarchy::parse("1 1 0:1 / / rw - ext4 x rw\n"), None);
    }

    #[test]
    fn escapes_in_mount_points() {
        assert_eq!(unescape("/a\\040b\\134"), Path::new("/a b\\"));
        assert_eq!(unescape("/plain\\0"), Path::new("/plain\\0"));
    }
}

//! Mounts that show other owners than the disk has, and why the kernel may refuse one.

use std::os::fd::BorrowedFd;
use std::path::Path;

use sys::mount::{Depth, Tree};

use crate::channel::Fault;
use crate::error::Step;
use crate::mountinfo::{self, Line};

/// The kernels that learnt to map the owners of a file system: mount_setattr(2), and for the later ones their `FS_ALLOW_IDMAP`.
const SINCE: [(&str, (u32, u32)); 11] = [
    ("btrfs", (5, 15)),
    ("ceph", (6, 7)),
    ("erofs", (5, 19)),
    ("ext4", (5, 12)),
    ("f2fs", (5, 18)),
    ("hugetlbfs", (6, 9)),
    ("ntfs3", (5, 15)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("vfat", (5, 12)),
    ("xfs", (5, 12)),
];

/// Shows the files of `tree`, a copy of the mount at `path`, as those of the ids of `namespace`.
///
/// # Errors
/// The kernel's, which for a file system without such mounts is just `EINVAL`; the fault's object says then which one it is.
pub fn map(tree: &Tree, namespace: BorrowedFd<'_>, depth: Depth, path: &Path) -> Result<(), Fault> {
    tree.map_ids(namespace, depth).map_err(|error| {
        let mut object = format!("{} to the ids of the container", path.display());
        if error.kind() == std::io::ErrorKind::InvalidInput
            && let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo")
            && let Ok(path) = path.canonicalize()
            && let Some(why) = refusal(&mounts, &path, depth, sys::features::kernel_version())
        {
            object = format!("{object}: {why}");
        }
        Fault::new(Step::MapOwners, object, &error)
    })
}

/// What `kernel` cannot map of the mount that `path` is on, or of those below `path`, of the `mounts` of mountinfo.
fn refusal(mounts: &str, path: &Path, depth: Depth, kernel: (u32, u32)) -> Option<String> {
    let (mut own, mut below) = (None::<Line<'_>>, Vec::new());
    for line in mountinfo::lines(mounts) {
        if path.starts_with(&line.point) {
            // The longest path is the mount it is on, and of equal ones the last.
            let is_nearer =
                own.as_ref().is_none_or(|own| line.point.as_os_str().len() >= own.point.as_os_str().len());
            own = if is_nearer { Some(line) } else { own };
        } else if depth == Depth::Recursive && line.point.starts_with(path) {
            below.push(line);
        }
    }
    own.into_iter().chain(below).find_map(|Line { point, kind, .. }| {
        let (place, (major, minor)) = (point.display(), kernel);
        match SINCE.iter().find(|(name, _)| *name == kind) {
            Some((_, since)) if *since <= kernel => None,
            Some((_, since)) => Some(format!(
                "the {kind} at {place} can have mapped owners since Linux {}.{}, and this is {major}.{minor}",
                since.0, since.1
            )),
            None => Some(format!("the {kind} at {place} cannot have mapped owners on Linux {major}.{minor}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 259:0 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:20 / /dev/shm rw,nosuid - tmpfs shm rw
24 22 0:21 / /srv rw - xfs /dev/sdb rw
25 24 0:22 / /srv/my\\040share rw - nfs4 host:/x rw
26 24 0:23 / /srv/run rw - tmpfs run rw
";

    fn check(path: &str, depth: Depth, kernel: (u32, u32), expected: Option<&str>) {
        assert_eq!(refusal(MOUNTS, Path::new(path), depth, kernel).as_deref(), expected, "{path}");
    }

    #[test]
    fn the_file_system_that_is_refused_is_named() {
        use Depth::{One, Recursive};
        let old = "the tmpfs at /dev/shm can have mapped owners since Linux 6.3, and this is 6.1";
        check("/dev/shm/x", One, (6, 1), Some(old));
        check("/dev/shm/x", One, (6, 3), None);
        check("/home", Recursive, (6, 1), None);
        check("/srv", One, (6, 1), None);
        let network = "the nfs4 at /srv/my share cannot have mapped owners on Linux 6.18";
        check("/srv", Recursive, (6, 18), Some(network));
        check("/srv/my share/x", One, (6, 18), Some(network));
        let below = "the tmpfs at /srv/run can have mapped owners since Linux 6.3, and this is 6.1";
        check("/srv/run", Recursive, (6, 1), Some(below));
        check("/srv/runner", Recursive, (6, 1), None);
    }
}

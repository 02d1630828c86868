//! Switching the root without pivot_root(2): the root is moved over `/`, and chroot(2) leads there.
//!
//! For hosts that live on a ramdisk, whose root cannot be pivoted. What is weaker: the host's mounts stay below the container's
//! root. The kernel would let the container mount a procfs or sysfs of its own, unmasked, as long as it finds a whole one of
//! the host's there; so those go first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use sys::fs::OFlags;
use sys::mount::{Attributes, Context};

use crate::mountinfo::{self, Line};

/// Makes `root`, a mount of this namespace, the root of this process.
pub fn switch(root: BorrowedFd<'_>) -> io::Result<()> {
    let own = std::fs::read_link(sys::fs::fd_path(root))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let others: Vec<PathBuf> = kernel_trees(&mounts).filter(|path| !path.starts_with(&own)).collect();
    // The last ones first: a mount may lie on another.
    for path in others.iter().rev() {
        cover(path)?;
    }
    sys::mount::move_root(root)
}

/// The mount points of whole procfs and sysfs, of the lines of a mountinfo file.
fn kernel_trees(mounts: &str) -> impl Iterator<Item = PathBuf> {
    let whole = |line: &Line<'_>| line.root == "/" && matches!(line.kind, "proc" | "sysfs");
    mountinfo::lines(mounts).filter(whole).map(|line| line.point)
}

/// Unmounts what is at `path`; where that is not allowed, it gets an empty directory on top.
fn cover(path: &Path) -> io::Result<()> {
    match sys::mount::detach(path) {
        Err(error) if matches!(error.raw_os_error(), Some(EINVAL | EPERM)) => {
            let empty = Context::open("tmpfs")?.mount(Attributes::READ_ONLY)?;
            empty.attach(sys::fs::open(path, OFlags::PATH, 0)?.as_fd())
        }
        // Gone with the mount it was on.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

const EPERM: i32 = 1;
const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_kernel_trees_are_found() {
        let mounts = "22 1 0:5 / /proc rw - proc proc rw\n23 1 0:6 / /a\\040b rw shared:1 - sysfs s rw\n\
                      24 1 0:5 /sys /proc/sys ro - proc proc rw\n25 1 8:1 / / rw - ext4 /dev/sda rw\n";
        assert_eq!(kernel_trees(mounts).collect::<Vec<_>>(), [Path::new("/proc"), Path::new("/a b")]);
    }
}

//! The root filesystem, mounted inside the container's mount namespace only.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::fs::OFlags;
use sys::mount::{Depth, Tree};
use sys::namespace::Kind;

use crate::Rootfs;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::overlay::{self, OPTIONS_MAX};
use crate::plan::ContainerPlan;

/// Attaches the root filesystem that the caller mounted.
pub fn attach(plan: &ContainerPlan<'_>, tree: Tree) -> Result<OwnedFd, Fault> {
    // Any directory would do for a place: nobody else sees this namespace. In a joined one `/` alone is sure to be there.
    let (Rootfs::Directory(place) | Rootfs::Overlay { upper: place, .. }) = plan.rootfs;
    let place = if plan.joins(Kind::Mount) { Path::new("/") } else { place.as_path() };
    let object = || place.display().to_string();
    sys::fs::open(place, OFlags::PATH | OFlags::DIRECTORY, 0)
        .and_then(|target| tree.attach(target))
        .at(Step::Overlay, object)?;
    Ok(tree.into_fd())
}

/// Mounts the root filesystem and opens it.
pub fn open(rootfs: &Rootfs) -> Result<OwnedFd, Fault> {
    match rootfs {
        Rootfs::Directory(path) => bind_onto_itself(path),
        // An overlay needs something below; without it, the writable directory is all there is.
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => bind_onto_itself(upper),
        Rootfs::Overlay { lower, upper, work, volatile } => {
            let object = || upper.display().to_string();
            mount_overlay(lower, upper, work, *volatile)?;
            sys::fs::open(upper.as_path(), OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Overlay, object)
        }
    }
}

/// pivot_root wants a mount point.
fn bind_onto_itself(path: &Path) -> Result<OwnedFd, Fault> {
    let object = || path.display().to_string();
    let tree = Tree::copy(path, Depth::Recursive).at(Step::Overlay, object)?;
    let target = sys::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Overlay, object)?;
    tree.attach(&target).at(Step::Overlay, object)?;
    Ok(tree.into_fd())
}

/// Mounts the overlay over its own `upper` directory, a place that exists and nobody else sees in this namespace.
fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<(), Fault> {
    let object = || upper.display().to_string();
    let (names, base) = short_names(lower);
    let over = Some((upper.as_os_str().as_bytes(), work.as_os_str().as_bytes()));
    let mut options = overlay::options(&names, over, volatile);
    if options.len() > OPTIONS_MAX {
        let names = overlay::enter_links(lower)
            .at(Step::Overlay, || "the directory of links to the layers".to_owned())?;
        options = overlay::options(&names, over, volatile);
    } else if let Some(base) = base {
        std::env::set_current_dir(base).at(Step::Overlay, || base.display().to_string())?;
    }
    let options = CString::new(options).map_err(|e| Fault::new(Step::Overlay, object(), &e.into()))?;
    sys::mount::mount_overlay(overlay::SOURCE, upper, &options).at(Step::Overlay, object)
}

/// The layers' names relative to their common parent directory when they have one, else their paths.
fn short_names(lower: &[PathBuf]) -> (Vec<Vec<u8>>, Option<&Path>) {
    let bytes = |path: &std::ffi::OsStr| path.as_bytes().to_vec();
    let base = lower.first().and_then(|path| path.parent());
    if base.is_some() && lower.iter().all(|path| path.parent() == base) {
        return (lower.iter().filter_map(|path| path.file_name()).map(bytes).collect(), base);
    }
    (lower.iter().map(|path| bytes(path.as_os_str())).collect(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_when_the_layers_share_a_directory() {
        let lower = [PathBuf::from("/s/a"), PathBuf::from("/s/b:c")];
        let (names, base) = short_names(&lower);
        assert_eq!(base, Some(Path::new("/s")));
        let options = overlay::options(&names, Some((b"/u,1", b"/w")), true);
        assert_eq!(
            String::from_utf8_lossy(&options),
            "index=off,redirect_dir=off,metacopy=off,volatile,lowerdir=a:b\\:c,upperdir=/u\\,1,workdir=/w"
        );
        let lower = [PathBuf::from("/s/a"), PathBuf::from("/t/b")];
        assert_eq!(short_names(&lower), (vec![b"/s/a".to_vec(), b"/t/b".to_vec()], None));
    }
}

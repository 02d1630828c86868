//! The root filesystem, mounted inside the container's mount namespace only.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::fs::OFlags;
use sys::mount::{Attributes, Context, Depth, Tree};

use crate::Rootfs;
use crate::channel::{At, Fault};
use crate::error::Step;

/// Mounts the root filesystem and opens it.
pub fn open(rootfs: &Rootfs) -> Result<OwnedFd, Fault> {
    match rootfs {
        Rootfs::Directory(path) => {
            // pivot_root wants a mount point: the directory is bound onto itself.
            let object = || path.display().to_string();
            let tree = Tree::copy(path.as_path(), Depth::Recursive).at(Step::Overlay, object)?;
            let target = sys::fs::open(path.as_path(), OFlags::PATH | OFlags::DIRECTORY, 0)
                .at(Step::Overlay, object)?;
            tree.attach(&target).at(Step::Overlay, object)?;
            Ok(tree.into_fd())
        }
        Rootfs::Overlay { lower, upper, work, volatile } => {
            let object = || upper.display().to_string();
            mount_overlay(lower, upper, work, *volatile)?;
            sys::fs::open(upper.as_path(), OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Overlay, object)
        }
    }
}

/// mount(2) takes at most a page of options, its terminating zero included.
const OPTIONS_MAX: usize = 4095;

/// Mounts the overlay over its own `upper` directory, a place that exists and nobody else sees in this namespace.
fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<(), Fault> {
    let object = || upper.display().to_string();
    let (names, base) = short_names(lower);
    let mut options = overlay_options(&names, upper, work, volatile);
    if options.len() > OPTIONS_MAX {
        enter_links(lower)?;
        let names: Vec<Vec<u8>> = (0..lower.len()).map(|n| n.to_string().into_bytes()).collect();
        options = overlay_options(&names, upper, work, volatile);
    } else if let Some(base) = base {
        std::env::set_current_dir(base).at(Step::Overlay, || base.display().to_string())?;
    }
    let options = CString::new(options).map_err(|e| Fault::new(Step::Overlay, object(), &e.into()))?;
    sys::mount::mount_overlay(upper, &options).at(Step::Overlay, object)
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

/// Moves to a directory that is mounted nowhere, where the layers are links called `0`, `1`, ...: hundreds fit the page.
///
/// Works on every kernel, where the `lowerdir+` option of the new mount API needs Linux 6.5.
fn enter_links(lower: &[PathBuf]) -> Result<(), Fault> {
    let object = || "the directory of links to the layers".to_owned();
    let tree = Context::open("tmpfs")
        .and_then(|context| context.mount(Attributes::NONE))
        .at(Step::Overlay, object)?;
    for (number, path) in lower.iter().enumerate() {
        sys::fs::symlink_at(path.as_path(), &tree, number.to_string()).at(Step::Overlay, object)?;
    }
    sys::process::change_directory(&tree).at(Step::Overlay, object)
}

/// `redirect_dir`, `metacopy` and `index` would make `upper` unreadable without these very layers below it; it must stay
/// a layer by itself.
fn overlay_options(lower: &[Vec<u8>], upper: &Path, work: &Path, volatile: bool) -> Vec<u8> {
    let mut options = b"index=off,redirect_dir=off,metacopy=off,".to_vec();
    if volatile {
        options.extend(b"volatile,");
    }
    options.extend(b"lowerdir=");
    for (n, name) in lower.iter().enumerate() {
        if n > 0 {
            options.push(b':');
        }
        escape(&mut options, name);
    }
    options.extend(b",upperdir=");
    escape(&mut options, upper.as_os_str().as_bytes());
    options.extend(b",workdir=");
    escape(&mut options, work.as_os_str().as_bytes());
    options
}

fn escape(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_when_the_layers_share_a_directory() {
        let lower = [PathBuf::from("/s/a"), PathBuf::from("/s/b:c")];
        let (names, base) = short_names(&lower);
        assert_eq!(base, Some(Path::new("/s")));
        let options = overlay_options(&names, Path::new("/u,1"), Path::new("/w"), true);
        assert_eq!(
            String::from_utf8_lossy(&options),
            "index=off,redirect_dir=off,metacopy=off,volatile,lowerdir=a:b\\:c,upperdir=/u\\,1,workdir=/w"
        );
        let lower = [PathBuf::from("/s/a"), PathBuf::from("/t/b")];
        assert_eq!(short_names(&lower), (vec![b"/s/a".to_vec(), b"/t/b".to_vec()], None));
    }
}

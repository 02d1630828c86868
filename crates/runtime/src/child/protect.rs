//! Masked and read-only paths.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::Spec;
use sys::fs::{FileType, OFlags};
use sys::mount::{Attributes, Change, Context, Depth, Tree};

use super::devices::is_character_device;
use crate::channel::{At, Fault};
use crate::error::Step;

/// Opens the host's `/dev/null`, the cover of masked files.
///
/// CVE-2025-31133: not the container's node, which a racing container could replace, and proven to be the null device.
pub fn open_null() -> Result<OwnedFd, Fault> {
    let object = || "paths: /dev/null is not the null device".to_owned();
    let null = sys::fs::open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW, 0).at(Step::Protect, object)?;
    match is_character_device(&null, (1, 3)).at(Step::Protect, object)? {
        true => Ok(null),
        false => Err(Fault::new(Step::Protect, object(), &io::ErrorKind::InvalidData.into())),
    }
}

pub fn paths(spec: &Spec, root: BorrowedFd<'_>, null: BorrowedFd<'_>) -> Result<(), Fault> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    for path in &linux.readonly_paths {
        make_read_only(root, path).at(Step::Protect, || path.display().to_string())?;
    }
    let mut empty = None;
    for path in &linux.masked_paths {
        mask(root, path, null, &mut empty).at(Step::Protect, || path.display().to_string())?;
    }
    Ok(())
}

/// Opens the path beneath the root; one that does not exist needs no protection.
fn find(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    match sys::fs::open_in_root(root, path, OFlags::PATH, 0) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

fn make_read_only(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let Some(target) = find(root, path)? else { return Ok(()) };
    let tree = Tree::copy_fd(&target, Depth::Recursive)?;
    tree.change(Change::set(Attributes::READ_ONLY), Depth::Recursive)?;
    tree.attach(target)
}

/// Covers a file with the null device, and a directory with an empty read-only one, which all of them share.
fn mask(root: BorrowedFd<'_>, path: &Path, null: BorrowedFd<'_>, empty: &mut Option<Tree>) -> io::Result<()> {
    let Some(target) = find(root, path)? else { return Ok(()) };
    if FileType::from_raw_mode(sys::fs::stat(&target)?.st_mode) != FileType::Directory {
        return Tree::copy_fd(null, Depth::One)?.attach(target);
    }
    let cover = match empty.take() {
        // The first one is attached by now, so that it can be copied like any mount.
        Some(attached) => Tree::copy_fd(&attached, Depth::One)?,
        None => {
            let context = Context::open("tmpfs")?;
            context.set("nr_inodes", "1")?;
            context.mount(
                Attributes::READ_ONLY
                    .with(Attributes::NO_SUID)
                    .with(Attributes::NO_DEV)
                    .with(Attributes::NO_EXEC),
            )?
        }
    };
    cover.attach(target)?;
    *empty = Some(cover);
    Ok(())
}

//! The root filesystem of a container with a user namespace.
//!
//! Layers and the writable directory keep the ids they have on the disk: root's files are owned by 0 there, whatever range of
//! ids the container runs with. Overlayfs is given them through id-mapped mounts, so that each container sees its own root
//! as their owner, and nothing is ever copied or changed for it.

use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sys::fs::OFlags;
use sys::mount::{Attributes, Change, Context, Depth, Propagation, Tree};
use sys::namespace::{Kind, KindSet};

use super::World;
use crate::Rootfs;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::overlay::{self, OPTIONS_MAX};
use crate::plan::MountPlan;

/// Opens the root filesystem, attached to nothing.
pub fn prepare(rootfs: &Rootfs, world: Option<&World>) -> Result<Tree, Fault> {
    match rootfs {
        Rootfs::Directory(path) => {
            Tree::copy(path.as_path(), Depth::Recursive).at(Step::Overlay, || path.display().to_string())
        }
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => {
            let object = || upper.display().to_string();
            let tree = Tree::copy(upper.as_path(), Depth::One).at(Step::Overlay, object)?;
            if let Some(world) = world {
                tree.map_ids(world.namespace.as_fd(), Depth::One).at(Step::MapOwners, object)?;
            }
            Ok(tree)
        }
        Rootfs::Overlay { lower, upper, work, volatile } => {
            let lower = lower.iter().map(PathBuf::as_path).collect();
            let over = Some((upper.as_path(), work.as_path()));
            Overlay { lower, over, volatile: *volatile }.mount_from_here(world)
        }
    }
}

/// Makes an overlay that the specification wants mounted somewhere, from its options.
///
/// # Errors
/// Options that are not those of the new mount API (`lowerdir+`, `upperdir`, `workdir`, `volatile`).
pub fn overlay_mount(
    mount: &MountPlan<'_>,
    data: &[(&str, Option<&str>)],
    world: Option<&World>,
) -> Result<Tree, Fault> {
    let mut overlay = Overlay { lower: Vec::new(), over: None, volatile: false };
    let (mut upper, mut work) = (None, None);
    for (key, value) in data {
        match (*key, value.map(Path::new)) {
            ("lowerdir+", Some(path)) => overlay.lower.push(path),
            ("upperdir", path) => upper = path,
            ("workdir", path) => work = path,
            ("volatile", None) => overlay.volatile = true,
            (other, _) => {
                let object = format!("overlay at {} with option {other:?}", mount.destination.display());
                return Err(Fault::new(Step::Mount, object, &std::io::ErrorKind::Unsupported.into()));
            }
        }
    }
    overlay.over = upper.zip(work);
    let tree = overlay.mount_from_here(world)?;
    let attributes = mount.change.set.with(mount.recursive.set);
    tree.change(Change::set(attributes), Depth::One)
        .at(Step::Mount, || mount.destination.display().to_string())?;
    Ok(tree)
}

struct Overlay<'a> {
    lower: Vec<&'a Path>,
    /// The upper and the work directory.
    over: Option<(&'a Path, &'a Path)>,
    volatile: bool,
}

impl Overlay<'_> {
    fn mount_from_here(&self, world: Option<&World>) -> Result<Tree, Fault> {
        let here = || "the working directory".to_owned();
        let own = sys::fs::open(".", OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Overlay, here)?;
        let tree = self.mount(world);
        sys::process::change_directory(&own).at(Step::Overlay, here)?;
        tree
    }

    /// A directory for errors to name, and to be covered for a moment.
    fn place(&self) -> &Path {
        self.over.map(|(_, work)| work).or(self.lower.first().copied()).unwrap_or(Path::new("/"))
    }

    /// Mounts it in a mount namespace of this process's own, and leaves the working directory anywhere.
    ///
    /// Overlayfs takes paths, and before Linux 6.15 only those of attached mounts: they get names on a small tmpfs that covers
    /// one of the directories in this namespace and is gone again at the end.
    fn mount(&self, world: Option<&World>) -> Result<Tree, Fault> {
        let object = || self.place().display().to_string();
        leave_mount_namespace().map_err(|error| Fault::new(Step::Isolate, object(), &error))?;
        let desk = Context::open("tmpfs")
            .and_then(|context| context.mount(Attributes::NONE))
            .at(Step::Overlay, || "a directory for the mapped layers".to_owned())?;
        let place =
            sys::fs::open(self.place(), OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Overlay, object)?;
        desk.attach(&place).at(Step::Overlay, object)?;
        let tree = self.mount_on(&desk, world);
        let cleared = sys::mount::detach(self.place()).at(Step::Overlay, object);
        let tree = tree?;
        cleared.map(|()| tree)
    }

    fn mount_on(&self, desk: &Tree, world: Option<&World>) -> Result<Tree, Fault> {
        let object = || self.place().display().to_string();
        sys::process::change_directory(desk).at(Step::Overlay, object)?;
        let mut shelves = Shelves { desk, world, parents: Vec::new() };
        let mut lower = Vec::with_capacity(self.lower.len());
        for layer in &self.lower {
            lower.push(shelves.name(layer)?);
        }
        let over = match self.over {
            Some((upper, work)) => Some((shelves.name(upper)?, shelves.name(work)?)),
            None => None,
        };
        let over = over.as_ref().map(|(upper, work)| (&upper[..], &work[..]));
        let mut options = overlay::options(&lower, over, self.volatile);
        if options.len() > OPTIONS_MAX {
            // Links make hundreds of layers fit the page.
            let mut links = Vec::with_capacity(lower.len());
            for (number, name) in lower.iter().enumerate() {
                let link = format!("l{number}");
                sys::fs::symlink_at(OsStr::from_bytes(name), desk, link.as_str())
                    .at(Step::Overlay, object)?;
                links.push(link.into_bytes());
            }
            options = overlay::options(&links, over, self.volatile);
        }
        let options =
            CString::new(options).map_err(|error| Fault::new(Step::Overlay, object(), &error.into()))?;
        sys::fs::mkdir_at(desk, "merged", 0o755).at(Step::Overlay, object)?;
        // Overlayfs works in these directories as who mounted it, and has to be somebody the id map knows.
        let root = world.and_then(World::root);
        let ids = root.map(|(uid, gid)| sys::process::own_files_as(uid, gid)).transpose();
        let _ids = ids.at(Step::Overlay, object)?;
        sys::mount::mount_overlay("merged", &options).at(Step::Overlay, object)?;
        Tree::copy("merged", Depth::One).at(Step::Overlay, object)
    }
}

/// The directories that hold layers, each mounted once on the desk with its owners mapped, under its number.
struct Shelves<'a> {
    desk: &'a Tree,
    world: Option<&'a World>,
    parents: Vec<PathBuf>,
}

impl Shelves<'_> {
    /// What `path` is called on the desk.
    fn name(&mut self, path: &Path) -> Result<Vec<u8>, Fault> {
        let object = || path.display().to_string();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Fault::new(Step::Overlay, object(), &std::io::ErrorKind::InvalidInput.into()));
        };
        let number = match self.parents.iter().position(|known| known == parent) {
            Some(number) => number,
            None => {
                self.add(parent)?;
                self.parents.push(parent.to_owned());
                self.parents.len() - 1
            }
        };
        Ok([format!("{number}/").as_bytes(), name.as_bytes()].concat())
    }

    fn add(&self, parent: &Path) -> Result<(), Fault> {
        let object = || parent.display().to_string();
        let tree = Tree::copy(parent, Depth::One).at(Step::Overlay, object)?;
        if let Some(world) = self.world {
            tree.map_ids(world.namespace.as_fd(), Depth::One).at(Step::MapOwners, object)?;
        }
        let number = self.parents.len().to_string();
        sys::fs::mkdir_at(self.desk, number.as_str(), 0o755).at(Step::Overlay, object)?;
        let place = sys::fs::open_at(self.desk, number.as_str(), OFlags::PATH | OFlags::DIRECTORY, 0)
            .at(Step::Overlay, object)?;
        tree.attach(place).at(Step::Overlay, object)
    }
}

/// Gives this process a mount namespace of its own, once: what it mounts to prepare containers is nobody else's business.
///
/// It goes on receiving what the host mounts and unmounts.
fn leave_mount_namespace() -> std::io::Result<()> {
    static LEFT: AtomicBool = AtomicBool::new(false);
    if !LEFT.load(Ordering::Relaxed) {
        sys::namespace::unshare(KindSet::EMPTY.with(Kind::Mount))?;
        sys::mount::set_propagation("/", Propagation::Slave, Depth::Recursive)?;
        LEFT.store(true, Ordering::Relaxed);
    }
    Ok(())
}

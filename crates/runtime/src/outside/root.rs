//! The root filesystem of a container with a user namespace.
//!
//! Layers and the writable directory keep the ids they have on the disk: root's files are owned by 0 there, whatever range of
//! ids the container runs with. Overlayfs is given them through id-mapped mounts, so that each container sees its own root
//! as their owner, and nothing is ever copied or changed for it.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use sys::fs::OFlags;
use sys::mount::{Attributes, Change, Context, Depth, Propagation, Tree};
use sys::namespace::{Kind, KindSet};

use super::{World, owners};
use crate::Rootfs;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::overlay::{self, OPTIONS_MAX};
use crate::plan::MountPlan;

/// Opens the root filesystem, attached to nothing.
pub fn prepare(rootfs: &Rootfs, world: Option<&World>) -> Result<Tree, Fault> {
    match rootfs {
        Rootfs::Directory(path) => {
            copy(path, Depth::Recursive).at(Step::Overlay, || path.display().to_string())
        }
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => {
            let object = || upper.display().to_string();
            let tree = copy(upper, Depth::One).at(Step::Overlay, object)?;
            if let Some(world) = world {
                owners::map(&tree, world.namespace.as_fd(), Depth::One, upper)?;
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

/// Copies the mount at `path`, which gets what the host mounts below it and gives nothing back.
///
/// A plain copy of a shared mount is its peer, and systemd makes all of a host's mounts shared: the container's mounts would appear
/// on the host, and pivot_root(2) refuses a root that is shared.
fn copy(path: &Path, depth: Depth) -> io::Result<Tree> {
    let tree = Tree::copy(path, depth)?;
    tree.change(Change { propagation: Some(Propagation::Slave), ..Change::default() }, Depth::Recursive)?;
    Ok(tree)
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
                return Err(Fault::new(Step::Mount, object, &io::ErrorKind::Unsupported.into()));
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

    /// A directory for errors to name.
    fn name(&self) -> String {
        let named = self.over.map(|(upper, _)| upper).or(self.lower.first().copied());
        named.unwrap_or(Path::new("/")).display().to_string()
    }

    /// Mounts it, attached to nothing, and leaves the working directory anywhere.
    fn mount(&self, world: Option<&World>) -> Result<Tree, Fault> {
        let object = || self.name();
        let desk = Desk::of_process().at(Step::Isolate, object)?;
        sys::process::change_directory(&desk.tree).at(Step::Overlay, object)?;
        let mut lower = Vec::with_capacity(self.lower.len());
        for layer in &self.lower {
            // What stands for a layer on its way may make room for the layer at this moment.
            let name = match desk.name(layer, world) {
                Err(_) if layer.is_symlink() => desk.name(layer, world),
                named => named,
            };
            lower.push(name?);
        }
        let over = match self.over {
            Some((upper, work)) => Some((desk.name(upper, world)?, desk.name(work, world)?)),
            None => None,
        };
        let over = over.as_ref().map(|(upper, work)| (&upper[..], &work[..]));
        // Overlayfs works in these directories as who mounted it, and has to be somebody the id map knows.
        let root = world.and_then(World::root);
        let ids = root.map(|(uid, gid)| sys::process::own_files_as(uid, gid)).transpose();
        let _ids = ids.at(Step::Overlay, object)?;
        match overlay::takes_layers_one_by_one() {
            true => {
                let lower: Vec<&OsStr> = lower.iter().map(|name| OsStr::from_bytes(name)).collect();
                let over = over.map(|(upper, work)| (OsStr::from_bytes(upper), OsStr::from_bytes(work)));
                overlay::one_by_one(overlay::SOURCE, &lower, over, self.volatile, Attributes::NONE)
                    .at(Step::Overlay, object)
            }
            false => self.mount_and_copy(desk, &lower, over),
        }
    }

    /// Mounts it on the desk for a moment. Taking it away waits for all processors, which is why this is the second choice.
    fn mount_and_copy(
        &self,
        desk: &Desk,
        lower: &[Vec<u8>],
        over: Option<(&[u8], &[u8])>,
    ) -> Result<Tree, Fault> {
        let object = || self.name();
        let mut options = overlay::options(lower, over, self.volatile);
        if options.len() > OPTIONS_MAX {
            // Links make hundreds of layers fit the page.
            let mut links = Vec::with_capacity(lower.len());
            for name in lower {
                links.push(desk.link(name).at(Step::Overlay, object)?);
            }
            options = overlay::options(&links, over, self.volatile);
        }
        let options =
            CString::new(options).map_err(|error| Fault::new(Step::Overlay, object(), &error.into()))?;
        sys::mount::mount_overlay(overlay::SOURCE, MERGED, &options).at(Step::Overlay, object)?;
        let tree = Tree::copy(MERGED, Depth::One).at(Step::Overlay, object);
        sys::mount::detach(MERGED).at(Step::Overlay, object)?;
        tree
    }
}

/// The name on the desk where an overlay is mounted.
const MERGED: &str = "merged";

/// The directory it lies over: an empty one that stays, because removing what is a mount point anywhere waits for all processors.
const PLACE: &str = "/run/hull-desk";

/// A small tmpfs in a mount namespace of this process's own, where the directories that hold layers have short names.
///
/// Overlayfs takes paths, and before Linux 6.15 only those of attached mounts. The desk is made once and goes with the process.
struct Desk {
    tree: Tree,
    /// The directories mounted on it with their owners mapped, each under its number: with the user namespace's inode.
    shelves: Mutex<Vec<(PathBuf, u64)>>,
    links: AtomicU32,
}

impl Desk {
    fn of_process() -> io::Result<&'static Self> {
        static DESK: OnceLock<Desk> = OnceLock::new();
        if let Some(desk) = DESK.get() {
            return Ok(desk);
        }
        // What it mounts to prepare containers is nobody else's business; it goes on receiving what the host mounts and unmounts.
        sys::namespace::unshare(KindSet::EMPTY.with(Kind::Mount))?;
        sys::mount::set_propagation("/", Propagation::Slave, Depth::Recursive)?;
        let tree = Context::open("tmpfs")?.mount(Attributes::NONE)?;
        match std::fs::create_dir(PLACE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        tree.attach(sys::fs::open(PLACE, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?)?;
        sys::fs::mkdir_at(&tree, MERGED, 0o755)?;
        let desk = Self { tree, shelves: Mutex::default(), links: AtomicU32::new(0) };
        Ok(DESK.get_or_init(|| desk))
    }

    /// What `path` is called on the desk, with its owners mapped as in `world`.
    fn name(&self, path: &Path, world: Option<&World>) -> Result<Vec<u8>, Fault> {
        let object = || path.display().to_string();
        // What stands for a layer that is on its way leads to another mount, whose owners are to be mapped.
        let resolved = match path.is_symlink() {
            true => Some(path.canonicalize().at(Step::Overlay, object)?),
            false => None,
        };
        let path = resolved.as_deref().unwrap_or(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Fault::new(Step::Overlay, object(), &io::ErrorKind::InvalidInput.into()));
        };
        let users = world.map(|world| sys::fs::stat(&world.namespace)).transpose();
        let users = users.at(Step::IdMaps, object)?.map_or(0, |stat| stat.st_ino);
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shelves.iter().position(|(path, of)| path == parent && *of == users);
        let number = match known {
            Some(number) => number,
            None => {
                self.put(parent, shelves.len(), world)?;
                shelves.push((parent.to_owned(), users));
                shelves.len() - 1
            }
        };
        Ok([format!("{number}/").as_bytes(), name.as_bytes()].concat())
    }

    fn put(&self, parent: &Path, number: usize, world: Option<&World>) -> Result<(), Fault> {
        let object = || parent.display().to_string();
        let tree = Tree::copy(parent, Depth::One).at(Step::Overlay, object)?;
        if let Some(world) = world {
            owners::map(&tree, world.namespace.as_fd(), Depth::One, parent)?;
        }
        let number = number.to_string();
        sys::fs::mkdir_at(&self.tree, number.as_str(), 0o755).at(Step::Overlay, object)?;
        let place = sys::fs::open_at(&self.tree, number.as_str(), OFlags::PATH | OFlags::DIRECTORY, 0)
            .at(Step::Overlay, object)?;
        tree.attach(place).at(Step::Overlay, object)
    }

    /// A short link to what is called `name` there.
    fn link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let link = format!("l{}", self.links.fetch_add(1, Ordering::Relaxed));
        sys::fs::symlink_at(OsStr::from_bytes(name), &self.tree, link.as_str())?;
        Ok(link.into_bytes())
    }
}

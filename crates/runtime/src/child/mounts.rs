//! The mounts of the specification, attached by descriptor beneath the root.

use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::Spec;
use sys::fs::{FileType, OFlags};
use sys::mount::{Change, Context, Depth, PROC_MAGIC, Propagation, Tree};

use super::cgroup;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::{ContainerPlan, MountPlan, Source};

/// What later steps need of the mounts.
pub struct Made {
    /// The root of the container's procfs.
    pub proc: Option<OwnedFd>,
}

/// Copies the sources of mounts that are to stay peers of the host's, while this namespace's mounts still are.
pub fn copy_shared(plan: &ContainerPlan<'_>) -> Result<Vec<Option<Tree>>, Fault> {
    let copy = |mount: &MountPlan<'_>| match (&mount.source, mount.propagation) {
        (Source::Bind { path, depth }, Some((Propagation::Shared, _))) if !plan.mount_from_outside(mount) => {
            Tree::copy(*path, *depth).map(Some).at(Step::Source, || path.display().to_string())
        }
        _ => Ok(None),
    };
    plan.mounts.iter().map(copy).collect()
}

pub fn make_all(
    plan: &ContainerPlan<'_>,
    shared: Vec<Option<Tree>>,
    prepared: Vec<Option<Tree>>,
    root: BorrowedFd<'_>,
) -> Result<Made, Fault> {
    let mut made = Made { proc: None };
    let prepared = prepared.into_iter().chain(std::iter::repeat_with(|| None));
    for ((mount, shared), prepared) in plan.mounts.iter().zip(shared).zip(prepared) {
        let object = || mount.destination.display().to_string();
        let tree = match &mount.source {
            Source::Bind { path, depth } => bind(mount, prepared.or(shared), path, *depth)?,
            Source::New { kind, source, data } => match prepared {
                Some(tree) => tree,
                None => new_tree(mount, kind, *source, data)?,
            },
            Source::Cgroup => {
                cgroup::mount(plan.cgroup, mount, root)?;
                continue;
            }
        };
        let target = target(root, mount, &tree)?;
        tree.attach(&target).at(Step::Mount, object)?;
        if let Some((propagation, depth)) = mount.propagation {
            let change = Change { propagation: Some(propagation), ..Change::default() };
            tree.change(change, depth).at(Step::Mount, object)?;
        }
        if matches!(&mount.source, Source::New { kind: "proc", .. })
            && mount.destination == Path::new("/proc")
        {
            made.proc = Some(tree.into_fd());
        }
    }
    Ok(made)
}

fn bind(mount: &MountPlan<'_>, copied: Option<Tree>, path: &Path, depth: Depth) -> Result<Tree, Fault> {
    let object = || mount.destination.display().to_string();
    let tree = match copied {
        Some(tree) => tree,
        None => Tree::copy(path, depth).at(Step::Source, || path.display().to_string())?,
    };
    let mut change = mount.change;
    if mount.propagation.is_none() {
        // Private unless asked otherwise: nothing mounted below it later shows up on the other side.
        change.propagation = Some(Propagation::Private);
        tree.change(Change { propagation: change.propagation, ..mount.recursive }, Depth::Recursive)
            .at(Step::Mount, object)?;
    } else if !mount.recursive.is_empty() {
        tree.change(mount.recursive, Depth::Recursive).at(Step::Mount, object)?;
    }
    if !change.set.is_empty() || !change.clear.is_empty() {
        tree.change(Change { propagation: None, ..change }, Depth::One).at(Step::Mount, object)?;
    }
    Ok(tree)
}

/// Makes the file system, attached to nothing.
pub fn new_tree(
    mount: &MountPlan<'_>,
    kind: &str,
    source: Option<&Path>,
    data: &[(&str, Option<&str>)],
) -> Result<Tree, Fault> {
    let object = || format!("{kind} at {}", mount.destination.display());
    let context = Context::open(kind).at(Step::Mount, object)?;
    if let Some(source) = source {
        context.set("source", source).at(Step::Mount, object)?;
    }
    for (key, value) in data {
        match value {
            Some(value) => context.set(key, *value),
            None => context.flag(key),
        }
        .at(Step::Mount, || format!("{} with option {key:?}{}", object(), complaint(&context)))?;
    }
    let attributes = mount.change.set.with(mount.recursive.set);
    context.mount(attributes).at(Step::Mount, || format!("{}{}", object(), complaint(&context)))
}

fn complaint(context: &Context) -> String {
    context.complaint().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// Opens the mount point beneath the root, making it when it is missing.
///
/// CVE-2021-30465: the descriptor, resolved with the root as `/`, is what the mount is attached to; nothing can be exchanged
/// for a link in between.
pub fn target(root: BorrowedFd<'_>, mount: &MountPlan<'_>, tree: &Tree) -> Result<OwnedFd, Fault> {
    let path = mount.destination;
    let object = || path.display().to_string();
    let kernel_tree = path == Path::new("/proc") || path == Path::new("/sys");
    let found = if kernel_tree {
        // CVE-2019-19921: an image whose /proc is a link could choose where procfs goes, and keep what is written to it.
        sys::fs::open_plain(root, below(path), OFlags::PATH | OFlags::DIRECTORY, 0)
    } else {
        sys::fs::open_in_root(root, path, OFlags::PATH, 0)
    };
    let target = match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create(root, path, is_directory(tree).at(Step::Target, object)?)
        }
        other => other,
    }
    .at(Step::Target, object)?;
    if path == Path::new("/proc") {
        let magic = sys::mount::file_system_magic(tree).at(Step::Mount, object)?;
        refuse_unless(magic == PROC_MAGIC, mount)?;
    } else if !kernel_tree {
        keep_proc_genuine(mount, &target)?;
    }
    Ok(target)
}

/// CVE-2019-16884: nothing but a few harmless files of procfs may be covered, or what is written there (security labels,
/// kernel parameters) would go into files of the image.
fn keep_proc_genuine(mount: &MountPlan<'_>, target: &OwnedFd) -> Result<(), Fault> {
    const HARMLESS: [&str; 11] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/net/dev",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/crypto/fips_enabled",
    ];
    let magic =
        sys::mount::file_system_magic(target).at(Step::Target, || mount.destination.display().to_string())?;
    let harmless = HARMLESS.iter().any(|path| mount.destination == Path::new(path));
    refuse_unless(magic != PROC_MAGIC || harmless, mount)
}

fn refuse_unless(fine: bool, mount: &MountPlan<'_>) -> Result<(), Fault> {
    if fine {
        return Ok(());
    }
    let object = format!("something else over {} of procfs", mount.destination.display());
    Err(Fault::new(Step::Mount, object, &std::io::Error::from_raw_os_error(EPERM)))
}

const EPERM: i32 = 1;

fn is_directory(tree: &Tree) -> std::io::Result<bool> {
    Ok(FileType::from_raw_mode(sys::fs::stat(tree)?.st_mode) == FileType::Directory)
}

fn create(root: BorrowedFd<'_>, path: &Path, directory: bool) -> std::io::Result<OwnedFd> {
    if directory {
        return sys::fs::create_dir_all_in_root(root, path, 0o755);
    }
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let parent = sys::fs::create_dir_all_in_root(root, parent, 0o755)?;
    drop(sys::fs::open_at(&parent, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o644)?);
    sys::fs::open_at(&parent, name, OFlags::PATH, 0)
}

/// `path` relative to the root.
pub fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Writes the kernel parameters through the container's own procfs.
pub fn sysctls(spec: &Spec, proc: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    for (name, value) in spec.linux.iter().flat_map(|linux| &linux.sysctl) {
        let object = || format!("{name}={value}");
        let path = match name.contains('/') {
            true => format!("sys/{name}"),
            false => format!("sys/{}", name.replace('.', "/")),
        };
        let proc = proc.ok_or_else(|| {
            let none = std::io::Error::from(std::io::ErrorKind::NotFound);
            Fault::new(Step::Sysctl, format!("{name}: /proc is not mounted"), &none)
        })?;
        let file = sys::fs::open_plain(proc, path, OFlags::WRONLY, 0).at(Step::Sysctl, object)?;
        // CVE-2025-52881: what is written to is a file of procfs, not something mounted over it.
        if sys::mount::file_system_magic(&file).at(Step::Sysctl, object)? != PROC_MAGIC {
            return Err(Fault::new(Step::Sysctl, object(), &std::io::Error::from_raw_os_error(EPERM)));
        }
        std::fs::File::from(file).write_all(value.as_bytes()).at(Step::Sysctl, object)?;
    }
    Ok(())
}

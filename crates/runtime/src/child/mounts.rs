//! The mounts of the specification, attached by descriptor beneath the root.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci::runtime::Spec;
use sys::fs::{FileType, OFlags};
use sys::mount::{Attributes, Change, Context, Depth, PROC_MAGIC, Propagation, Tree};

use super::{cgroup, copy_up};
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::{ContainerPlan, Datum, MountPlan, Source};

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
            Source::Remount { data } => {
                remount(mount, data, root)?;
                continue;
            }
            Source::Cgroup => {
                cgroup::mount(plan.cgroup, mount, root)?;
                continue;
            }
        };
        let target = target(root, mount, &tree)?;
        if mount.copy_up {
            copy_up(mount, &target, &tree)?;
        }
        tree.attach(&target).map_err(|error| explain(error, &tree, &target)).at(Step::Mount, object)?;
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

/// The kernel calls it invalid when a file would go over a directory, or a directory over a file.
fn explain(error: std::io::Error, tree: &Tree, target: &OwnedFd) -> std::io::Error {
    let kind = |fd: BorrowedFd<'_>| sys::fs::stat(fd).map(|s| FileType::from_raw_mode(s.st_mode));
    match (kind(tree.as_fd()), kind(target.as_fd())) {
        (Ok(tree), Ok(target)) if (tree == FileType::Directory) != (target == FileType::Directory) => {
            std::io::Error::from_raw_os_error(ENOTDIR)
        }
        _ => error,
    }
}

const ENOTDIR: i32 = 20;

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

/// Changes what is mounted at the destination.
fn remount(mount: &MountPlan<'_>, data: &[Datum<'_>], root: BorrowedFd<'_>) -> Result<(), Fault> {
    let object = || format!("{} again", mount.destination.display());
    let target = sys::fs::open_in_root(root, &*mount.destination, OFlags::PATH, 0).at(Step::Mount, object)?;
    if !data.is_empty() {
        let context = Context::pick(&target).at(Step::Mount, object)?;
        configure(&context, data, &object)?;
        context.reconfigure().at(Step::Mount, || format!("{}{}", object(), complaint(&context)))?;
    }
    for (change, depth) in [(mount.change, Depth::One), (mount.recursive, Depth::Recursive)] {
        if !change.is_empty() {
            sys::mount::change(&target, change, depth).at(Step::Mount, object)?;
        }
    }
    if let Some((propagation, depth)) = mount.propagation {
        let change = Change { propagation: Some(propagation), ..Change::default() };
        sys::mount::change(&target, change, depth).at(Step::Mount, object)?;
    }
    Ok(())
}

/// Fills the new tmpfs with what it is about to cover.
fn copy_up(mount: &MountPlan<'_>, target: &OwnedFd, tree: &Tree) -> Result<(), Fault> {
    let object = || format!("a copy at {}", mount.destination.display());
    // Again, for reading; the descriptor leads to the directory itself.
    let from = sys::fs::open_dir_at(target, ".").at(Step::Mount, object)?;
    let Source::New { data, .. } = &mount.source else { return Ok(()) };
    copy_up::copy_directory(from.as_fd(), tree.as_fd()).at(Step::Mount, object)?;
    if !data.iter().any(|(key, _)| matches!(*key, "mode" | "uid" | "gid")) {
        let own = sys::fs::open_dir_at(tree, ".").at(Step::Mount, object)?;
        sys::fs::stat(&from)
            .and_then(|stat| copy_up::copy_attributes(from.as_fd(), own.as_fd(), &stat))
            .at(Step::Mount, object)?;
    }
    tree.change(Change::set(attributes(mount)), Depth::One).at(Step::Mount, object)
}

/// What a new mount starts with.
fn attributes(mount: &MountPlan<'_>) -> Attributes {
    mount.change.set.with(mount.recursive.set)
}

/// Makes the file system, attached to nothing.
pub fn new_tree(
    mount: &MountPlan<'_>,
    kind: &str,
    source: Option<&Path>,
    data: &[Datum<'_>],
) -> Result<Tree, Fault> {
    let object = || format!("{kind} at {}", mount.destination.display());
    let context = Context::open(kind).at(Step::Mount, object)?;
    if let Some(source) = source {
        context.set("source", source).at(Step::Mount, object)?;
    }
    configure(&context, data, &object)?;
    // What is to be filled first is writable for that long.
    let first = if mount.copy_up { Attributes::NONE } else { attributes(mount) };
    context.mount(first).at(Step::Mount, || format!("{}{}", object(), complaint(&context)))
}

fn configure(context: &Context, data: &[Datum<'_>], object: &impl Fn() -> String) -> Result<(), Fault> {
    for (key, value) in data {
        match value {
            Some(value) => context.set(key, *value),
            None => context.flag(key),
        }
        .at(Step::Mount, || format!("{} with option {key:?}{}", object(), complaint(context)))?;
    }
    Ok(())
}

fn complaint(context: &Context) -> String {
    context.complaint().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// Opens the mount point beneath the root, making it when it is missing.
///
/// CVE-2021-30465: the descriptor, resolved with the root as `/`, is what the mount is attached to; nothing can be exchanged
/// for a link in between.
pub fn target(root: BorrowedFd<'_>, mount: &MountPlan<'_>, tree: &Tree) -> Result<OwnedFd, Fault> {
    let path = &*mount.destination;
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
    create_file(root, path, 0)
}

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// Makes an empty file; where the path is a link that leads nowhere, what it leads to, beneath the root as well.
fn create_file(root: BorrowedFd<'_>, path: &Path, links: u32) -> std::io::Result<OwnedFd> {
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let directory = sys::fs::create_dir_all_in_root(root, parent, 0o755)?;
    match sys::fs::open_at(&directory, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o644) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && links < MAX_LINKS => {
            let target = sys::fs::read_link_at(&directory, name)?;
            let target = parent.join(std::ffi::OsStr::from_bytes(target.to_bytes()));
            create_file(root, &target, links + 1)
        }
        other => other.and_then(|_| sys::fs::open_at(&directory, name, OFlags::PATH, 0)),
    }
}

/// `path` relative to the root.
pub fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Writes the kernel parameters through the container's own procfs.
pub fn sysctls(spec: &Spec, proc: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    for (name, value) in spec.linux.iter().flat_map(|linux| &linux.sysctl) {
        let object = || format!("{name}={value}");
        // Those of names the kernel lets only the host's root write, whoever owns the namespace; the calls do the same.
        let done = match name.as_str() {
            "kernel.hostname" | "kernel/hostname" => Some(sys::process::set_hostname(value)),
            "kernel.domainname" | "kernel/domainname" => Some(sys::process::set_domainname(value)),
            _ => None,
        };
        if let Some(done) = done {
            done.at(Step::Sysctl, object)?;
            continue;
        }
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

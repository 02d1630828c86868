//! `/dev`: the nodes and links every container has, and those the specification adds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use oci::runtime::{LinuxDevice, Spec};
use sys::fs::{FileType, Node, OFlags};
use sys::mount::{Depth, Tree};

use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::{ContainerPlan, Source};

/// Runtime-spec, "Default Devices"; `console` and `ptmx` come with the terminal and with devpts.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Runtime-spec, "Dev symbolic links".
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// The devices of the specification. Engines that show a container all of the host's list its ptmx, too: the container's own is
/// a link into its own devpts, which stays.
fn asked_for(spec: &Spec) -> impl Iterator<Item = &LinuxDevice> {
    let devices = spec.linux.iter().flat_map(|linux| &linux.devices);
    devices.filter(|device| device.path != Path::new("/dev/ptmx"))
}

/// Fills the container's `/dev`, beneath its root, and makes the devices elsewhere.
pub fn make_all(plan: &ContainerPlan<'_>, shelf: Option<Tree>, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let mounted = plan.mounts.iter().find(|mount| mount.is_dev());
    // Whoever mounts a /dev of the host wants that one, unchanged.
    let given = mounted.is_some_and(|mount| matches!(mount.source, Source::Bind { .. }));
    if !given {
        let dev = sys::fs::create_dir_all_in_root(root, Path::new("/dev"), 0o755)
            .at(Step::Device, || "/dev".to_owned())?;
        for (name, target) in LINKS {
            match sys::fs::symlink_at(target, &dev, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.at(Step::Device, || format!("/dev/{name}"))?,
            }
        }
        if !plan.has_other_users() {
            make_nodes(plan.spec, dev.as_fd(), |uid, gid| (uid, gid))?;
        }
    }
    if plan.has_other_users() {
        return shelf.map_or(Ok(()), |shelf| bind_all(&plan.shelf, &shelf, root));
    }
    let devices = asked_for(plan.spec);
    for device in devices.filter(|device| in_dev(device).is_none()) {
        let object = || device.path.display().to_string();
        add(root, &device.path, device, (device.uid, device.gid)).at(Step::Device, object)?;
    }
    Ok(())
}

/// The nodes that are not in a `/dev` that the caller prepares, for a container whose own process may make none.
pub fn for_shelf(plan: &ContainerPlan<'_>) -> Vec<LinuxDevice> {
    let mounted = plan.mounts.iter().find(|mount| mount.is_dev());
    let given = mounted.is_some_and(|mount| matches!(mount.source, Source::Bind { .. }));
    let ready = given || mounted.is_some_and(|mount| plan.mount_from_outside(mount));
    let usual = NODES.iter().filter(|_| !ready).map(|(name, major, minor)| LinuxDevice {
        path: Path::new("/dev").join(name),
        r#type: "c".to_owned(),
        major: (*major).into(),
        minor: (*minor).into(),
        ..LinuxDevice::default()
    });
    let devices = asked_for(plan.spec);
    usual.chain(devices.filter(|device| !ready || in_dev(device).is_none()).cloned()).collect()
}

/// Binds each node of the shelf to its place.
fn bind_all(devices: &[LinuxDevice], shelf: &Tree, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let object = || "the directory of device nodes".to_owned();
    // Before Linux 6.15 only attached mounts can be copied. Over the old root nobody sees it, and it goes with that.
    sys::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, 0)
        .and_then(|place| shelf.attach(place))
        .at(Step::Device, object)?;
    for (number, device) in devices.iter().enumerate() {
        bind(shelf, &number.to_string(), device, root)
            .at(Step::Device, || device.path.display().to_string())?;
    }
    Ok(())
}

fn bind(shelf: &Tree, name: &str, device: &LinuxDevice, root: BorrowedFd<'_>) -> io::Result<()> {
    let wanted = sys::fs::stat_at(shelf, name)?;
    let (parent, file) = split(&device.path)?;
    let parent = sys::fs::create_dir_all_in_root(root, parent, 0o755)?;
    match sys::fs::open_at(&parent, file, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = sys::fs::stat_at(&parent, file)?;
            let kind = FileType::from_raw_mode(found.st_mode);
            if kind == FileType::from_raw_mode(wanted.st_mode) && found.st_rdev == wanted.st_rdev {
                return Ok(());
            }
            // An empty file is what another runtime left for the same purpose.
            if kind != FileType::RegularFile || found.st_size != 0 {
                return Err(error);
            }
        }
        other => drop(other?),
    }
    Tree::copy_at(shelf, name, Depth::One)?.attach(sys::fs::open_at(&parent, file, OFlags::PATH, 0)?)
}

/// The directory of a node and its name in it.
fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    Ok((path.parent().unwrap_or(Path::new("/")), path.file_name().ok_or(io::ErrorKind::InvalidInput)?))
}

/// Makes the nodes of every container and those of `spec` that lie there in `dev`; `owner` says whose they are.
pub fn make_nodes(
    spec: &Spec,
    dev: BorrowedFd<'_>,
    owner: impl Fn(u32, u32) -> (u32, u32),
) -> Result<(), Fault> {
    let root = owner(0, 0);
    let given = (root != (0, 0)).then_some(root);
    for (name, major, minor) in NODES {
        let node = Node::Character { major, minor };
        if sys::user::is_in_subordinate_namespace() {
            bind_from_host(dev, name.as_ref(), node, name.as_ref())
                .at(Step::Device, || format!("/dev/{name}"))?;
            continue;
        }
        let give = |(uid, gid)| {
            sys::fs::chown_at(dev, name, uid, gid)?;
            // The caller has a umask.
            sys::fs::chmod_at(dev, name, 0o666)
        };
        make(&dev, name, node, 0o666)
            .and_then(|()| given.map_or(Ok(()), give))
            .at(Step::Device, || format!("/dev/{name}"))?;
    }
    let devices = asked_for(spec);
    for (device, path) in devices.filter_map(|device| Some((device, in_dev(device)?))) {
        let asked = device.uid.is_some() || device.gid.is_some();
        let (uid, gid) = owner(device.uid.unwrap_or(0), device.gid.unwrap_or(0));
        let owner = if asked || given.is_some() { (Some(uid), Some(gid)) } else { (None, None) };
        add(dev, path, device, owner).at(Step::Device, || device.path.display().to_string())?;
    }
    Ok(())
}

/// The device's path below `/dev`, if it is there and plain.
fn in_dev(device: &LinuxDevice) -> Option<&Path> {
    let path = device.path.strip_prefix("/dev").ok()?;
    path.components().all(|component| matches!(component, Component::Normal(_))).then_some(path)
}

/// Makes the node of `device` at `path` beneath `root`.
pub fn add(
    root: BorrowedFd<'_>,
    path: &Path,
    device: &LinuxDevice,
    owner: (Option<u32>, Option<u32>),
) -> io::Result<()> {
    let number = |n: i64| u32::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (major, minor) = (number(device.major)?, number(device.minor)?);
    let node = match device.r#type.as_str() {
        "c" | "u" => Node::Character { major, minor },
        "b" => Node::Block { major, minor },
        "p" => Node::Fifo,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let (parent, name) = split(path)?;
    let parent = sys::fs::create_dir_all_in_root(root, parent, 0o755)?;
    if sys::user::is_in_subordinate_namespace() && device.r#type != "p" {
        let usual = device.path.strip_prefix("/dev").unwrap_or(&device.path);
        return bind_from_host(parent.as_fd(), name.as_ref(), node, usual);
    }
    let mode = device.file_mode.unwrap_or(0o666) & 0o777;
    make(&parent, name, node, mode)?;
    match owner {
        (None, None) => Ok(()),
        (uid, gid) => {
            sys::fs::chown_at(&parent, name, uid.unwrap_or(0), gid.unwrap_or(0))?;
            sys::fs::chmod_at(&parent, name, mode)
        }
    }
}

/// Binds the host's own node to `name` in `dir`: in a user namespace nobody may make one. It keeps its owner and mode.
///
/// `usual` is where below `/dev` it is looked for first.
fn bind_from_host(dir: BorrowedFd<'_>, name: &Path, node: Node, usual: &Path) -> io::Result<()> {
    let (directory, kind, numbers) = match node {
        Node::Character { major, minor } => ("char", FileType::CharacterDevice, (major, minor)),
        Node::Block { major, minor } => ("block", FileType::BlockDevice, (major, minor)),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let is_it = |stat: &sys::fs::Stat| {
        FileType::from_raw_mode(stat.st_mode) == kind && sys::fs::device_numbers(stat.st_rdev) == numbers
    };
    if sys::fs::stat_at(dir, name).is_ok_and(|stat| is_it(&stat)) {
        return Ok(());
    }
    let (major, minor) = numbers;
    let places = [Path::new("/dev").join(usual), format!("/dev/{directory}/{major}:{minor}").into()];
    for place in places {
        let Ok(found) = sys::fs::open(place.as_path(), OFlags::PATH, 0) else { continue };
        if is_it(&sys::fs::stat(&found)?) {
            sys::fs::open_at(dir, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o600)?;
            return Tree::copy_fd(&found, Depth::One)?.attach(sys::fs::open_at(dir, name, OFlags::PATH, 0)?);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the host has no such node, and only its root could make one",
    ))
}

/// Makes the node, or accepts one that is the same device already.
fn make(dir: &impl AsFd, name: impl AsRef<Path>, node: Node, mode: u32) -> io::Result<()> {
    let name = name.as_ref();
    match sys::fs::mknod_at(dir, name, node, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let stat = sys::fs::stat_at(dir, name)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let same = match node {
                Node::Character { major, minor } => {
                    kind == FileType::CharacterDevice
                        && sys::fs::device_numbers(stat.st_rdev) == (major, minor)
                }
                Node::Block { major, minor } => {
                    kind == FileType::BlockDevice && sys::fs::device_numbers(stat.st_rdev) == (major, minor)
                }
                _ => kind == FileType::Fifo,
            };
            if same { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}

/// Whether `fd` is the character device with these numbers.
pub fn is_character_device(fd: impl AsFd, numbers: (u32, u32)) -> io::Result<bool> {
    let stat = sys::fs::stat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && sys::fs::device_numbers(stat.st_rdev) == numbers)
}

/// Creates the empty file a device is to be mounted on.
pub fn mount_point(root: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let dev = sys::fs::open_in_root(root, "/dev", OFlags::PATH | OFlags::DIRECTORY, 0)?;
    match sys::fs::open_at(&dev, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => drop(other?),
    }
    sys::fs::open_at(&dev, name, OFlags::PATH, 0)
}

//! `/dev`: the nodes and links every container has, and those the specification adds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{LinuxDevice, Spec};
use sys::fs::{FileType, Node, OFlags};

use super::mounts::below;
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::{MountPlan, Source};

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

pub fn make_all(spec: &Spec, root: BorrowedFd<'_>, mounts: &[MountPlan<'_>]) -> Result<(), Fault> {
    let of_the_host = |mount: &MountPlan<'_>| {
        mount.destination == Path::new("/dev") && matches!(mount.source, Source::Bind { .. })
    };
    if mounts.iter().any(of_the_host) {
        // Whoever mounts a /dev of the host wants that one, unchanged.
        return Ok(());
    }
    let dev = sys::fs::create_dir_all_in_root(root, Path::new("/dev"), 0o755)
        .at(Step::Device, || "/dev".to_owned())?;
    for (name, major, minor) in NODES {
        let node = Node::Character { major, minor };
        make(&dev, name, node, 0o666).at(Step::Device, || format!("/dev/{name}"))?;
    }
    for (name, target) in LINKS {
        match sys::fs::symlink_at(target, &dev, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.at(Step::Device, || format!("/dev/{name}"))?,
        }
    }
    let devices = spec.linux.iter().flat_map(|linux| &linux.devices);
    for device in devices {
        add(root, &dev, device).at(Step::Device, || device.path.display().to_string())?;
    }
    Ok(())
}

fn add(root: BorrowedFd<'_>, dev: &OwnedFd, device: &LinuxDevice) -> io::Result<()> {
    let number = |n: i64| u32::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (major, minor) = (number(device.major)?, number(device.minor)?);
    let node = match device.r#type.as_str() {
        "c" | "u" => Node::Character { major, minor },
        "b" => Node::Block { major, minor },
        "p" => Node::Fifo,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let name = device.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = device.path.parent().unwrap_or(Path::new("/"));
    let other;
    let parent = if below(parent) == Path::new("dev") {
        dev
    } else {
        other = sys::fs::create_dir_all_in_root(root, parent, 0o755)?;
        &other
    };
    make(parent, name, node, device.file_mode.unwrap_or(0o666) & 0o777)?;
    if device.uid.is_some() || device.gid.is_some() {
        sys::fs::chown_at(parent, name, device.uid.unwrap_or(0), device.gid.unwrap_or(0))?;
    }
    Ok(())
}

/// Makes the node, or accepts one that is the same device already.
fn make(dir: &OwnedFd, name: impl AsRef<Path>, node: Node, mode: u32) -> io::Result<()> {
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

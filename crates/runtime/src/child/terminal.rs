//! The container's terminal, from the container's own devpts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::runtime::Process;
use sys::fs::OFlags;
use sys::mount::{DEVPTS_MAGIC, Depth, Tree};
use sys::terminal::WindowSize;

use super::devices;
use crate::Stdio;
use crate::channel::{At, Fault};
use crate::error::Step;

/// Both sides of a pseudo-terminal.
pub struct Terminal {
    pub controller: OwnedFd,
    pub peer: OwnedFd,
}

/// Opens the terminal for the first process, beneath its root, and shows it as `/dev/console`.
pub fn open_in_root(
    stdio: &Stdio,
    process: &Process,
    root: BorrowedFd<'_>,
) -> Result<Option<Terminal>, Fault> {
    let Some(terminal) = open(stdio, process, root)? else { return Ok(None) };
    // CVE-2025-52565: from descriptor to descriptor; nothing can be put between the check and the mount.
    Tree::copy_fd(&terminal.peer, Depth::One)
        .and_then(|tree| tree.attach(devices::mount_point(root, "console")?))
        .at(Step::Terminal, || "/dev/console".to_owned())?;
    Ok(Some(terminal))
}

/// Opens the terminal when one is asked for; `root` is the container's.
pub fn open(stdio: &Stdio, process: &Process, root: BorrowedFd<'_>) -> Result<Option<Terminal>, Fault> {
    let Stdio::Terminal { size } = stdio else { return Ok(None) };
    let object = || "/dev/pts".to_owned();
    let pts = sys::fs::open_in_root(root, "/dev/pts", OFlags::PATH | OFlags::DIRECTORY, 0)
        .at(Step::Terminal, object)?;
    // A container may have put anything there; in a devpts nobody can put anything.
    if sys::mount::file_system_magic(&pts).at(Step::Terminal, object)? != DEVPTS_MAGIC {
        return Err(Fault::new(Step::Terminal, object(), &io::ErrorKind::InvalidData.into()));
    }
    let controller =
        sys::fs::open_at(&pts, "ptmx", OFlags::RDWR | OFlags::NOCTTY, 0).at(Step::Terminal, object)?;
    sys::terminal::unlock_pty(controller.as_fd()).at(Step::Terminal, object)?;
    let peer = sys::terminal::open_peer(controller.as_fd()).at(Step::Terminal, object)?;
    let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let first =
        process.console_size.map(|size| WindowSize { rows: clamp(size.height), columns: clamp(size.width) });
    if let Some(size) = size.or(first) {
        sys::terminal::set_window_size(controller.as_fd(), size).at(Step::Terminal, object)?;
    }
    Ok(Some(Terminal { controller, peer }))
}

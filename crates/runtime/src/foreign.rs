//! Bind sources in the root of another process, `/proc/<pid>/root/…`: what a container shares of another's mounts.
//!
//! A mount can be copied only by who is in the mount namespace it belongs to. A go-between enters that, which nobody should do
//! who wants to keep his own root, copies the mount and hands it back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

use sys::fs::OFlags;
use sys::mount::{Depth, Tree};
use sys::namespace::Kind;
use sys::process::{Clone, Cloned};

/// The process whose root `source` starts at, and the path from there; `None` for any other source.
pub fn parse(source: &Path) -> Option<(i32, PathBuf)> {
    let mut parts = source.strip_prefix("/proc").ok()?.components();
    let pid = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    (parts.next()? == Component::Normal("root".as_ref())).then(|| (pid, parts.as_path().to_owned()))
}

/// Copies the mount at `path` in the root and the mount namespace of the process `pid`; the path's links lead nowhere else.
pub fn copy(pid: i32, path: &Path, depth: Depth) -> io::Result<Tree> {
    let namespace = sys::namespace::open(pid, Kind::Mount)?;
    let root = sys::fs::open(format!("/proc/{pid}/root"), OFlags::PATH | OFlags::DIRECTORY, 0)?;
    let (ours, theirs) = UnixStream::pair()?;
    let work = || -> io::Result<Tree> {
        let target = sys::fs::open_in_root(&root, Path::new(".").join(path), OFlags::PATH, 0)?;
        sys::namespace::join(namespace.as_fd(), Kind::Mount)?;
        Tree::copy_fd(&target, depth)
    };
    match sys::process::clone(Clone::default())? {
        Cloned::Child => {
            drop(ours);
            let sent = match work() {
                Ok(tree) => sys::socket::send_with_fds(theirs.as_fd(), &0_i32.to_le_bytes(), &[tree.as_fd()]),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(EIO);
                    sys::socket::send_with_fds(theirs.as_fd(), &errno.to_le_bytes(), &[])
                }
            };
            sys::process::exit(u8::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let mut errno = [0; 4];
            let heard = sys::socket::recv_with_fds(ours.as_fd(), &mut errno);
            sys::process::wait(pidfd.as_fd())?;
            let (length, fds): (usize, Vec<OwnedFd>) = heard?;
            match (length, fds.into_iter().next()) {
                (4, Some(tree)) => Ok(Tree::from_fd(tree)),
                (4, None) => Err(io::Error::from_raw_os_error(i32::from_le_bytes(errno))),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

const EIO: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_of_processes_are_foreign() {
        let parsed = |path: &str| parse(Path::new(path));
        assert_eq!(parsed("/proc/12/root/dev/shm"), Some((12, "dev/shm".into())));
        assert_eq!(parsed("/proc/12/root"), Some((12, "".into())));
        for other in ["/proc/self/root/x", "/proc/12/cwd/x", "/proc/12", "/dev/shm", "proc/12/root"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}

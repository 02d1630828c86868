//! Going home: what every command of an ordinary user does first of all.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use cgroup::Delegation;
use sys::fs::{FileLock, LockKind, OFlags};
use sys::process::Vectors;

use crate::HomeError;
use crate::home::KINDS;
use crate::keeper::{LOCK, SEPARATOR, STATUS_FD};
use crate::place;
use crate::record::Record;

/// Variables for the process that goes on in the home.
pub type Environment<'a> = &'a [(&'a str, &'a Path)];

/// Executes this program again, in the home whose directory is `directory`, with the same arguments.
///
/// Returns at once for root, who needs none, whether of the host or of a home.
///
/// # Errors
/// What is missing on this system for users to run containers.
pub fn enter(directory: &Path, environment: Environment<'_>) -> Result<(), HomeError> {
    if sys::user::effective_uid() == 0 {
        return Ok(());
    }
    place::open(directory)?;
    let (anchor, groups, _lock) = find_or_start(directory)?;
    // Who needs a group and is not let in is told so by whatever wanted to have it.
    let _ = groups.as_ref().map(Delegation::enter);
    let failed = |source| HomeError::Home { action: "join", source };
    // Both are looked up again on the other side: what is open here leads to mounts of this side.
    let here = std::env::current_dir().map_err(failed)?;
    let program = std::fs::read_link("/proc/self/exe").map_err(failed)?;
    sys::namespace::join_process(anchor.as_fd(), KINDS).map_err(failed)?;
    std::env::set_current_dir(&here).map_err(|source| HomeError::Directory { path: here, source })?;
    let program = sys::fs::open(program.as_path(), OFlags::PATH, 0).map_err(failed)?;
    // The lock is released by the exec: from then on this process is seen to live there.
    Err(failed(sys::process::exec_fd(
        program,
        &vectors(directory, groups.as_ref(), environment).map_err(failed)?,
    )))
}

fn vectors(
    directory: &Path,
    groups: Option<&Delegation>,
    environment: Environment<'_>,
) -> std::io::Result<Vectors> {
    let args: Vec<Vec<u8>> = std::env::args_os().map(|arg| arg.as_bytes().to_vec()).collect();
    let group = groups.map(|groups| (Delegation::VARIABLE, groups.root()));
    let new = || environment.iter().copied().chain([(net::ports::HOME, directory)]).chain(group);
    let pair = |name: &OsStr, value: &OsStr| [name.as_bytes(), b"=", value.as_bytes()].concat();
    let mut env: Vec<Vec<u8>> = std::env::vars_os()
        .filter(|(name, _)| name != Delegation::VARIABLE && !new().any(|(other, _)| name == other))
        .map(|(name, value)| pair(&name, &value))
        .collect();
    env.extend(new().map(|(name, value)| pair(name.as_ref(), value.as_ref())));
    Vectors::new(&args, &env)
}

/// The anchor of the home, its control groups, and the lock that keeps the home from being ended.
fn find_or_start(directory: &Path) -> Result<(OwnedFd, Option<Delegation>, FileLock), HomeError> {
    let failed = |source| HomeError::Home { action: "find", source };
    let lock = |kind| FileLock::acquire(directory.join(LOCK), kind).map_err(failed);
    let find = || {
        let record = Record::load(directory)?;
        Some((record.anchor()?, record.group.map(Delegation::at)))
    };
    let shared = lock(LockKind::Shared)?;
    if let Some((anchor, groups)) = find() {
        return Ok((anchor, groups, shared));
    }
    drop(shared);
    let alone = lock(LockKind::Exclusive)?;
    if find().is_none() {
        start(directory)?;
    }
    match find() {
        Some((anchor, groups)) => Ok((anchor, groups, alone)),
        None => Err(failed(std::io::ErrorKind::NotFound.into())),
    }
}

/// Starts a keeper and waits until it has a home to join.
fn start(directory: &Path) -> Result<(), HomeError> {
    let failed = |source| HomeError::Home { action: "start a keeper for", source };
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    sys::spawn::spawn(&sys::spawn::Spawn {
        program: Path::new("/proc/self/exe"),
        args: &["hull".as_ref(), "keeper".as_ref(), directory.as_os_str()],
        fds: &[(theirs.as_fd(), STATUS_FD)],
        new_session: true,
    })
    .map_err(failed)?;
    drop(theirs);
    let mut answer = String::new();
    let mut first = [0];
    ours.read_exact(&mut first).map_err(failed)?;
    if first == *b"+" {
        return Ok(());
    }
    ours.read_to_string(&mut answer).map_err(failed)?;
    let (message, hint) = answer.split_once(SEPARATOR).unwrap_or((&answer, ""));
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Err(HomeError::Keeper { message: message.to_owned(), hint })
}

/// The directory of the home of a user whose volatile files are below `run`.
pub fn directory_below(run: &Path) -> PathBuf {
    run.join("hull-home")
}

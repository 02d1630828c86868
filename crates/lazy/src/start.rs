//! Beginning a lazy pull: the command that needs the image starts the process that serves it, and waits until it can be used.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use image::Images;
use oci::image::Platform;
use oci::{Reference, ReferenceError};
use store::{Store, StoreError};
use sys::fs::{FileLock, LockKind};

/// Under which number the service finds the pipe it answers on.
pub(crate) const ANSWER_FD: i32 = 3;
pub(crate) const READY: &str = "ready";

/// A lazy pull did not begin.
#[derive(Debug, thiserror::Error)]
pub enum LazyError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("cannot start the process that serves {0}")]
    Spawn(String, #[source] io::Error),
    /// With the sentence of the process that was to serve it.
    #[error("{text}")]
    Service { text: String, hint: Option<String> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for LazyError {
    fn class(&self) -> Class {
        match self {
            Self::Reference(_) => Class::Invalid,
            Self::Spawn(..) => Class::Internal,
            Self::Service { .. } => Class::Unavailable,
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Service { hint, .. } => hint.clone(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

/// Where the filesystems of layers are mounted.
pub(crate) fn mounts(store: &Store) -> PathBuf {
    store.run().join("lazy.mounts")
}

/// Makes the image `name` usable before its layers are here; does nothing when it is usable already.
///
/// # Errors
/// [`LazyError`].
pub fn start(store: &Store, name: &str, platform: Option<&Platform>) -> Result<(), LazyError> {
    let images = Images::new(store);
    let is_here = || images.resolve(name).is_ok_and(|image| images.is_usable(&image));
    if is_here() {
        return Ok(());
    }
    let reference = Reference::parse(name)?;
    let directory = mounts(store);
    std::fs::create_dir_all(&directory).map_err(|e| StoreError::io("create", &directory, e))?;
    // Two commands that want the same image at once start one service.
    let path = directory.join("start.lock");
    let lock = FileLock::acquire(&path, LockKind::Exclusive).map_err(|e| StoreError::io("lock", &path, e))?;
    if is_here() {
        return Ok(());
    }
    let answer = spawn(store, &reference, platform)
        .map_err(|source| LazyError::Spawn(reference.familiar(), source))?;
    drop(lock);
    match answer.split_once('\n') {
        None if answer == READY => Ok(()),
        Some((text, hint)) => Err(LazyError::Service { text: text.to_owned(), hint: Some(hint.to_owned()) }),
        None if answer.is_empty() => {
            Err(LazyError::Spawn(reference.familiar(), io::ErrorKind::UnexpectedEof.into()))
        }
        None => Err(LazyError::Service { text: answer, hint: None }),
    }
}

fn spawn(store: &Store, reference: &Reference, platform: Option<&Platform>) -> io::Result<String> {
    let (mut answer, theirs) = io::pipe()?;
    let theirs_fd = sys::spawn::duplicate_above(theirs.as_fd(), ANSWER_FD + 1)?;
    drop(theirs);
    let reference = reference.canonical();
    let platform = platform.map(Platform::to_string).unwrap_or_default();
    let (data, run) = (store.data().as_os_str(), store.run().as_os_str());
    let args: [&OsStr; 6] =
        [OsStr::new("hull"), OsStr::new("lazy"), data, run, reference.as_ref(), platform.as_ref()];
    sys::spawn::spawn_forgotten(&sys::spawn::Spawn {
        program: Path::new("/proc/self/exe"),
        args: &args,
        fds: &[(theirs_fd.as_fd(), ANSWER_FD)],
        new_session: true,
    })?;
    drop(theirs_fd);
    let mut text = String::new();
    answer.read_to_string(&mut text)?;
    Ok(text)
}

/// The end of the pipe on which the service answers; given once.
pub(crate) fn answer_pipe() -> io::Result<File> {
    sys::spawn::claim_inherited(ANSWER_FD).map(File::from)
}

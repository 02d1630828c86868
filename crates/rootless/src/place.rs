//! The directory that says where the home is: private to its user, or whoever can write there could name another home.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::HomeError;

/// Opens the directory `path`, making it when it is missing.
pub fn open(path: &Path) -> Result<OwnedFd, HomeError> {
    let failed = |action| move |source| HomeError::Place { action, path: path.to_owned(), source };
    for path in path.parent().into_iter().chain([path]) {
        make_private(path).map_err(failed("make"))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let own = metadata.uid() == sys::user::effective_uid() && metadata.mode() & 0o022 == 0;
        if !metadata.is_dir() || !own {
            return Err(HomeError::Shared { path: path.to_owned() });
        }
    }
    sys::fs::open_dir(path).map_err(failed("open"))
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

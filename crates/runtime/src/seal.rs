//! Keeps hull's own program out of reach of containers.
//!
//! CVE-2019-5736: a process that is about to become a container's program still is hull. An image can make it execute
//! `/proc/self/exe`, and another process of the container could then open that file for writing once nothing runs it any
//! more. So hull clones into containers only while its program comes from a mount that is read-only and attached nowhere:
//! through it the file cannot be opened for writing, by anybody.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use sys::fs::OFlags;
use sys::mount::{Attributes, Change, Depth, Tree};
use sys::process::Vectors;

use crate::LaunchError;

const EXE: &str = "/proc/self/exe";

/// Opens this program on a sealed mount; execute the descriptor, or `/proc/self/fd/<number>`, to be sealed.
pub fn program() -> io::Result<OwnedFd> {
    let own = sys::fs::open(EXE, OFlags::PATH, 0)?;
    if sys::mount::is_read_only(&own)? {
        // A mount that is attached nowhere cannot be copied before Linux 6.15, and need not be.
        return Ok(own);
    }
    let tree = Tree::copy(EXE, Depth::One)?;
    tree.change(Change::set(Attributes::READ_ONLY), Depth::One)?;
    Ok(tree.into_fd())
}

/// Whether this process may clone into containers.
pub fn is_sealed() -> io::Result<bool> {
    sys::mount::is_read_only(sys::fs::open(EXE, OFlags::PATH, 0)?)
}

/// Executes this program again, sealed, with the same arguments and environment, unless it is sealed already.
///
/// Call it first of all: what the process has done until then is done again.
pub fn ensure() -> io::Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    let args: Vec<Vec<u8>> = std::env::args_os().map(|arg| arg.as_bytes().to_vec()).collect();
    let env: Vec<Vec<u8>> =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect();
    Err(sys::process::exec_fd(program()?, &Vectors::new(&args, &env)?))
}

pub(crate) fn check(id: &str) -> Result<(), LaunchError> {
    match is_sealed() {
        Ok(true) => Ok(()),
        Ok(false) => Err(LaunchError::Unsealed { id: id.to_owned() }),
        Err(source) => Err(LaunchError::Clone { id: id.to_owned(), source }),
    }
}

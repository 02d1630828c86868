//! Extended attributes of open files, and of names in a directory without following links.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;

use rustix::fs as raw;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{Arg, fd_path};

/// Names of the attributes of `fd`; empty where the filesystem has none.
pub fn list_xattrs(fd: impl AsFd) -> io::Result<Vec<CString>> {
    let fd = fd.as_fd();
    list(|buffer| raw::flistxattr(fd, buffer))
}

/// Names of the attributes of `name` in `dir`, of the link itself when it is one.
pub fn list_xattrs_at(dir: impl AsFd, name: impl Arg) -> io::Result<Vec<CString>> {
    let path = path_at(dir, name)?;
    list(|buffer| raw::llistxattr(&*path, buffer))
}

/// The value of one attribute, `None` when it is not set.
pub fn get_xattr(fd: impl AsFd, attribute: &CStr) -> io::Result<Option<Vec<u8>>> {
    let fd = fd.as_fd();
    get(|buffer| raw::fgetxattr(fd, attribute, buffer))
}

pub fn get_xattr_at(dir: impl AsFd, name: impl Arg, attribute: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = path_at(dir, name)?;
    get(|buffer| raw::lgetxattr(&*path, attribute, buffer))
}

pub fn set_xattr(fd: impl AsFd, attribute: &CStr, value: &[u8]) -> io::Result<()> {
    Ok(raw::fsetxattr(fd, attribute, value, XattrFlags::empty())?)
}

pub fn set_xattr_at(dir: impl AsFd, name: impl Arg, attribute: &CStr, value: &[u8]) -> io::Result<()> {
    Ok(raw::lsetxattr(&*path_at(dir, name)?, attribute, value, XattrFlags::empty())?)
}

// The xattr calls have no *at form; the directory is named through procfs, whose link leads to exactly that directory.
fn path_at(dir: impl AsFd, name: impl Arg) -> io::Result<CString> {
    let mut path = fd_path(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.into_c_str()?.to_bytes());
    Ok(CString::new(path)?)
}

fn list(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<CString>> {
    // Nearly every file has no attribute at all; one call on a small buffer says so.
    let mut small = [0; 256];
    let names = match call(&mut small) {
        Ok(n) => small[..n].to_vec(),
        Err(Errno::OPNOTSUPP) => Vec::new(),
        Err(Errno::RANGE) => {
            let mut big = vec![0; 1 << 16];
            let n = call(&mut big)?;
            big.truncate(n);
            big
        }
        Err(e) => return Err(e.into()),
    };
    Ok(names.split(|&b| b == 0).filter(|n| !n.is_empty()).filter_map(|n| CString::new(n).ok()).collect())
}

fn get(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    let mut small = [0; 512];
    match call(&mut small) {
        Ok(n) => Ok(Some(small[..n].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => {
            let mut big = vec![0; 1 << 16];
            let n = call(&mut big)?;
            big.truncate(n);
            Ok(Some(big))
        }
        Err(e) => Err(e.into()),
    }
}

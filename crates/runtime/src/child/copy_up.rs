//! What a tmpfs with `tmpcopyup` starts with: a copy of what it covers.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use sys::fs::{FileType, Node, OFlags, Stat};

/// Copies the directory `from` into the directory `to`, with owners, modes, times and extended attributes.
///
/// `from` is the image's: nothing in it is followed, and nothing but regular files is opened.
pub fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for (name, kind) in sys::fs::read_dir(from)? {
        let name = name.as_c_str();
        let stat = sys::fs::stat_at(from, name)?;
        match kind {
            FileType::Directory => {
                sys::fs::mkdir_at(to, name, 0o700)?;
                let (inner, copy) = (sys::fs::open_dir_at(from, name)?, sys::fs::open_dir_at(to, name)?);
                copy_directory(inner.as_fd(), copy.as_fd())?;
                copy_attributes(inner.as_fd(), copy.as_fd(), &stat)?;
            }
            FileType::RegularFile => copy_file(from, to, name, &stat)?,
            FileType::Symlink => {
                sys::fs::symlink_at(sys::fs::read_link_at(from, name)?, to, name)?;
                sys::fs::chown_at(to, name, stat.st_uid, stat.st_gid)?;
                sys::fs::set_times_at(to, name, accessed(&stat), modified(&stat))?;
            }
            other => copy_node(to, name, other, &stat)?,
        }
    }
    Ok(())
}

/// Gives `to` the owner, mode, times and extended attributes of `from`.
pub fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    sys::fs::chown(to, stat.st_uid, stat.st_gid)?;
    for attribute in sys::fs::list_xattrs(from)? {
        // A label says what the file is where it is; the copy has that of its file system.
        if attribute.as_c_str() != c"security.selinux"
            && let Some(value) = sys::fs::get_xattr(from, &attribute)?
        {
            sys::fs::set_xattr(to, &attribute, &value)?;
        }
    }
    // After the owner, whose change takes the set-id bits away.
    sys::fs::chmod(to, stat.st_mode & 0o7777)?;
    sys::fs::set_times(to, accessed(stat), modified(stat))
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let source = File::from(sys::fs::open_at(from, name, OFlags::RDONLY | OFlags::NONBLOCK, 0)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let copy = File::from(sys::fs::open_at(to, name, flags, 0o600)?);
    sys::fs::copy_contents(&source, &copy)?;
    copy_attributes(source.as_fd(), copy.as_fd(), stat)
}

fn copy_node(to: BorrowedFd<'_>, name: &CStr, kind: FileType, stat: &Stat) -> io::Result<()> {
    let (major, minor) = sys::fs::device_numbers(stat.st_rdev);
    let node = match kind {
        FileType::CharacterDevice => Node::Character { major, minor },
        FileType::BlockDevice => Node::Block { major, minor },
        FileType::Fifo => Node::Fifo,
        FileType::Socket => Node::Socket,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    sys::fs::mknod_at(to, name, node, 0o600)?;
    sys::fs::chown_at(to, name, stat.st_uid, stat.st_gid)?;
    sys::fs::chmod_at(to, name, stat.st_mode & 0o7777)?;
    sys::fs::set_times_at(to, name, accessed(stat), modified(stat))
}

fn accessed(stat: &Stat) -> (i64, u32) {
    (stat.st_atime, stat.st_atime_nsec as u32)
}

fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, stat.st_mtime_nsec as u32)
}

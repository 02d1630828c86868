//! Copying file contents inside the kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, seek};
use rustix::io::Errno;

/// Copies what is left of `from` to `to`'s position and returns the number of bytes; shares extents where the filesystem can.
pub fn copy_contents(from: &File, to: &File) -> io::Result<u64> {
    let mut total = 0;
    loop {
        match copy_file_range(from, None, to, None, 1 << 30) {
            Ok(0) if total > 0 => return Ok(total),
            // Files of procfs and the like have no length; copy_file_range finds nothing in them where read(2) does.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return io::copy(&mut &*from, &mut &*to).map(|n| total + n);
            }
            Ok(n) => total += n as u64,
            Err(e) => return Err(e.into()),
        }
    }
}

/// Copies the whole of `from`, `length` bytes long, into the empty file `to`, leaving holes where `from` has them.
pub fn copy_hole_aware(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut position = 0;
    while position < length {
        let data = match seek(from, SeekFrom::Data(position)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(_) => return copy_all(from, to, length),
        };
        let hole = seek(from, SeekFrom::Hole(data))?;
        let (mut source, mut target) = (data, data);
        while source < hole {
            let length_left = (hole - source) as usize;
            match copy_file_range(from, Some(&mut source), to, Some(&mut target), length_left) {
                Ok(0) => break,
                Ok(_) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return copy_all(from, to, length);
                }
                Err(e) => return Err(e.into()),
            }
        }
        position = hole;
    }
    Ok(ftruncate(to.as_fd(), length)?)
}

fn copy_all(from: &File, to: &File, length: u64) -> io::Result<()> {
    seek(from, SeekFrom::Start(0))?;
    seek(to, SeekFrom::Start(0))?;
    io::copy(&mut &*from, &mut &*to)?;
    Ok(ftruncate(to.as_fd(), length)?)
}

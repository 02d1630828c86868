//! ADD of a local archive: tar, plain or compressed, recognised by its content.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use image::archive::{self, Entry, Kind, Reader};
use sys::fs::Node;

use super::{Placement, explain, reserved};
use crate::error::StepError;
use crate::layer::{Attributes, Writer};
use crate::select::is_reserved;
use crate::stop::Stop;

/// The tar stream in `file`; `None` when it holds something else.
///
/// # Errors
/// What cannot be read. A compressed file that does not decompress to an archive is no archive, and no error.
pub fn open(mut file: File) -> io::Result<Option<Box<dyn BufRead + Send>>> {
    let probe = archive::decode(file.try_clone()?);
    // A first block that is a header has a checksum that is right; nothing else does by accident.
    let is_tar = probe.is_ok_and(|(_, stream)| matches!(Reader::new(stream).next_entry(), Ok(Some(_))));
    if !is_tar {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    archive::decode(file).map(|(_, stream)| Some(stream))
}

/// Unpacks `archive` below `base`; every path is resolved in the image, whose links it may not leave.
///
/// # Errors
/// A damaged archive, a name that cannot be in a layer, what cannot be written.
pub fn extract(
    writer: &mut Writer,
    archive: impl BufRead,
    base: &Path,
    placement: &Placement,
    stop: &Stop,
) -> Result<(), StepError> {
    let damaged = |error| StepError::Io {
        what: "unpack into",
        path: placement.destination.clone(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    };
    writer.ensure_dir(base, &placement.created_dir()).map_err(explain(base))?;
    let mut archive = Reader::new(archive);
    while let Some(entry) = archive.next_entry().map_err(damaged)? {
        if stop.is_set() {
            return Err(StepError::Cancelled);
        }
        let name = clean(&entry.path);
        let (Some(parent), Some(last)) = (name.parent(), name.file_name()) else { continue };
        if is_reserved(last) {
            return Err(reserved(&name));
        }
        // CVE-2018-15664 and its kind: links inside the image are followed inside the image.
        let parent = writer.resolve(&base.join(parent)).map_err(explain(&name))?.path;
        let target = parent.join(last);
        unpack(writer, &mut archive, &entry, &target, base, placement).map_err(|error| match error {
            Unpack::Write(error) => explain(&target)(error),
            Unpack::Refused(error) => error,
        })?;
    }
    Ok(())
}

enum Unpack {
    Write(io::Error),
    Refused(StepError),
}

impl From<io::Error> for Unpack {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn unpack(
    writer: &mut Writer,
    archive: &mut Reader<impl BufRead>,
    entry: &Entry,
    target: &Path,
    base: &Path,
    placement: &Placement,
) -> Result<(), Unpack> {
    let attributes = attributes(entry, placement);
    let existing = writer.view().resolve(target, crate::tree::Last::Keep)?.entry;
    let both_dirs =
        entry.kind == Kind::Directory && existing.as_ref().is_some_and(crate::tree::Entry::is_dir);
    if existing.is_some() && !both_dirs {
        writer.replace(target)?;
    }
    let (major, minor) = entry.device;
    match entry.kind {
        Kind::Directory => writer.put_dir(target, &attributes)?,
        Kind::Regular => {
            writer.put_file(target, &attributes, |out| Ok(archive.write_data(entry, out)?))?;
        }
        Kind::Symlink => writer.put_link(target, Path::new(OsStr::from_bytes(&entry.link)), &attributes)?,
        Kind::HardLink => {
            let existing = writer.view().resolve(&base.join(clean(&entry.link)), crate::tree::Last::Keep)?;
            writer.put_hard_link(target, &existing.path)?;
        }
        Kind::Fifo => writer.put_node(target, Node::Fifo, &attributes)?,
        Kind::Block => writer.put_node(target, Node::Block { major, minor }, &attributes)?,
        // Overlayfs would take it for a whiteout.
        Kind::Character if entry.device == (0, 0) => return Err(Unpack::Refused(reserved(target))),
        Kind::Character => writer.put_node(target, Node::Character { major, minor }, &attributes)?,
    }
    Ok(())
}

fn attributes(entry: &Entry, placement: &Placement) -> Attributes {
    let (uid, gid) = placement.owner.unwrap_or((entry.uid, entry.gid));
    let xattrs = entry.xattrs.iter().filter(|(name, _)| archive::xattr_travels(name));
    Attributes {
        uid,
        gid,
        mode: placement.mode_of(entry.mode, entry.kind == Kind::Directory),
        modified: Some(entry.mtime),
        xattrs: xattrs
            .filter_map(|(name, value)| Some((CString::new(&name[..]).ok()?, value.clone())))
            .collect(),
    }
}

/// The names of an archive's path, without what leads out of it.
fn clean(path: &[u8]) -> PathBuf {
    let mut out = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

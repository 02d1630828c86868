//! ADD of a local archive: tar, plain or compressed, recognised by its content.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use sys::fs::Node;
use tar::EntryType;

use super::{Placement, explain, reserved};
use crate::error::StepError;
use crate::layer::{Attributes, Writer};
use crate::select::is_reserved;
use crate::stop::Stop;
use crate::tree::display;

const BLOCK: usize = 512;

/// The tar stream in `file`; `None` when it holds something else.
///
/// # Errors
/// What cannot be read. A compressed file that does not decompress to an archive is no archive, and no error.
pub fn open(mut file: File) -> io::Result<Option<Box<dyn Read + Send>>> {
    let mut magic = [0; 6];
    let length = read_up_to(&mut file, &mut magic)?;
    let reader = |kind: Compression| -> io::Result<Box<dyn Read + Send>> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        decompress(file, kind)
    };
    let kind = Compression::of(&magic[..length]);
    let mut header = [0; BLOCK];
    let mut probe = reader(kind)?;
    let is_tar = read_up_to(&mut probe, &mut header).is_ok_and(|n| n == BLOCK) && is_header(&header);
    drop(probe);
    if is_tar { reader(kind).map(Some) } else { Ok(None) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The decompressed bytes of `stream`, whatever it is compressed with.
///
/// # Errors
/// What cannot be read.
pub fn decode(mut stream: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 6];
    let length = read_up_to(&mut stream, &mut magic)?;
    let kind = Compression::of(&magic[..length]);
    decompress(io::Cursor::new(magic).take(length as u64).chain(stream), kind)
}

fn decompress(stream: impl Read + Send + 'static, kind: Compression) -> io::Result<Box<dyn Read + Send>> {
    let buffered = BufReader::with_capacity(1 << 16, stream);
    Ok(match kind {
        Compression::None => Box::new(buffered),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?),
    })
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

/// A first block of an archive has a checksum that is right; nothing else does by accident.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let stored = tar::Header::from_byte_slice(block).cksum().ok();
    let sum = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    stored == Some(sum) && block[0] != 0
}

/// Unpacks `archive` below `base`; every path is resolved in the image, whose links it may not leave.
///
/// # Errors
/// A damaged archive, a name that cannot be in a layer, what cannot be written.
pub fn extract(
    writer: &mut Writer,
    archive: Box<dyn Read + Send>,
    base: &Path,
    placement: &Placement,
    stop: &Stop,
) -> Result<(), StepError> {
    let damaged =
        |error| StepError::Io { what: "unpack into", path: placement.destination.clone(), source: error };
    writer.ensure_dir(base, &placement.created_dir()).map_err(explain(base))?;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(damaged)? {
        if stop.is_set() {
            return Err(StepError::Cancelled);
        }
        let mut entry = entry.map_err(damaged)?;
        let name = clean(&entry.path().map_err(damaged)?);
        let (Some(parent), Some(last)) = (name.parent(), name.file_name()) else { continue };
        if is_reserved(last) {
            return Err(reserved(&name));
        }
        // CVE-2018-15664 and its kind: links inside the image are followed inside the image.
        let parent = writer.resolve(&base.join(parent)).map_err(explain(&name))?.path;
        let target = parent.join(last);
        unpack(writer, &mut entry, &target, base, placement).map_err(|error| match error {
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
    entry: &mut tar::Entry<'_, impl Read>,
    target: &Path,
    base: &Path,
    placement: &Placement,
) -> Result<(), Unpack> {
    let attributes = attributes(entry, placement)?;
    let kind = entry.header().entry_type();
    let existing = writer.view().resolve(target, crate::tree::Last::Keep)?.entry;
    let both_dirs = kind == EntryType::Directory && existing.as_ref().is_some_and(crate::tree::Entry::is_dir);
    if existing.is_some() && !both_dirs {
        writer.replace(target)?;
    }
    match kind {
        EntryType::Directory => writer.put_dir(target, &attributes)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            writer.put_file(target, &attributes, |out| io::copy(entry, out).map(drop))?;
        }
        EntryType::Symlink => {
            let link = link_name(entry)?;
            writer.put_link(target, &link, &attributes)?;
        }
        EntryType::Link => {
            let link = clean(&link_name(entry)?);
            let existing = writer.view().resolve(&base.join(link), crate::tree::Last::Keep)?;
            writer.put_hard_link(target, &existing.path)?;
        }
        EntryType::Fifo => writer.put_node(target, Node::Fifo, &attributes)?,
        EntryType::Char | EntryType::Block => {
            let header = entry.header();
            let major = header.device_major()?.unwrap_or(0);
            let minor = header.device_minor()?.unwrap_or(0);
            let node = match kind {
                EntryType::Block => Node::Block { major, minor },
                _ if (major, minor) == (0, 0) => return Err(Unpack::Refused(reserved(target))),
                _ => Node::Character { major, minor },
            };
            writer.put_node(target, node, &attributes)?;
        }
        EntryType::XGlobalHeader => {}
        other => {
            let what = format!("archive entry {} of type {other:?}", display(target));
            return Err(Unpack::Refused(StepError::Unsupported(what)));
        }
    }
    Ok(())
}

fn link_name(entry: &tar::Entry<'_, impl Read>) -> io::Result<PathBuf> {
    match entry.link_name()? {
        Some(name) => Ok(name.into_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a link without a target")),
    }
}

fn attributes(entry: &tar::Entry<'_, impl Read>, placement: &Placement) -> io::Result<Attributes> {
    let header = entry.header();
    let id = |value: u64| u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    let (uid, gid) = match placement.owner {
        Some(owner) => owner,
        None => (id(header.uid()?)?, id(header.gid()?)?),
    };
    let modified = i64::try_from(header.mtime()?).unwrap_or(0);
    Ok(Attributes {
        uid,
        gid,
        mode: placement.mode.unwrap_or(header.mode()? & 0o7777),
        modified: Some((modified, 0)),
        xattrs: Vec::new(),
    })
}

/// The names of an archive's path, without what leads out of it.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
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

//! The files of an image archive.

use std::collections::HashMap;
use std::io::{BufRead, Cursor, Read};

use oci::{DiffId, Digest};

use super::LoadError;
use crate::archive::{Compression, Kind, Reader};
use crate::documents::MAX_DOCUMENT;
use crate::receive::{Arrived, receive};
use crate::{Images, Layer, LayerError};

const MAX_DOCUMENTS: u64 = 64 << 20;

/// What an archive contains, by clean path.
pub struct Contents<'a> {
    images: Images<'a>,
    documents: HashMap<String, Vec<u8>>,
    layers: HashMap<String, Result<Found, LayerError>>,
    /// Older archives have links where two images share a layer.
    links: HashMap<String, String>,
}

/// A layer of the archive.
pub enum Found {
    Arrived(Box<Arrived>),
    /// The store has it already; the archive's copy was passed over.
    Known(Layer),
}

impl Found {
    pub fn diff_id(&self) -> DiffId {
        match self {
            Self::Arrived(arrived) => arrived.diff_id,
            Self::Known(layer) => layer.diff_id,
        }
    }

    pub fn blob(&self) -> Digest {
        match self {
            Self::Arrived(arrived) => arrived.blob(),
            Self::Known(layer) => layer.blob,
        }
    }
}

impl<'a> Contents<'a> {
    pub fn read(images: Images<'a>, input: impl BufRead + Send) -> Result<Self, LoadError> {
        let mut contents =
            Self { images, documents: HashMap::new(), layers: HashMap::new(), links: HashMap::new() };
        let mut archive = Reader::new(input);
        let mut total = 0;
        while let Some(entry) = archive.next_entry()? {
            let path = clean("", &String::from_utf8_lossy(&entry.path));
            match entry.kind {
                Kind::Regular => total += contents.file(path, entry.size, &mut archive)?,
                Kind::Symlink => {
                    let target = clean(&path, &String::from_utf8_lossy(&entry.link));
                    contents.links.insert(path, target);
                }
                Kind::HardLink => {
                    let target = clean("", &String::from_utf8_lossy(&entry.link));
                    contents.links.insert(path, target);
                }
                _ => {}
            }
            if total > MAX_DOCUMENTS {
                return Err(LoadError::TooLarge {
                    what: "set of documents".to_owned(),
                    limit: MAX_DOCUMENTS,
                });
            }
        }
        archive.drain()?;
        Ok(contents)
    }

    /// Takes in one file; returns how much memory it takes.
    fn file<R: BufRead + Send>(
        &mut self,
        path: String,
        size: u64,
        archive: &mut Reader<R>,
    ) -> Result<u64, LoadError> {
        if let Some(known) = self.known_layer(&path)? {
            self.layers.insert(path, Ok(Found::Known(known)));
            return Ok(0);
        }
        let mut data = EntryData(archive);
        let mut start = Vec::with_capacity(512);
        data.by_ref().take(512).read_to_end(&mut start).map_err(LoadError::Read)?;
        if is_layer(&start) {
            let mut stream = Cursor::new(start).chain(data);
            let layer = receive(self.images.store, &mut stream).map(Box::new).map(Found::Arrived);
            // Something compressed that is no layer may lie in a layout, as long as no image needs it; but a full disk
            // is one for everybody.
            if let Err(LayerError::Store(e)) = layer {
                return Err(e.into());
            }
            self.layers.insert(path, layer);
            return Ok(0);
        }
        if size > MAX_DOCUMENT {
            // Whatever this is, no image can need it.
            return Ok(0);
        }
        data.read_to_end(&mut start).map_err(LoadError::Read)?;
        self.documents.insert(path, start);
        Ok(size)
    }

    fn known_layer(&self, path: &str) -> Result<Option<Layer>, LoadError> {
        let Some(digest) = blob_name(path) else { return Ok(None) };
        Ok(self.images.layer_of_blob(&digest)?)
    }

    pub fn has(&self, path: &str) -> bool {
        self.documents.contains_key(self.target(path))
    }

    /// Whether there is a layer, readable or not.
    pub fn has_layer(&self, path: &str) -> bool {
        self.layers.contains_key(self.target(path))
    }

    /// A small file; a blob of a layout is verified against its name.
    pub fn document(&self, path: &str) -> Result<&[u8], LoadError> {
        let path = self.target(path);
        let bytes = self.documents.get(path).ok_or_else(|| LoadError::Missing(path.to_owned()))?;
        check_name(path, Digest::of(bytes))?;
        Ok(bytes)
    }

    /// A layer that arrived well; see [`Contents::take_error`].
    pub fn layer(&self, path: &str) -> Result<&Found, LoadError> {
        let path = self.target(path);
        match self.layers.get(path) {
            Some(Ok(found)) => Ok(found),
            _ => Err(LoadError::Missing(path.to_owned())),
        }
    }

    /// Fails with why a layer could not be read, if it could not.
    pub fn take_error(&mut self, path: &str) -> Result<(), LoadError> {
        let path = self.target(path).to_owned();
        match self.layers.get(&path) {
            Some(Err(_)) => self.keep(&path).map(drop),
            _ => Ok(()),
        }
    }

    /// Gives a layer its names in the store; again for an image that shares it.
    pub fn keep(&mut self, path: &str) -> Result<Layer, LoadError> {
        let path = self.target(path).to_owned();
        let layer = match self.layers.remove(&path) {
            Some(Ok(Found::Known(layer))) => layer,
            Some(Ok(Found::Arrived(arrived))) => self
                .images
                .keep(*arrived)
                .map_err(|e| LoadError::Layer { path: path.clone(), source: Box::new(e) })?,
            Some(Err(source)) => return Err(LoadError::Layer { path, source: Box::new(source) }),
            None => return Err(LoadError::Missing(path)),
        };
        self.layers.insert(path, Ok(Found::Known(layer.clone())));
        Ok(layer)
    }

    fn target<'p>(&'p self, path: &'p str) -> &'p str {
        let mut path = path;
        // A link to a link to ... itself ends here, at a file that does not exist.
        for _ in 0..8 {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        path
    }
}

/// Refuses a file of `blobs/` that is not what its name says.
pub fn check_name(path: &str, found: Digest) -> Result<(), LoadError> {
    match blob_name(path) {
        Some(named) if named != found => Err(LoadError::Mismatch { path: path.to_owned(), found }),
        _ => Ok(()),
    }
}

/// The digest that a path in an OCI layout stands for.
fn blob_name(path: &str) -> Option<Digest> {
    Digest::from_hex(path.strip_prefix("blobs/sha256/")?).ok()
}

/// Whether a file begins like a layer: compressed, or a tar header, or the end of an empty archive.
fn is_layer(start: &[u8]) -> bool {
    Compression::of(start) != Compression::None
        || start.get(257..262) == Some(b"ustar")
        || (start.len() == 512 && start.iter().all(|&b| b == 0))
        // Tar before 1988 had no magic number, but the same checksum.
        || Reader::new(start).next_entry().is_ok_and(|entry| entry.is_some())
}

/// A path relative to the directory of `base`, without `.` and `..`.
fn clean(base: &str, path: &str) -> String {
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The data of a reader's current entry.
struct EntryData<'r, R>(&'r mut Reader<R>);

impl<R: BufRead> Read for EntryData<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let data = self.0.data().map_err(std::io::Error::other)?;
        let length = data.len().min(buffer.len());
        buffer[..length].copy_from_slice(&data[..length]);
        self.0.consume(length);
        Ok(length)
    }
}

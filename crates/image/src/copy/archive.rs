//! Image archives in files, read wherever a blob is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::image::{Descriptor, Manifest};
use oci::{Digest, Hasher, Reference, media};
use sys::fs::OFlags;

use super::layout::{checked, select};
use super::{CopyError, Source};
use crate::archive::{Compression, Kind, Reader, decode};
use crate::documents::{DockerImage, MAX_DOCUMENT, Part};

/// An OCI archive or a docker-archive, and the image of it that is meant.
pub struct ArchiveFile {
    file: Arc<File>,
    path: PathBuf,
    entries: HashMap<String, Range>,
    root: Part,
    /// Blobs of a docker-archive, whose names say nothing.
    unnamed: HashMap<Digest, Range>,
}

/// Where a file's bytes are in the archive.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    size: u64,
}

impl ArchiveFile {
    /// The image `name` of the archive at `path`, or its only one.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Self, CopyError> {
        let failed = |source| CopyError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut start = [0; 6];
        let is_plain = file.metadata().map_err(failed)?.is_file()
            && file.read_exact_at(&mut start, 0).is_ok()
            && Compression::of(&start) == Compression::None;
        if is_plain {
            return Self::read(file, path, name);
        }
        let (_, mut stream) = decode(file).map_err(failed)?;
        Self::read(spooled(&mut stream)?, path, name)
    }

    /// As [`ArchiveFile::open`], of an open file that is shown as `path`.
    pub fn read(file: File, path: &Path, name: Option<&str>) -> Result<Self, CopyError> {
        let entries = entries(&file, path)?;
        let placeholder = Part { descriptor: Descriptor::new("", Digest::of(b""), 0), bytes: Vec::new() };
        let path = path.to_owned();
        let mut archive =
            Self { file: Arc::new(file), path, entries, root: placeholder, unnamed: HashMap::new() };
        if archive.entries.contains_key("index.json") {
            let root = select(&archive.path, &archive.small("index.json")?, name)?;
            archive.root = archive.document(&root)?;
        } else if archive.entries.contains_key("manifest.json") {
            archive.docker(name)?;
        } else {
            return Err(CopyError::Empty { path: archive.path });
        }
        Ok(archive)
    }

    fn range(&self, path: &str) -> Result<Range, CopyError> {
        let missing = || CopyError::Missing { path: self.path.clone(), what: path.to_owned() };
        self.entries.get(path).copied().ok_or_else(missing)
    }

    fn small(&self, path: &str) -> Result<Vec<u8>, CopyError> {
        let range = self.range(path)?;
        if range.size > MAX_DOCUMENT {
            let what = format!("{path} of at most {MAX_DOCUMENT} bytes");
            return Err(CopyError::Missing { path: self.path.clone(), what });
        }
        let mut bytes = Vec::new();
        self.section(range).read_to_end(&mut bytes).map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    fn section(&self, range: Range) -> Section {
        Section { file: self.file.clone(), range }
    }

    fn failed(&self, source: io::Error) -> CopyError {
        CopyError::Read { path: self.path.clone(), source }
    }

    /// Makes a manifest of what a docker-archive has none for.
    fn docker(&mut self, name: Option<&str>) -> Result<(), CopyError> {
        let bytes = self.small("manifest.json")?;
        let images: Vec<DockerImage> = serde_json::from_slice(&bytes).map_err(|source| {
            CopyError::Syntax { path: self.path.clone(), file: "manifest.json".to_owned(), source }
        })?;
        let image = self.choose(&images, name)?;
        let config = self.unnamed(&image.config)?;
        let config = Descriptor { media_type: media::OCI_CONFIG.to_owned(), ..config };
        let layers =
            image.layers.iter().flatten().map(|layer| self.unnamed(layer)).collect::<Result<_, _>>()?;
        let bytes = serde_json::to_vec(&Manifest::new(config, layers)).map_err(CopyError::Serialize)?;
        let descriptor = Descriptor::new(media::OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        self.root = Part { descriptor, bytes };
        Ok(())
    }

    fn choose<'i>(
        &self,
        images: &'i [DockerImage],
        name: Option<&str>,
    ) -> Result<&'i DockerImage, CopyError> {
        let path = self.path.clone();
        let Some(name) = name else {
            return match images {
                [one] => Ok(one),
                [] => Err(CopyError::Empty { path }),
                several => Err(CopyError::Several { path, count: several.len() }),
            };
        };
        let wanted = Reference::parse(name).ok();
        let is_wanted = |tag: &String| wanted.is_some() && Reference::parse(tag).ok() == wanted;
        let found = images.iter().find(|image| image.repo_tags.iter().flatten().any(is_wanted));
        found.ok_or_else(|| CopyError::NoSuchName { path, name: name.to_owned() })
    }

    /// Finds out the digest of a file.
    fn unnamed(&mut self, path: &str) -> Result<Descriptor, CopyError> {
        let range = self.range(path)?;
        let mut hasher = Hasher::new();
        io::copy(&mut self.section(range), &mut hasher).map_err(|source| self.failed(source))?;
        let mut start = [0; 6];
        let length = self.section(range).read(&mut start).map_err(|source| self.failed(source))?;
        let media_type = Compression::of(&start[..length]).layer_media_type();
        let digest = hasher.finish();
        self.unnamed.insert(digest, range);
        Ok(Descriptor::new(media_type.unwrap_or(media::OCI_LAYER), digest, range.size))
    }
}

/// Where the files of an archive are.
fn entries(file: &File, path: &Path) -> Result<HashMap<String, Range>, CopyError> {
    let failed = |source| CopyError::Archive { path: path.to_owned(), source };
    let section = Section {
        file: Arc::new(file.try_clone().map_err(|source| CopyError::Read { path: path.to_owned(), source })?),
        range: Range { offset: 0, size: u64::MAX },
    };
    let input = Counted { input: BufReader::with_capacity(256 << 10, section), position: 0 };
    let mut reader = Reader::new(input);
    let (mut entries, mut links) = (HashMap::new(), Vec::new());
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        let name = String::from_utf8_lossy(&entry.path).trim_start_matches("./").to_owned();
        match entry.kind {
            Kind::Regular if entry.sparse.is_none() => {
                let offset = reader.input_mut().position;
                entries.insert(name, Range { offset, size: entry.size });
            }
            Kind::Symlink => links.push((name, String::from_utf8_lossy(&entry.link).into_owned())),
            _ => {}
        }
    }
    // Older archives have links where two images share a layer.
    for (name, target) in links {
        let target = target.trim_start_matches("../");
        if let Some(&range) = entries.get(target) {
            entries.insert(name, range);
        }
    }
    Ok(entries)
}

impl Source for ArchiveFile {
    fn root(&self) -> Result<Part, CopyError> {
        Ok(self.root.clone())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Part, CopyError> {
        checked(descriptor, self.small(&format!("blobs/sha256/{}", descriptor.digest.hex()))?)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CopyError> {
        let range = match self.unnamed.get(&descriptor.digest) {
            Some(range) => *range,
            None => self.range(&format!("blobs/sha256/{}", descriptor.digest.hex()))?,
        };
        Ok(Box::new(self.section(range)))
    }
}

/// The bytes of a stream in a file without a name, because they are needed in another order.
pub fn spooled(stream: &mut dyn Read) -> Result<File, CopyError> {
    let directory = std::env::temp_dir();
    let failed = |source| CopyError::Write { path: directory.clone(), source };
    let file = sys::fs::open(&directory, OFlags::TMPFILE | OFlags::RDWR, 0o600).map_err(failed)?;
    let mut file = File::from(file);
    io::copy(stream, &mut file).map_err(failed)?;
    Ok(file)
}

/// A part of a file, which may be read by several at once.
struct Section {
    file: Arc<File>,
    range: Range,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.range.size).map_or(buffer.len(), |left| left.min(buffer.len()));
        let length = self.file.read_at(&mut buffer[..most], self.range.offset)?;
        self.range.offset += length as u64;
        self.range.size -= length as u64;
        Ok(length)
    }
}

/// Knows how far it has been read.
struct Counted<R> {
    input: R,
    position: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.position += length as u64;
        self.input.consume(length);
    }
}

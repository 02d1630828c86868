//! OCI layouts: a directory of blobs, and an index of what they make.
//!
//! Spec: OCI image-spec 1.1, `image-layout.md`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci::image::{Descriptor, Document, Index, parse_document};
use oci::{Digest, Reference, media};
use sys::fs::NewFile;

use super::{CopyError, Open, Sink, Source, Taken};
use crate::documents::Part;

pub const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub const FULL_NAME: &str = "io.containerd.image.name";

/// A layout directory and the image of it that is meant.
pub struct Layout {
    directory: PathBuf,
    name: Option<String>,
    /// `None` for a layout that is written to.
    root: Option<Descriptor>,
}

impl Layout {
    /// The image `name` of an existing layout, or its only one.
    pub fn open(directory: &Path, name: Option<&str>) -> Result<Self, CopyError> {
        let path = directory.join("index.json");
        let bytes = fs::read(&path).map_err(|source| CopyError::Read { path, source })?;
        let root = select(directory, &bytes, name)?;
        Ok(Self { directory: directory.to_owned(), name: None, root: Some(root) })
    }

    /// A layout to write to, which may have images already.
    pub fn create(directory: &Path, name: Option<&str>) -> Result<Self, CopyError> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|source| CopyError::Write { path: blobs, source })?;
        Ok(Self { directory: directory.to_owned(), name: name.map(str::to_owned), root: None })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// The index with the copied image under its name.
    fn index(&self, mut root: Descriptor) -> Result<Vec<u8>, CopyError> {
        let path = self.directory.join("index.json");
        let mut index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Index>(&bytes).map_err(|source| CopyError::Syntax {
                path: self.directory.clone(),
                file: "index.json".to_owned(),
                source,
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Index::new(Vec::new()),
            Err(source) => return Err(CopyError::Read { path, source }),
        };
        root.annotations = annotations(self.name.as_deref());
        match self.name.as_ref() {
            Some(name) => index.manifests.retain(|known| known.annotations.get(REF_NAME) != Some(name)),
            None => index.manifests.retain(|known| known.digest != root.digest),
        }
        index.manifests.push(root);
        serde_json::to_vec(&index).map_err(CopyError::Serialize)
    }
}

/// Writes a file that has its name once it is complete.
pub fn replace(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let output = NewFile::create(path)?;
    io::copy(content, &mut output.file())?;
    output.commit()
}

fn put(path: &Path, content: &mut impl Read) -> Result<(), CopyError> {
    replace(path, content).map_err(|source| CopyError::Write { path: path.to_owned(), source })
}

/// What an index says of an image called `name`.
pub fn annotations(name: Option<&str>) -> std::collections::BTreeMap<String, String> {
    let name = name.into_iter().map(|name| (REF_NAME.to_owned(), name.to_owned()));
    name.collect()
}

/// The image `name` of an index, or its only one.
pub fn select(path: &Path, index: &[u8], name: Option<&str>) -> Result<Descriptor, CopyError> {
    let syntax = |source| CopyError::Syntax { path: path.to_owned(), file: "index.json".to_owned(), source };
    let index: Index = match parse_document(index, media::OCI_INDEX) {
        Ok(Document::Index(index)) => index,
        Ok(Document::Manifest(_)) => return Err(CopyError::Empty { path: path.to_owned() }),
        Err(oci::image::DocumentError::Syntax(source)) => return Err(syntax(source)),
        Err(source) => return Err(CopyError::Document { digest: Digest::of(index), source }),
    };
    let mut found: Vec<&Descriptor> = match name {
        Some(name) => index.manifests.iter().filter(|entry| is_called(entry, name)).collect(),
        None => index.manifests.iter().collect(),
    };
    found.dedup_by_key(|entry| entry.digest);
    match (found.as_slice(), name) {
        ([one], _) => Ok(Descriptor::new(&*one.media_type, one.digest, one.size)),
        ([], Some(name)) => Err(CopyError::NoSuchName { path: path.to_owned(), name: name.to_owned() }),
        ([], None) => Err(CopyError::Empty { path: path.to_owned() }),
        (several, _) => Err(CopyError::Several { path: path.to_owned(), count: several.len() }),
    }
}

fn is_called(entry: &Descriptor, name: &str) -> bool {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    annotation(REF_NAME) == Some(name)
        || annotation(FULL_NAME).is_some_and(|full| {
            Reference::parse(full).ok().is_some_and(|full| Reference::parse(name).ok() == Some(full))
        })
}

impl Source for Layout {
    fn root(&self) -> Result<Part, CopyError> {
        let root = self.root.as_ref().ok_or_else(|| CopyError::Empty { path: self.directory.clone() })?;
        self.document(root)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Part, CopyError> {
        let path = self.path(&descriptor.digest);
        let bytes = fs::read(&path).map_err(|source| CopyError::Read { path, source })?;
        checked(descriptor, bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CopyError> {
        let path = self.path(&descriptor.digest);
        let file = File::open(&path).map_err(|source| CopyError::Read { path, source })?;
        Ok(Box::new(file))
    }
}

/// A document whose digest is that of its descriptor.
pub fn checked(descriptor: &Descriptor, bytes: Vec<u8>) -> Result<Part, CopyError> {
    match Digest::of(&bytes) {
        found if found == descriptor.digest => {
            let descriptor = Descriptor::new(&*descriptor.media_type, found, bytes.len() as u64);
            Ok(Part { descriptor, bytes })
        }
        found => Err(CopyError::Digest { what: "manifest", expected: descriptor.digest, found }),
    }
}

impl Sink for Layout {
    fn blob(
        &self,
        descriptor: &Descriptor,
        _: Option<&Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError> {
        let path = self.path(&descriptor.digest);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == descriptor.size) {
            return Ok(Taken::WasThere);
        }
        let mut stream = open().map_err(|source| CopyError::Write { path: path.clone(), source })?;
        put(&path, &mut stream)?;
        Ok(Taken::Copied)
    }

    fn finish(self: Box<Self>, documents: &[Part]) -> Result<(), CopyError> {
        for part in documents {
            put(&self.path(&part.descriptor.digest), &mut &part.bytes[..])?;
        }
        let root = &documents.last().expect("there is at least one").descriptor;
        let index = self.index(root.clone())?;
        put(&self.directory.join("oci-layout"), &mut &VERSION[..])?;
        put(&self.directory.join("index.json"), &mut &index[..])
    }
}

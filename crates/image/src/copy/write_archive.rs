//! Image archives that are written from front to back: into a file, or to somebody who reads along.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci::image::{Descriptor, Document, Index, Manifest, Platform};
use oci::{Digest, Reference};
use sys::fs::NewFile;

use super::layout::{FULL_NAME, VERSION, annotations};
use super::{CopyError, Open, Sink, Taken, parsed};
use crate::archive::{Entry, Writer};
use crate::documents::{Part, blob_path};

/// The kind of archive to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Oci,
    /// An OCI archive that older Dockers read, too.
    Docker,
}

/// An archive under way: its indexes and documents are written, and blobs follow.
pub struct ArchiveSink<W: Write + Send> {
    state: Mutex<State<W>>,
    path: PathBuf,
}

struct State<W: Write> {
    writer: Writer<io::BufWriter<W>>,
    written: HashSet<Digest>,
}

impl<W: Write + Send> ArchiveSink<W> {
    /// Begins an archive of `documents`, the last of which is called `name`.
    pub fn begin(
        output: W,
        shown: &Path,
        kind: Kind,
        name: Option<&str>,
        documents: &[Part],
    ) -> Result<Self, CopyError> {
        let heads = heads(kind, name, documents)?;
        let failed = |source| CopyError::Write { path: shown.to_owned(), source };
        let mut state = State {
            writer: Writer::new(io::BufWriter::with_capacity(256 << 10, output)),
            written: HashSet::new(),
        };
        state.begin(&heads, documents).map_err(failed)?;
        Ok(Self { state: Mutex::new(state), path: shown.to_owned() })
    }

    /// Ends the archive and gives the output back.
    pub fn end(self) -> Result<W, CopyError> {
        let failed = |source| CopyError::Write { path: self.path.clone(), source };
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let buffer = state.writer.finish().map_err(failed)?;
        buffer.into_inner().map_err(|e| failed(e.into_error()))
    }

    pub fn add(&self, descriptor: &Descriptor, open: Open<'_>) -> Result<Taken, CopyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.blob(descriptor, open) {
            Ok(taken) => Ok(taken),
            Err(source) => Err(CopyError::Write { path: self.path.clone(), source }),
        }
    }
}

impl<W: Write> State<W> {
    fn begin(&mut self, heads: &[(&str, Vec<u8>)], documents: &[Part]) -> io::Result<()> {
        for (name, bytes) in heads {
            self.writer.append_bytes(name, bytes)?;
        }
        for directory in ["blobs/", "blobs/sha256/"] {
            self.writer.append(&Entry::directory(directory), io::empty())?;
        }
        for part in documents.iter().rev() {
            if self.written.insert(part.descriptor.digest) {
                self.writer.append_bytes(&blob_path(&part.descriptor.digest), &part.bytes)?;
            }
        }
        Ok(())
    }

    fn blob(&mut self, descriptor: &Descriptor, open: Open<'_>) -> io::Result<Taken> {
        if !self.written.insert(descriptor.digest) {
            return Ok(Taken::WasThere);
        }
        let mut stream = open()?;
        self.writer.append(&Entry::file(&blob_path(&descriptor.digest), descriptor.size), &mut stream)?;
        // The end is where it is verified.
        match stream.read(&mut [0])? {
            0 => Ok(Taken::Copied),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The files that say what follows.
fn heads(
    kind: Kind,
    name: Option<&str>,
    documents: &[Part],
) -> Result<Vec<(&'static str, Vec<u8>)>, CopyError> {
    let root = documents.last().expect("there is at least one");
    let mut descriptor = root.descriptor.clone();
    descriptor.annotations = annotations(name);
    // A bare tag names nothing by itself.
    let full = name.filter(|name| name.contains([':', '/'])).and_then(|name| Reference::parse(name).ok());
    if let Some(full) = &full {
        descriptor.annotations.insert(FULL_NAME.to_owned(), full.canonical());
    }
    let index = serde_json::to_vec(&Index::new(vec![descriptor])).map_err(CopyError::Serialize)?;
    let mut heads = vec![("oci-layout", VERSION.to_vec()), ("index.json", index)];
    if kind == Kind::Docker
        && let Some(manifest) = for_docker(documents)?
    {
        let tags = full.as_ref().map(|full| vec![full.familiar()]);
        let layers: Vec<String> = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        let image = serde_json::json!([{
            "Config": blob_path(&manifest.config.digest), "RepoTags": tags, "Layers": layers,
        }]);
        heads.push(("manifest.json", serde_json::to_vec(&image).map_err(CopyError::Serialize)?));
        if let (Some(full), Some(top)) = (&full, manifest.layers.last())
            && let Some(tag) = full.tag()
        {
            let tags = BTreeMap::from([(tag, top.digest.hex())]);
            let repositories = BTreeMap::from([(full.repository(), tags)]);
            heads.push(("repositories", serde_json::to_vec(&repositories).map_err(CopyError::Serialize)?));
        }
    }
    Ok(heads)
}

/// The one image that a docker-archive can have of several: this host's, or the first.
fn for_docker(documents: &[Part]) -> Result<Option<Manifest>, CopyError> {
    let (mut manifests, mut platforms) = (Vec::new(), BTreeMap::new());
    for part in documents {
        match parsed(part)? {
            Document::Manifest(manifest) => manifests.push((part.descriptor.digest, *manifest)),
            Document::Index(index) => {
                let entries = index.manifests.into_iter();
                platforms.extend(entries.filter_map(|entry| Some((entry.digest, entry.platform?))));
            }
        }
    }
    let host = Platform::host();
    let rank = |digest: &Digest| platforms.get(digest).map_or(Some(0), |platform| host.rank(platform));
    let best = manifests.into_iter().min_by_key(|(digest, _)| rank(digest).unwrap_or(usize::MAX));
    Ok(best.map(|(_, manifest)| manifest))
}

/// An archive in a file, which has its name once it is complete.
pub struct FileSink {
    archive: ArchiveSink<File>,
    path: PathBuf,
    output: NewFile,
}

/// Begins an archive at `path`.
pub fn file(path: &Path, kind: Kind, name: Option<&str>, documents: &[Part]) -> Result<FileSink, CopyError> {
    let failed = |source| CopyError::Write { path: path.to_owned(), source };
    let output = NewFile::create(path).map_err(failed)?;
    let file = output.file().try_clone().map_err(failed)?;
    let archive = ArchiveSink::begin(file, path, kind, name, documents)?;
    Ok(FileSink { archive, path: path.to_owned(), output })
}

impl Sink for FileSink {
    fn blob(
        &self,
        descriptor: &Descriptor,
        _: Option<&Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError> {
        self.archive.add(descriptor, open)
    }

    fn finish(self: Box<Self>, _: &[Part]) -> Result<(), CopyError> {
        let Self { archive, path, output } = *self;
        archive.end()?;
        output.commit().map_err(|source| CopyError::Write { path, source })
    }
}

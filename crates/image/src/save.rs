//! Saving images as an archive.
//!
//! One archive serves everybody: an OCI layout that also has docker-archive's `manifest.json` and `repositories`, as
//! `docker save` itself writes it. Indexes come first, so that who streams knows what follows. A reference that stands for
//! several platforms is saved with all of them when all are here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use oci::image::{Descriptor, Document, Index, Manifest, Platform};
use oci::{Digest, Reference, media};
use serde::Serialize;
use store::db::manifests::ManifestRecord;
use store::{DatabaseError, StoreError, db};

use crate::archive::{Entry, Writer};
use crate::copy::layout::{FULL_NAME, REF_NAME, VERSION, replace};
use crate::documents::{DockerImage, Part, ReadError, blob_path, whole};
use crate::{Image, Images, ResolveError};

/// The kind of archive to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// What `docker load` of every version reads; also an OCI layout.
    #[default]
    DockerArchive,
    /// An OCI layout and nothing else.
    OciArchive,
}

/// How images are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SaveOptions {
    pub format: Format,
    /// The image for this platform alone.
    pub platform: Option<Platform>,
    /// What the images are called in the archive, if it is not what they are called here.
    pub called: Vec<Reference>,
}

/// Images were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Document(#[from] ReadError),
    #[error("{image} has no image for {platform} here")]
    Platform { image: String, platform: String },
    #[error("cannot write the archive")]
    Write(#[from] io::Error),
    #[error("cannot write {}", path.display())]
    Layout { path: PathBuf, source: io::Error },
    #[error("{} has a malformed index.json", path.display())]
    Index { path: PathBuf, source: serde_json::Error },
}

impl From<DatabaseError> for SaveError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for SaveError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(e) => e.class(),
            Self::Store(e) => e.class(),
            Self::Document(_) => Class::Internal,
            Self::Platform { .. } => Class::NotFound,
            Self::Write(e) | Self::Layout { source: e, .. } => Class::of_io(e),
            Self::Index { .. } => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(e) => e.hint(),
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }
}

/// What is saved, under some of its names.
struct Saved {
    /// Its documents, the one that the names stand for last.
    documents: Vec<Part>,
    /// What programs that know only one image per name get.
    manifest: Manifest,
    /// The blobs of all its images.
    blobs: Vec<Digest>,
    references: Vec<Reference>,
}

impl Saved {
    fn root(&self) -> &Descriptor {
        &self.documents.last().expect("there is at least one").descriptor
    }
}

impl Images<'_> {
    /// Writes the images `names` to `output`: a tag alone, a repository with all its tags, an id without any.
    ///
    /// When `output` is a [`std::fs::File`], the kernel copies.
    ///
    /// # Errors
    /// [`SaveError`]; what was written until then is not an archive.
    pub fn save(&self, names: &[String], output: impl Write, options: &SaveOptions) -> Result<(), SaveError> {
        let _lock = self.store.lock_shared()?;
        let saved = self.choose(names, options)?;
        let mut archive = Writer::new(io::BufWriter::with_capacity(256 << 10, output));
        archive.append_bytes("oci-layout", VERSION)?;
        archive.append_bytes("index.json", &json(&Index::new(entries(&saved)))?)?;
        if options.format == Format::DockerArchive {
            archive.append_bytes("manifest.json", &json(&docker_manifest(&saved))?)?;
            archive.append_bytes("repositories", &json(&repositories(&saved))?)?;
        }
        for directory in ["blobs/", "blobs/sha256/"] {
            archive.append(&Entry::directory(directory), io::empty())?;
        }
        let mut written = BTreeSet::new();
        for saved in &saved {
            let documents = saved.documents.iter().rev().map(|part| &part.descriptor.digest);
            for digest in documents.chain(&saved.blobs) {
                if written.insert(*digest) {
                    let entry = Entry::file(&blob_path(digest), self.store.blobs().size(digest)?);
                    archive.append(&entry, self.store.blobs().open(digest)?)?;
                }
            }
        }
        archive.finish()?.into_inner().map_err(|e| e.into_error())?;
        Ok(())
    }

    /// Writes the images `names` to an OCI layout, which may have others already.
    ///
    /// # Errors
    /// [`SaveError`]; the layout's index is then as it was.
    pub fn save_layout(
        &self,
        names: &[String],
        directory: &Path,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        let _lock = self.store.lock_shared()?;
        let saved = self.choose(names, options)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SaveError::Layout { path, source }
        };
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
        for saved in &saved {
            let documents = saved.documents.iter().map(|part| &part.descriptor.digest);
            for digest in documents.chain(&saved.blobs) {
                let path = blobs.join(digest.hex());
                let there = fs::metadata(&path).map(|metadata| metadata.len()).ok();
                if there != Some(self.store.blobs().size(digest)?) {
                    replace(&path, &mut self.store.blobs().open(digest)?).map_err(failed(&path))?;
                }
            }
        }
        let index = directory.join("index.json");
        let entries = merged(&index, entries(&saved))?;
        replace(&directory.join("oci-layout"), &mut &VERSION[..]).map_err(failed(directory))?;
        replace(&index, &mut &json(&Index::new(entries))?[..]).map_err(failed(&index))
    }

    fn choose(&self, names: &[String], options: &SaveOptions) -> Result<Vec<Saved>, SaveError> {
        let mut all: Vec<Saved> = Vec::new();
        for name in names {
            for (image, references) in self.named(name)? {
                // Without a name, and once for each of them: not all of an image's names stand for the same.
                let each: Vec<Option<&Reference>> = match references.is_empty() {
                    true => vec![None],
                    false => references.iter().map(Some).collect(),
                };
                for reference in each {
                    let saved = self.saved(&image, reference, options)?;
                    match all.iter_mut().find(|known| known.root().digest == saved.root().digest) {
                        Some(known) => {
                            known.references.extend(saved.references);
                            known.references.sort();
                            known.references.dedup();
                        }
                        None => all.push(saved),
                    }
                }
            }
        }
        if !options.called.is_empty() {
            all.iter_mut().for_each(|saved| saved.references.clone_from(&options.called));
        }
        Ok(all)
    }

    fn saved(
        &self,
        image: &Image,
        reference: Option<&Reference>,
        options: &SaveOptions,
    ) -> Result<Saved, SaveError> {
        let documents = self.documents(image, reference, options)?;
        let mut manifests = Vec::new();
        for part in &documents {
            if let Document::Manifest(manifest) = part.document()? {
                manifests.push((part.descriptor.digest, *manifest));
            }
        }
        let blobs = |manifest: &Manifest| {
            let layers = manifest.layers.iter().map(|layer| layer.digest);
            std::iter::once(manifest.config.digest).chain(layers).collect::<Vec<_>>()
        };
        let blobs = manifests.iter().flat_map(|(_, manifest)| blobs(manifest)).collect();
        let own = manifests.iter().position(|(digest, _)| *digest == image.manifest);
        let (_, manifest) = manifests.swap_remove(own.unwrap_or(0));
        Ok(Saved { documents, manifest, blobs, references: reference.into_iter().cloned().collect() })
    }

    /// What a name of an image stands for: all of an index when all is here, or else this host's image.
    fn documents(
        &self,
        image: &Image,
        reference: Option<&Reference>,
        options: &SaveOptions,
    ) -> Result<Vec<Part>, SaveError> {
        let index = match reference {
            Some(reference) => {
                self.store.database().read(|reader| match db::manifests::tagged(reader, reference)? {
                    Some(digest) => db::manifests::get(reader, &reference.name(), &digest),
                    None => Ok::<_, DatabaseError>(None),
                })?
            }
            None => None,
        };
        let index = index.filter(|record| media::is_index(&record.media_type));
        if let (Some(record), None) = (&index, &options.platform) {
            let descriptor = Descriptor::new(&*record.media_type, record.digest, record.size);
            if let Some(parts) = whole(self.store, &descriptor)? {
                return Ok(parts);
            }
        }
        if let Some(wanted) = &options.platform
            && wanted.rank(&image.platform()).is_none()
        {
            return self.other_platform(index.as_ref(), wanted, reference, image);
        }
        Ok(vec![Part::read(self.store, &image.manifest, media::OCI_MANIFEST)?])
    }

    fn other_platform(
        &self,
        index: Option<&ManifestRecord>,
        wanted: &Platform,
        reference: Option<&Reference>,
        image: &Image,
    ) -> Result<Vec<Part>, SaveError> {
        let mut best: Option<(usize, Vec<Part>)> = None;
        if let Some(record) = index
            && let Document::Index(index) =
                Part::read(self.store, &record.digest, &record.media_type)?.document()?
        {
            for child in &index.manifests {
                let rank = child.platform.as_ref().and_then(|platform| wanted.rank(platform));
                if let Some(rank) = rank
                    && best.as_ref().is_none_or(|(known, _)| rank < *known)
                    && let Some(parts) = whole(self.store, child)?
                {
                    best = Some((rank, parts));
                }
            }
        }
        let image = reference.map_or_else(|| image.id.to_string(), Reference::familiar);
        let missing = SaveError::Platform { image, platform: wanted.to_string() };
        best.map(|(_, parts)| parts).ok_or(missing)
    }

    fn named(&self, name: &str) -> Result<Vec<(Image, Vec<Reference>)>, SaveError> {
        let typed = Reference::parse(name).ok();
        // `latest` was added by parsing unless it was typed.
        let has_tag = typed.as_ref().is_some_and(|r| {
            r.digest().is_some() || name.rsplit('/').next().is_some_and(|last| last.contains(':'))
        });
        if let (Some(typed), false) = (&typed, has_tag) {
            let tags = self.store.database().read(|reader| db::images::tags_in(reader, &typed.name()))?;
            if !tags.is_empty() {
                let tagged = |tag: Reference| Ok((self.resolve(&tag.canonical())?, vec![tag]));
                return tags.into_iter().map(|(tag, ..)| tagged(tag)).collect();
            }
        }
        let image = self.resolve(name)?;
        let references = image.references.iter().filter(|r| typed.as_ref() == Some(r)).cloned().collect();
        Ok(vec![(image, references)])
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, io::Error> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

/// What an index says of the images.
fn entries(saved: &[Saved]) -> Vec<Descriptor> {
    let mut entries = Vec::new();
    for saved in saved {
        let plain = saved.root();
        if saved.references.is_empty() {
            entries.push(plain.clone());
        }
        for reference in &saved.references {
            let mut named = plain.clone();
            let mut annotate = |key: &str, value: String| named.annotations.insert(key.to_owned(), value);
            annotate(FULL_NAME, reference.canonical());
            if let Some(tag) = reference.tag() {
                annotate(REF_NAME, tag.to_owned());
            }
            entries.push(named);
        }
    }
    entries
}

/// The entries of an existing index, with those of the same names replaced by `added`.
fn merged(path: &Path, added: Vec<Descriptor>) -> Result<Vec<Descriptor>, SaveError> {
    let known = match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice::<Index>(&bytes)
                .map_err(|source| SaveError::Index { path: path.to_owned(), source })?
                .manifests
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(SaveError::Layout { path: path.to_owned(), source }),
    };
    let name = |entry: &Descriptor| entry.annotations.get(FULL_NAME).cloned();
    let is_replaced = |entry: &Descriptor| {
        added
            .iter()
            .any(|new| name(new) == name(entry) && (name(new).is_some() || new.digest == entry.digest))
    };
    let kept = known.into_iter().filter(|entry| !is_replaced(entry));
    Ok(kept.chain(added.iter().cloned()).collect())
}

fn docker_manifest(saved: &[Saved]) -> Vec<DockerImage> {
    let image = |saved: &Saved| DockerImage {
        config: blob_path(&saved.manifest.config.digest),
        repo_tags: (!saved.references.is_empty())
            .then(|| saved.references.iter().map(Reference::familiar).collect()),
        layers: Some(saved.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
    };
    saved.iter().map(image).collect()
}

/// The index of Docker before 1.10: repository, tag, topmost layer.
fn repositories(saved: &[Saved]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Saved { manifest, references, .. } in saved {
        let Some(top) = manifest.layers.last() else { continue };
        for reference in references {
            if let Some(tag) = reference.tag() {
                let tags = repositories.entry(reference.repository()).or_default();
                tags.insert(tag.to_owned(), top.digest.hex());
            }
        }
    }
    repositories
}

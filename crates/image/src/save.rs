//! Saving images as an archive.
//!
//! One archive serves everybody: an OCI layout that also has docker-archive's `manifest.json` and `repositories`, as
//! `docker save` itself writes it. Indexes come first, so that who streams knows what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use diag::{Class, Diagnose};
use oci::image::{Descriptor, Index, Manifest};
use oci::{Digest, Reference, media};
use serde::Serialize;
use store::StoreError;

use crate::archive::{Entry, Writer};
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

/// Images were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("image {image} has an unreadable manifest")]
    Manifest { image: Digest, source: serde_json::Error },
    #[error("cannot write the archive")]
    Write(#[from] io::Error),
}

impl Diagnose for SaveError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(e) => e.class(),
            Self::Store(e) => e.class(),
            Self::Manifest { .. } => Class::Internal,
            Self::Write(e) => Class::of_io(e),
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

/// An element of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image to save, under some of its names.
struct Saved {
    image: Image,
    manifest: Manifest,
    manifest_size: u64,
    references: Vec<Reference>,
}

impl Images<'_> {
    /// Writes the images `names` to `output`: a tag alone, a repository with all its tags, an id without any.
    ///
    /// # Errors
    /// [`SaveError`]; what was written until then is not an archive.
    pub fn save(&self, names: &[String], output: impl Write, format: Format) -> Result<(), SaveError> {
        let _lock = self.store.lock_shared()?;
        let saved = self.choose(names)?;
        let mut archive = Writer::new(io::BufWriter::with_capacity(256 << 10, output));
        archive.append_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.append_bytes("index.json", &json(&index(&saved))?)?;
        if format == Format::DockerArchive {
            archive.append_bytes("manifest.json", &json(&docker_manifest(&saved))?)?;
            archive.append_bytes("repositories", &json(&repositories(&saved))?)?;
        }
        for directory in ["blobs/", "blobs/sha256/"] {
            archive.append(&Entry::directory(directory), io::empty())?;
        }
        let mut written = BTreeSet::new();
        for Saved { image, manifest, .. } in &saved {
            let layers = manifest.layers.iter().map(|layer| layer.digest);
            for digest in [image.manifest, image.id].into_iter().chain(layers) {
                if written.insert(digest) {
                    let entry = Entry::file(&blob_path(&digest), self.store.blobs().size(&digest)?);
                    archive.append(&entry, self.store.blobs().open(&digest)?)?;
                }
            }
        }
        archive.finish()?.into_inner().map_err(|e| e.into_error())?;
        Ok(())
    }

    fn choose(&self, names: &[String]) -> Result<Vec<Saved>, SaveError> {
        let mut saved: Vec<Saved> = Vec::new();
        for name in names {
            for (image, references) in self.named(name)? {
                match saved.iter_mut().find(|saved| saved.image.id == image.id) {
                    Some(known) => {
                        known.references.extend(references);
                        known.references.sort();
                        known.references.dedup();
                    }
                    None => {
                        let bytes = self.store.blobs().read(&image.manifest)?;
                        let manifest = serde_json::from_slice(&bytes)
                            .map_err(|source| SaveError::Manifest { image: image.id, source })?;
                        saved.push(Saved { image, manifest, manifest_size: bytes.len() as u64, references });
                    }
                }
            }
        }
        Ok(saved)
    }

    fn named(&self, name: &str) -> Result<Vec<(Image, Vec<Reference>)>, SaveError> {
        let typed = Reference::parse(name).ok();
        // `latest` was added by parsing unless it was typed.
        let has_tag = typed.as_ref().is_some_and(|r| {
            r.digest().is_some() || name.rsplit('/').next().is_some_and(|last| last.contains(':'))
        });
        if let (Some(typed), false) = (&typed, has_tag) {
            let mut images = Vec::new();
            for image in self.list()? {
                let tags = image.references.iter().filter(|r| r.name() == typed.name());
                let tags: Vec<_> = tags.cloned().collect();
                if !tags.is_empty() {
                    images.push((image, tags));
                }
            }
            if !images.is_empty() {
                return Ok(images);
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

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn index(saved: &[Saved]) -> Index {
    let mut manifests = Vec::new();
    for Saved { image, manifest, manifest_size, references } in saved {
        let media_type =
            if manifest.media_type.is_empty() { media::OCI_MANIFEST } else { &manifest.media_type };
        let plain = Descriptor::new(media_type, image.manifest, *manifest_size);
        if references.is_empty() {
            manifests.push(plain.clone());
        }
        for reference in references {
            let mut named = plain.clone();
            let mut annotate = |key: &str, value: String| named.annotations.insert(key.to_owned(), value);
            annotate("io.containerd.image.name", reference.canonical());
            if let Some(tag) = reference.tag() {
                annotate("org.opencontainers.image.ref.name", tag.to_owned());
            }
            manifests.push(named);
        }
    }
    Index::new(manifests)
}

fn docker_manifest(saved: &[Saved]) -> Vec<DockerImage> {
    let image = |saved: &Saved| DockerImage {
        config: blob_path(&saved.image.id),
        repo_tags: (!saved.references.is_empty())
            .then(|| saved.references.iter().map(Reference::familiar).collect()),
        layers: saved.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
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

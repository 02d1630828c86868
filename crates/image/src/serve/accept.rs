//! Taking a manifest: what it names has to be here, and an image for this host has to be one.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ops::ControlFlow;

use oci::image::{Descriptor, Document, DocumentError, Index, Manifest, parse_document};
use oci::{Digest, Reference, ReferenceError, media};
use registry::server::ContentError;
use registry::server::content::{NewManifest, RepositoryName};
use serde_json::Value;
use store::db::images::ImageRecord;
use store::db::manifests::ManifestRecord;
use store::db::{self, Writer};
use store::{DatabaseError, Durability};

use super::find::{Node, Rows};
use super::index::{host_image, is_flat_enough};
use super::{Serving, reference, trouble, whole_name};
use crate::documents::MAX_NESTING;

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum RefusedManifest {
    #[error("nothing is known of manifests of media type {0:?}")]
    MediaType(String),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("its subject is malformed")]
    Subject(#[source] serde_json::Error),
    #[error("layer {0} is to be fetched from elsewhere")]
    Foreign(Digest),
    #[error("{digest} has {found} bytes, not {expected}")]
    Size { digest: Digest, expected: u64, found: u64 },
    #[error("{digest} is {found:?}, not {expected:?}")]
    ChildType { digest: Digest, expected: String, found: String },
    #[error("indexes are nested more than {MAX_NESTING} deep")]
    Nesting,
    #[error("its config is malformed")]
    Config(#[source] serde_json::Error),
    #[error("its config has more than {0} bytes")]
    ConfigSize(u64),
    #[error("its config lists {expected} layers, and it has {found}")]
    LayerCount { expected: usize, found: usize },
    #[error("layer {digest} is refused")]
    Layer { digest: Digest, source: Box<dyn Error + Send + Sync> },
    #[error(transparent)]
    Tag(#[from] ReferenceError),
}

impl From<RefusedManifest> for ContentError {
    fn from(refused: RefusedManifest) -> Self {
        Self::ManifestInvalid(Box::new(refused))
    }
}

/// What a repository has of what was asked for: sizes of blobs, and media types of those that are manifests.
type Present = HashMap<Digest, Option<String>>;

impl Serving {
    /// Keeps a manifest for a repository and lets `tags` name it; an image for this host becomes one of its images.
    pub(super) fn accept_manifest(
        &self,
        repository: &RepositoryName,
        new: NewManifest<'_>,
    ) -> Result<Option<Digest>, ContentError> {
        if !media::is_manifest(new.media_type) && !media::is_index(new.media_type) {
            return Err(RefusedManifest::MediaType(new.media_type.to_owned()).into());
        }
        let document = parse_document(new.bytes, new.media_type).map_err(RefusedManifest::from)?;
        let name = reference(repository)?;
        let tags = new.tags.iter().map(|tag| name.with_tag(tag));
        let tags: Vec<Reference> = tags.collect::<Result<_, _>>().map_err(RefusedManifest::from)?;
        let mut record = describe(&document, new, name.name())?;
        let _lock = self.store.lock_shared().map_err(trouble)?;
        let _making = self.store.tmp_dir("making").map_err(trouble)?;
        let rows = self.look_into(repository)?;
        let image = match &document {
            Document::Manifest(manifest) => {
                self.check_blobs(repository, &rows, manifest)?;
                self.unpack(manifest, &record.digest)?
            }
            Document::Index(index) => {
                self.check_children(repository, &rows, index)?;
                record.image = host_image(&self.store, &rows, index);
                None
            }
        };
        record.image = image.as_ref().map(|image| image.id).or(record.image);
        self.store.blobs().put(new.bytes).map_err(trouble)?;
        let synced_ns = self.store.sync().map_err(trouble)?;
        let blobs: HashSet<Digest> = blobs_of(&document).map(|blob| blob.digest).collect();
        let written = self.store.database().write(Durability::Full, |writer| {
            if let Some(image) = &image {
                db::images::put(writer, image)?;
                db::unsettled::mark_synced(writer, synced_ns)?;
            }
            write(writer, &record, &tags)?;
            blobs.iter().try_for_each(|blob| db::manifests::forget_hold(writer, blob))
        });
        written.map_err(trouble::<DatabaseError>)?;
        match &*tags {
            [] => (self.told)("push", &name.with_digest(record.digest).familiar()),
            tags => tags.iter().for_each(|tag| (self.told)("push", &tag.familiar())),
        }
        for blob in &blobs {
            self.uploaded.remove(&record.repository, blob);
        }
        Ok(record.subject)
    }

    /// Config and layers have to be in the repository, as large as the manifest says.
    fn check_blobs(
        &self,
        repository: &RepositoryName,
        rows: &Rows,
        manifest: &Manifest,
    ) -> Result<(), ContentError> {
        if let Some(layer) = manifest.layers.iter().find(|l| media::is_foreign_layer(&l.media_type)) {
            return Err(RefusedManifest::Foreign(layer.digest).into());
        }
        let name = whole_name(repository)?;
        let named: Vec<&Descriptor> = [&manifest.config].into_iter().chain(&manifest.layers).collect();
        let waiting = |blob: &&&Descriptor| !self.uploaded.contains(&name, &blob.digest);
        let present = self.present(rows, named.iter().filter(waiting).map(|blob| blob.digest).collect());
        let is_here = |blob: &Descriptor| {
            self.uploaded.contains(&name, &blob.digest) || present.contains_key(&blob.digest)
        };
        self.check_named(repository, &named, is_here)
    }

    /// The manifests of an index have to be in the repository, and to be what it says.
    fn check_children(
        &self,
        repository: &RepositoryName,
        rows: &Rows,
        index: &Index,
    ) -> Result<(), ContentError> {
        let named: Vec<&Descriptor> = index.manifests.iter().collect();
        let present = self.present(rows, named.iter().map(|child| child.digest).collect());
        let type_of = |child: &Descriptor| present.get(&child.digest).and_then(Option::as_ref);
        self.check_named(repository, &named, |child| type_of(child).is_some())?;
        for child in &index.manifests {
            if let Some(found) = type_of(child).filter(|found| **found != child.media_type) {
                let (expected, found) = (child.media_type.clone(), found.clone());
                return Err(RefusedManifest::ChildType { digest: child.digest, expected, found }.into());
            }
        }
        match is_flat_enough(&self.store, index, MAX_NESTING) {
            true => Ok(()),
            false => Err(RefusedManifest::Nesting.into()),
        }
    }

    /// Looks for content in everything a repository leads to.
    fn present(&self, rows: &Rows, mut wanted: HashSet<Digest>) -> Present {
        let mut present = HashMap::new();
        if wanted.is_empty() {
            return present;
        }
        rows.walk(&self.store, &mut |digest, node| {
            if wanted.remove(digest) {
                let media_type = match node {
                    Node::Manifest { media_type } => Some(media_type.to_owned()),
                    Node::Blob => None,
                };
                present.insert(*digest, media_type);
            }
            if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        present
    }

    fn check_named(
        &self,
        repository: &RepositoryName,
        named: &[&Descriptor],
        is_here: impl Fn(&Descriptor) -> bool,
    ) -> Result<(), ContentError> {
        let (mut missing, mut sizes) = (Vec::new(), HashMap::new());
        for descriptor in named {
            match self.store.blobs().size(&descriptor.digest) {
                Ok(size) if is_here(descriptor) => drop(sizes.insert(descriptor.digest, size)),
                _ if missing.contains(&descriptor.digest) => {}
                _ => missing.push(descriptor.digest),
            }
        }
        if !missing.is_empty() {
            return Err(ContentError::ContentUnknown { repository: repository.clone(), digests: missing });
        }
        for Descriptor { digest, size, .. } in named {
            if let Some(&found) = sizes.get(digest).filter(|found| *found != size) {
                return Err(RefusedManifest::Size { digest: *digest, expected: *size, found }.into());
            }
        }
        Ok(())
    }
}

/// The row of a manifest, but for its image.
fn describe(
    document: &Document,
    new: NewManifest<'_>,
    repository: String,
) -> Result<ManifestRecord, RefusedManifest> {
    let (extra, config) = match document {
        Document::Manifest(manifest) => (&manifest.extra, Some(&manifest.config)),
        Document::Index(index) => (&index.extra, None),
    };
    let subject = extra.get("subject").filter(|subject| !subject.is_null());
    let subject: Option<Descriptor> = subject
        .map(|subject| serde_json::from_value(subject.clone()))
        .transpose()
        .map_err(RefusedManifest::Subject)?;
    let own = extra.get("artifactType").and_then(Value::as_str).filter(|text| !text.is_empty());
    Ok(ManifestRecord {
        repository,
        digest: Digest::of(new.bytes),
        media_type: new.media_type.to_owned(),
        size: new.bytes.len() as u64,
        subject: subject.map(|subject| subject.digest),
        artifact_type: own.or(config.map(|config| &*config.media_type)).map(str::to_owned),
        image: None,
    })
}

fn blobs_of(document: &Document) -> impl Iterator<Item = &Descriptor> {
    let manifest = match document {
        Document::Manifest(manifest) => Some(manifest),
        Document::Index(_) => None,
    };
    manifest.into_iter().flat_map(|manifest| [&manifest.config].into_iter().chain(&manifest.layers))
}

/// Records a manifest and what its tags name.
fn write(writer: &Writer<'_>, record: &ManifestRecord, tags: &[Reference]) -> Result<(), DatabaseError> {
    let image: Option<ImageRecord> =
        record.image.map(|image| db::images::get(writer, &image)).transpose()?.flatten();
    // Its image was removed since it was looked up.
    let record = ManifestRecord { image: image.as_ref().map(|image| image.id), ..record.clone() };
    db::manifests::put(writer, &record)?;
    let is_index = media::is_index(&record.media_type);
    for tag in tags {
        match &image {
            Some(image) if is_index => db::images::tag(writer, tag, &image.id, &image.manifest)?,
            Some(image) => db::images::tag(writer, tag, &image.id, &record.digest)?,
            None => drop(db::images::untag(writer, tag)?),
        }
        if is_index || image.is_none() {
            db::manifests::tag(writer, tag, &record.digest)?;
        }
    }
    Ok(())
}

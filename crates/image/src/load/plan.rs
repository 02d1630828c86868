//! Reading an archive's indexes: which files make which image, and what it is called.

use std::collections::HashMap;

use oci::image::{Descriptor, Document, Platform, parse_document};
use oci::{Digest, Reference, media};

use super::LoadError;
use super::contents::Contents;
use crate::documents::{DockerImage, MAX_NESTING, blob_path};

/// An image of the archive, its parts by path.
pub struct Planned {
    pub config: String,
    pub layers: Vec<String>,
    /// Bytes of its own manifest; a docker-archive has none.
    pub manifest: Option<Vec<u8>>,
    pub references: Vec<Reference>,
}

/// An index all of whose images are in the archive: it is kept with them, so that all can be passed on.
pub struct PlannedIndex {
    pub root: Descriptor,
    pub references: Vec<Reference>,
    /// The config of the image in it that is loaded.
    pub config: String,
    pub documents: Vec<String>,
    pub blobs: Vec<String>,
}

/// Everything the indexes of an archive name; both kinds may be there, as `docker save` writes them.
///
/// Of several platforms' images `wanted` is chosen, or else this host's.
pub fn plan(
    contents: &Contents<'_>,
    wanted: Option<&Platform>,
) -> Result<(Vec<Planned>, Vec<PlannedIndex>), LoadError> {
    let mut images: Vec<Planned> = Vec::new();
    let mut indexes = Vec::new();
    if contents.has("index.json") {
        let bytes = contents.document("index.json")?;
        let root: Document = match parse_document(bytes, media::OCI_INDEX) {
            Ok(document) => document,
            Err(source) => return Err(LoadError::Document { path: "index.json".to_owned(), source }),
        };
        if let Document::Index(index) = root {
            layout(contents, &index.manifests, wanted, &mut images)?;
            if wanted.is_none() {
                indexes = kept(contents, &index.manifests)?;
            }
        }
    } else if !contents.has("manifest.json") {
        return Err(LoadError::NotAnImage);
    }
    if contents.has("manifest.json") {
        let bytes = contents.document("manifest.json")?;
        let listed: Vec<DockerImage> = serde_json::from_slice(bytes)
            .map_err(|source| LoadError::Syntax { path: "manifest.json".to_owned(), source })?;
        docker(contents, listed, &mut images)?;
    }
    Ok((images, indexes))
}

/// The named indexes of a layout that are there with everything they lead to.
fn kept(contents: &Contents<'_>, descriptors: &[Descriptor]) -> Result<Vec<PlannedIndex>, LoadError> {
    let mut kept: Vec<PlannedIndex> = Vec::new();
    for descriptor in descriptors.iter().filter(|descriptor| media::is_index(&descriptor.media_type)) {
        let references = names(descriptor);
        if let Some(known) = kept.iter_mut().find(|known| known.root.digest == descriptor.digest) {
            add(&mut known.references, references.into_iter());
            continue;
        }
        let Some((_, image)) = resolve(contents, descriptor, &Platform::host(), 0)?.into_iter().next() else {
            continue;
        };
        let root = Descriptor::new(&*descriptor.media_type, descriptor.digest, descriptor.size);
        let (documents, blobs) = (Vec::new(), Vec::new());
        let mut index = PlannedIndex { root, references, config: image.config, documents, blobs };
        if !index.references.is_empty() && index.add(contents, descriptor, 0)? {
            kept.push(index);
        }
    }
    Ok(kept)
}

impl PlannedIndex {
    /// Adds what `descriptor` leads to; `false` when something of it is missing.
    fn add(
        &mut self,
        contents: &Contents<'_>,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<bool, LoadError> {
        let path = blob_path(&descriptor.digest);
        if depth > MAX_NESTING || !contents.has(&path) {
            return Ok(false);
        }
        let bytes = contents.document(&path)?;
        let document = parse_document(bytes, &descriptor.media_type)
            .map_err(|source| LoadError::Document { path: path.clone(), source })?;
        self.documents.push(path);
        match document {
            Document::Index(index) => {
                for child in &index.manifests {
                    if !self.add(contents, child, depth + 1)? {
                        return Ok(false);
                    }
                }
            }
            Document::Manifest(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    let path = blob_path(&blob.digest);
                    if contents.has(&path) {
                        self.documents.push(path);
                    } else if contents.has_layer(&path) {
                        self.blobs.push(path);
                    } else {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

fn docker(
    contents: &Contents<'_>,
    listed: Vec<DockerImage>,
    images: &mut Vec<Planned>,
) -> Result<(), LoadError> {
    let mut by_config: HashMap<Digest, usize> = HashMap::new();
    for (index, image) in images.iter().enumerate() {
        by_config.insert(Digest::of(contents.document(&image.config)?), index);
    }
    for image in listed {
        let tags = image.repo_tags.unwrap_or_default();
        let references: Vec<_> = tags.iter().filter_map(|tag| Reference::parse(tag).ok()).collect();
        let id = Digest::of(contents.document(&image.config)?);
        if let Some(&index) = by_config.get(&id) {
            add(&mut images[index].references, references.into_iter());
            continue;
        }
        // Of several platforms' images this list has one; the layout's index, which was read before, has the one that is wanted.
        let is_taken = |name: &Reference| images.iter().any(|image| image.references.contains(name));
        if references.iter().any(is_taken) {
            continue;
        }
        by_config.insert(id, images.len());
        images.push(Planned {
            config: image.config,
            layers: image.layers.unwrap_or_default(),
            manifest: None,
            references,
        });
    }
    Ok(())
}

/// The images an OCI layout's index names; the same one under several names counts once.
fn layout(
    contents: &Contents<'_>,
    descriptors: &[Descriptor],
    wanted: Option<&Platform>,
    images: &mut Vec<Planned>,
) -> Result<(), LoadError> {
    let wanted = wanted.cloned().unwrap_or_else(Platform::host);
    let mut by_manifest: HashMap<Digest, usize> = HashMap::new();
    for descriptor in descriptors {
        let references = names(descriptor);
        for found in resolve(contents, descriptor, &wanted, 0)? {
            match by_manifest.get(&found.0) {
                Some(&index) => add(&mut images[index].references, references.iter().cloned()),
                None => {
                    by_manifest.insert(found.0, images.len());
                    images.push(Planned { references: references.clone(), ..found.1 });
                }
            }
        }
    }
    Ok(())
}

fn add(known: &mut Vec<Reference>, more: impl Iterator<Item = Reference>) {
    for reference in more {
        if !known.contains(&reference) {
            known.push(reference);
        }
    }
}

/// The full name that containerd and BuildKit annotate, or else the specification's, when it is more than a bare tag.
fn names(descriptor: &Descriptor) -> Vec<Reference> {
    let annotation = |key| descriptor.annotations.get(key);
    annotation("io.containerd.image.name")
        .or_else(|| annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/'])))
        .and_then(|name| Reference::parse(name).ok())
        .into_iter()
        .collect()
}

/// Follows a descriptor to the images for `wanted`.
fn resolve(
    contents: &Contents<'_>,
    descriptor: &Descriptor,
    wanted: &Platform,
    depth: usize,
) -> Result<Vec<(Digest, Planned)>, LoadError> {
    if !media::is_manifest(&descriptor.media_type) && !media::is_index(&descriptor.media_type) {
        return Ok(Vec::new());
    }
    let path = blob_path(&descriptor.digest);
    let bytes = contents.document(&path)?;
    let document = parse_document(bytes, &descriptor.media_type)
        .map_err(|source| LoadError::Document { path: path.clone(), source })?;
    match document {
        Document::Manifest(manifest) => {
            // Signatures and other artifacts are manifests, too.
            if !matches!(&*manifest.config.media_type, media::OCI_CONFIG | media::DOCKER_CONFIG) {
                return Ok(Vec::new());
            }
            if let Some(layer) = manifest.layers.iter().find(|l| media::is_foreign_layer(&l.media_type)) {
                let source = Box::new(crate::LayerError::MediaType(layer.media_type.clone()));
                return Err(LoadError::Layer { path: blob_path(&layer.digest), source });
            }
            let planned = Planned {
                config: blob_path(&manifest.config.digest),
                layers: manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
                manifest: Some(bytes.to_vec()),
                references: Vec::new(),
            };
            Ok(vec![(descriptor.digest, planned)])
        }
        Document::Index(_) if depth >= MAX_NESTING => {
            Err(LoadError::TooLarge { what: "nesting of indexes".to_owned(), limit: MAX_NESTING as u64 })
        }
        Document::Index(index) => {
            let rank = |entry: &Descriptor| match &entry.platform {
                Some(platform) => wanted.rank(platform),
                None => Some(usize::MAX),
            };
            let best = index.manifests.iter().filter_map(rank).min();
            let mut found = Vec::new();
            for manifest in index.manifests.iter().filter(|manifest| best.is_some() && rank(manifest) == best)
            {
                found.extend(resolve(contents, manifest, wanted, depth + 1)?);
            }
            if found.is_empty() && depth == 0 {
                return Err(LoadError::Platform(wanted.to_string()));
            }
            Ok(found)
        }
    }
}

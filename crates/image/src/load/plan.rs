//! Reading an archive's indexes: which files make which image, and what it is called.

use std::collections::HashMap;

use oci::image::{Descriptor, Document, Platform, parse_document};
use oci::{Digest, Reference, media};
use serde::Deserialize;

use super::LoadError;
use super::contents::Contents;
use crate::import::host_platform;

/// An image of the archive, its parts by path.
pub struct Planned {
    pub config: String,
    pub layers: Vec<String>,
    /// Bytes of its own manifest; a docker-archive has none.
    pub manifest: Option<Vec<u8>>,
    pub references: Vec<Reference>,
}

/// An element of a docker-archive's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

const MAX_NESTING: usize = 4;

/// Everything the indexes of an archive name; both kinds may be there, as `docker save` writes them.
pub fn plan(contents: &Contents<'_>) -> Result<Vec<Planned>, LoadError> {
    let mut images: Vec<Planned> = Vec::new();
    if contents.has("index.json") {
        let bytes = contents.document("index.json")?;
        let root: Document = match parse_document(bytes, media::OCI_INDEX) {
            Ok(document) => document,
            Err(source) => return Err(LoadError::Document { path: "index.json".to_owned(), source }),
        };
        if let Document::Index(index) = root {
            layout(contents, &index.manifests, &mut images)?;
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
    Ok(images)
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
        let references = tags.iter().filter_map(|tag| Reference::parse(tag).ok());
        let id = Digest::of(contents.document(&image.config)?);
        if let Some(&index) = by_config.get(&id) {
            add(&mut images[index].references, references);
            continue;
        }
        by_config.insert(id, images.len());
        images.push(Planned {
            config: image.config,
            layers: image.layers.unwrap_or_default(),
            manifest: None,
            references: references.collect(),
        });
    }
    Ok(())
}

/// The images an OCI layout's index names; the same one under several names counts once.
fn layout(
    contents: &Contents<'_>,
    descriptors: &[Descriptor],
    images: &mut Vec<Planned>,
) -> Result<(), LoadError> {
    let mut by_manifest: HashMap<Digest, usize> = HashMap::new();
    for descriptor in descriptors {
        let references = names(descriptor);
        for found in resolve(contents, descriptor, 0)? {
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

/// Follows a descriptor to the images for this host.
fn resolve(
    contents: &Contents<'_>,
    descriptor: &Descriptor,
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
            let host = host_platform();
            let fits = |platform: &Option<Platform>| match platform {
                Some(platform) => (&platform.os, &platform.architecture) == (&host.os, &host.architecture),
                None => true,
            };
            let mut found = Vec::new();
            for manifest in index.manifests.iter().filter(|manifest| fits(&manifest.platform)) {
                found.extend(resolve(contents, manifest, depth + 1)?);
            }
            if found.is_empty() && depth == 0 {
                return Err(LoadError::Platform(format!("{}/{}", host.os, host.architecture)));
            }
            Ok(found)
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

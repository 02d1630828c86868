//! What a repository has: its names, its kept manifests, and all they lead to.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use oci::image::{Descriptor, Referrer};
use oci::{Digest, Reference, media};
use registry::server::ContentError;
use registry::server::content::{KeptManifest, Referrers, ReferrersPage, RepositoryName, Target};
use serde::Deserialize;
use serde_json::Value;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};
use store::{DatabaseError, Store, StoreError};

use super::{Serving, trouble, whole_name};

/// A tag of a repository.
pub struct Name {
    pub reference: Reference,
    pub manifest: Digest,
    /// The image a user of this host gets by it.
    pub image: Option<Digest>,
}

/// The rows of a repository.
pub struct Rows {
    pub names: Vec<Name>,
    pub manifests: Vec<ManifestRecord>,
}

/// What a manifest may lead to.
pub enum Node<'a> {
    Manifest { media_type: &'a str },
    Blob,
}

/// As much of a manifest or an index as it takes to follow it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Links {
    /// What the document says it is, or looks like.
    fn media_type(&self) -> &str {
        match (&self.media_type, &self.manifests) {
            (Some(media_type), _) if !media_type.is_empty() => media_type,
            (_, Some(_)) => media::OCI_INDEX,
            (_, None) => media::OCI_MANIFEST,
        }
    }
}

impl Rows {
    pub fn read(reader: &Reader<'_>, repository: &str) -> Result<Self, DatabaseError> {
        let mut names = BTreeMap::new();
        for (reference, image, manifest) in db::images::tags_in(reader, repository)? {
            names.insert(reference.clone(), Name { reference, manifest, image: Some(image) });
        }
        for (reference, manifest) in db::manifests::tags(reader, repository)? {
            let image = names.get(&reference).and_then(|name| name.image);
            names.insert(reference.clone(), Name { reference, manifest, image });
        }
        let names = names.into_values().filter(|name| name.reference.digest().is_none()).collect();
        Ok(Self { names, manifests: db::manifests::in_repository(reader, repository)? })
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.manifests.is_empty()
    }

    /// The kept manifest `digest`.
    pub fn kept(&self, digest: &Digest) -> Option<&ManifestRecord> {
        self.manifests.iter().find(|kept| kept.digest == *digest)
    }

    /// The image that the manifest `digest` is.
    pub fn image_of(&self, digest: &Digest) -> Option<Digest> {
        let named = || self.names.iter().find(|name| name.manifest == *digest)?.image;
        self.kept(digest).and_then(|kept| kept.image).or_else(named)
    }

    /// Calls `visit` with everything the repository leads to, each once, until it breaks. Manifests that are not here, such
    /// as those of other platforms, are passed over.
    pub fn walk(&self, store: &Store, visit: &mut dyn FnMut(&Digest, Node<'_>) -> ControlFlow<()>) {
        let kept = self.manifests.iter().map(|kept| (kept.digest, Some(kept.media_type.clone())));
        let named = self.names.iter().map(|name| (name.manifest, None));
        let mut pending: Vec<(Digest, Option<String>)> = named.chain(kept).collect();
        let (mut visited, mut blobs) = (HashSet::new(), HashSet::new());
        while let Some((digest, media_type)) = pending.pop() {
            if !visited.insert(digest) {
                continue;
            }
            let Ok(bytes) = store.blobs().read(&digest) else { continue };
            let Ok(links) = serde_json::from_slice::<Links>(&bytes) else { continue };
            let media_type = media_type.as_deref().unwrap_or_else(|| links.media_type());
            if visit(&digest, Node::Manifest { media_type }).is_break() {
                return;
            }
            for blob in links.config.iter().chain(links.layers.iter().flatten()) {
                if blobs.insert(blob.digest) && visit(&blob.digest, Node::Blob).is_break() {
                    return;
                }
            }
            let children = links.manifests.into_iter().flatten();
            pending.extend(children.map(|child| (child.digest, Some(child.media_type))));
        }
    }

    /// The media type of the manifest `digest`, if this repository leads to it.
    pub fn find_manifest(&self, store: &Store, digest: &Digest) -> Option<String> {
        if let Some(kept) = self.kept(digest) {
            return Some(kept.media_type.clone());
        }
        let mut found = None;
        self.walk(store, &mut |at, node| match node {
            Node::Manifest { media_type } if at == digest => {
                found = Some(media_type.to_owned());
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        found
    }

    /// Whether this repository leads to the blob `digest`.
    pub fn leads_to_blob(&self, store: &Store, digest: &Digest) -> bool {
        let mut found = false;
        self.walk(store, &mut |at, node| {
            found = matches!(node, Node::Blob) && at == digest;
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }
}

impl Serving {
    /// The rows of a repository as they are now.
    pub(super) fn look_into(&self, repository: &RepositoryName) -> Result<Rows, ContentError> {
        let name = whole_name(repository)?;
        self.store.database().read(|reader| Rows::read(reader, &name)).map_err(trouble::<DatabaseError>)
    }

    pub(super) fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, ContentError> {
        if self.uploaded.contains(&whole_name(repository)?, digest) {
            return Ok(true);
        }
        Ok(self.look_into(repository)?.leads_to_blob(&self.store, digest))
    }

    pub(super) fn find_manifest(
        &self,
        repository: &RepositoryName,
        target: &Target,
    ) -> Result<KeptManifest, ContentError> {
        let unknown =
            || ContentError::ManifestUnknown { repository: repository.clone(), target: target.clone() };
        let rows = self.look_into(repository)?;
        let digest = match target {
            Target::Digest(digest) => Some(*digest),
            Target::Tag(tag) => {
                let name = rows.names.iter().find(|name| name.reference.tag() == Some(tag));
                name.map(|name| name.manifest)
            }
        };
        let digest = digest.ok_or_else(unknown)?;
        let media_type = rows.find_manifest(&self.store, &digest).ok_or_else(unknown)?;
        match self.store.blobs().read(&digest) {
            Ok(bytes) => Ok(KeptManifest { digest, media_type, bytes }),
            Err(StoreError::Missing(_)) => Err(unknown()),
            Err(e) => Err(trouble(e)),
        }
    }

    pub(super) fn find_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        page: &ReferrersPage<'_>,
    ) -> Result<Referrers, ContentError> {
        let name = whole_name(repository)?;
        let read = self.store.database().read(|reader| db::manifests::referrers(reader, &name, subject));
        let mut found = Referrers::default();
        let mut bytes = 0;
        for kept in read.map_err(trouble::<DatabaseError>)? {
            if page.after.is_some_and(|after| kept.digest <= after) {
                continue;
            }
            // It may be removed just now.
            let Ok(document) = self.store.blobs().read(&kept.digest) else { continue };
            let Some(referrer) = Referrer::read(&document) else { continue };
            let descriptor = referrer.describe(Descriptor::new(&*kept.media_type, kept.digest, kept.size));
            let artifact_type = descriptor.extra.get("artifactType").and_then(Value::as_str);
            if page.artifact_type.is_some_and(|wanted| artifact_type != Some(wanted)) {
                continue;
            }
            // No smaller than its descriptor, most of which are its annotations.
            bytes += document.len();
            if bytes > page.limit_bytes && !found.manifests.is_empty() {
                found.more = true;
                break;
            }
            found.manifests.push(descriptor);
        }
        Ok(found)
    }
}

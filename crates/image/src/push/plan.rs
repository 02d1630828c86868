//! From a reference to the documents and blobs that have to be at the registry.

use std::collections::{HashMap, HashSet};

use oci::image::{Descriptor, Document, Index, Manifest, Platform};
use oci::{DiffId, Digest, media};
use store::db::compressed_layers::{self, CompressedLayer};
use store::db::images::ImageRecord;
use store::db::manifests::ManifestRecord;
use store::db::{self, Reader};
use store::{DatabaseError, Store, StoreError};

use super::{Compress, Destination, Platforms, PushError};
use crate::compress::Method;
use crate::documents::{Part, is_image, whole};

/// What a push consists of.
pub struct Plan {
    /// Each blob once: the layers, topmost first as Docker lists them, then the configs.
    pub blobs: Vec<Blob>,
    /// The image of this host that the reference names.
    pub image: Option<Digest>,
    /// How many images of an index are not here.
    pub left_out: usize,
    documents: Documents,
}

enum Documents {
    /// They go as they are, the one that the reference names last.
    Ready(Vec<Part>),
    /// A manifest whose layers are compressed on their way.
    Made(Box<Manifest>),
}

/// A blob that the registry has to have.
pub struct Blob {
    /// As it is kept here.
    pub digest: Digest,
    pub size: u64,
    pub diff_id: Option<DiffId>,
    pub role: Role,
}

/// What happens to a blob on its way.
pub enum Role {
    Config,
    /// A layer that goes as it is.
    Layer,
    /// A layer that is compressed; with what that gave the last time.
    Compressed {
        method: Method,
        level: i32,
        known: Option<CompressedLayer>,
    },
}

/// What layers became, by the digest under which they are kept here.
pub type Forms = HashMap<Digest, CompressedLayer>;

impl Blob {
    /// How progress names it.
    pub fn name(&self) -> Digest {
        self.diff_id.map_or(self.digest, |diff_id| diff_id.0)
    }
}

impl Plan {
    /// The layers, in the order of progress.
    pub fn layers(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().filter(|blob| !matches!(blob.role, Role::Config))
    }

    /// What the reference will name, when that is known before anything is sent.
    pub fn settled(&self) -> Result<Option<Part>, PushError> {
        let mut forms = Forms::new();
        for blob in &self.blobs {
            match &blob.role {
                Role::Compressed { known: Some(known), .. } => drop(forms.insert(blob.digest, known.clone())),
                Role::Compressed { known: None, .. } => return Ok(None),
                Role::Config | Role::Layer => {}
            }
        }
        Ok(self.documents(&forms)?.pop())
    }

    /// The documents, the one that the reference names last.
    pub fn documents(&self, forms: &Forms) -> Result<Vec<Part>, PushError> {
        let manifest = match &self.documents {
            Documents::Ready(parts) => return Ok(parts.clone()),
            Documents::Made(manifest) => manifest,
        };
        let mut manifest = manifest.as_oci();
        for layer in &mut manifest.layers {
            if let Some(form) = forms.get(&layer.digest) {
                (layer.digest, layer.size) = (form.digest, form.size);
                layer.media_type.clone_from(&form.media_type);
                layer.annotations.extend(form.annotations.clone());
            }
        }
        let bytes = serde_json::to_vec(&manifest).map_err(PushError::Serialize)?;
        Ok(vec![Part::new(media::OCI_MANIFEST, bytes)])
    }
}

impl Destination<'_> {
    /// Lays out what the reference names.
    pub fn plan(&self) -> Result<Plan, PushError> {
        let named = self.store().database().read(|reader| self.named(reader))?;
        match (named.tagged, named.image) {
            (Some(record), image) if media::is_index(&record.media_type) => self.index(&record, image),
            (Some(record), image) => {
                let image = image.map(|image| image.id);
                self.as_they_are(vec![self.part(&record.digest, &record.media_type)?], image, 0)
            }
            (None, Some(image)) => self.image(&image, &named.known, 0),
            (None, None) => Err(self.not_here(named.has_others)),
        }
    }

    fn store(&self) -> &Store {
        self.images.store
    }

    fn not_here(&self, has_others: bool) -> PushError {
        match has_others {
            true => PushError::NoSuchTag(self.reference.familiar()),
            false => PushError::NoSuchRepository(self.reference.repository()),
        }
    }

    fn named(&self, reader: &Reader<'_>) -> Result<Named, DatabaseError> {
        let repository = self.reference.name();
        let tagged = match db::manifests::tagged(reader, self.reference)? {
            Some(digest) => db::manifests::get(reader, &repository, &digest)?,
            None => None,
        };
        let image = db::images::by_reference(reader, self.reference)?;
        let known = match &image {
            Some(image) => db::manifests::of_image(reader, &image.id)?,
            None => Vec::new(),
        };
        let has_others = tagged.is_none()
            && image.is_none()
            && db::images::references(reader)?.iter().any(|(other, _)| other.name() == repository);
        Ok(Named { tagged, image, known, has_others })
    }

    /// An image of this host.
    fn image(
        &self,
        image: &ImageRecord,
        known: &[ManifestRecord],
        left_out: usize,
    ) -> Result<Plan, PushError> {
        if let Platforms::One(wanted) = &self.options.platforms {
            self.check_platform(image, wanted)?;
        }
        let part = self.part(&image.manifest, media::OCI_MANIFEST)?;
        let Document::Manifest(manifest) = part.document()? else {
            return self.as_they_are(vec![part], Some(image.id), left_out);
        };
        let is_kept = self.options.compression == Compress::Usual && self.is_known(image, known)?;
        let method = self.method().filter(|_| !is_kept && manifest.layers.iter().any(is_uncompressed));
        let Some(method) = method else { return self.as_they_are(vec![part], Some(image.id), left_out) };
        let mut blobs = Vec::new();
        self.blobs(&manifest, Some(method), &mut blobs)?;
        Ok(Plan { blobs, image: Some(image.id), left_out, documents: Documents::Made(manifest) })
    }

    /// What becomes of uncompressed layers of images that were made here.
    fn method(&self) -> Option<(Method, i32)> {
        match self.options.compression {
            Compress::Never => None,
            Compress::With(method, level) => Some((method, level)),
            Compress::Usual => Some((Method::Gzip, Method::Gzip.default_level())),
        }
    }

    /// Lays out a manifest that was made for this push.
    pub fn made(&self, manifest: Manifest) -> Result<Plan, PushError> {
        let mut blobs = Vec::new();
        self.blobs(&manifest, self.method(), &mut blobs)?;
        Ok(Plan { blobs, image: None, left_out: 0, documents: Documents::Made(Box::new(manifest)) })
    }

    /// Whether a registry has the image by the digest of the manifest that is here.
    fn is_known(&self, image: &ImageRecord, known: &[ManifestRecord]) -> Result<bool, PushError> {
        for record in known {
            if record.digest == image.manifest {
                return Ok(true);
            }
            if media::is_index(&record.media_type)
                && let Document::Index(index) = self.part(&record.digest, &record.media_type)?.document()?
                && index.manifests.iter().any(|child| child.digest == image.manifest)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_platform(&self, image: &ImageRecord, wanted: &Platform) -> Result<(), PushError> {
        let bytes = self.store().blobs().read(&image.id)?;
        let offered: Platform = serde_json::from_slice(&bytes).map_err(PushError::Serialize)?;
        match wanted.rank(&offered) {
            Some(_) => Ok(()),
            None => Err(self.no_platform(wanted)),
        }
    }

    fn no_platform(&self, wanted: &Platform) -> PushError {
        PushError::Platform { reference: self.reference.familiar(), platform: wanted.to_string() }
    }

    /// Several images under one name.
    fn index(&self, record: &ManifestRecord, image: Option<ImageRecord>) -> Result<Plan, PushError> {
        let root = self.part(&record.digest, &record.media_type)?;
        let Document::Index(index) = root.document()? else {
            return self.as_they_are(vec![root], image.map(|image| image.id), 0);
        };
        let id = image.as_ref().map(|image| image.id);
        let mut here = Vec::new();
        for child in &index.manifests {
            here.extend(whole(self.store(), child)?.map(|parts| (child, parts)));
        }
        if let Platforms::One(wanted) = &self.options.platforms {
            let rank = |(child, _): &(&Descriptor, _)| wanted.rank(child.platform.as_ref()?);
            let best =
                here.into_iter().filter_map(|found| Some((rank(&found)?, found))).min_by_key(|(r, _)| *r);
            let (_, (_, parts)) = best.ok_or_else(|| self.no_platform(wanted))?;
            return self.as_they_are(parts, id, 0);
        }
        let left_out = index.manifests.iter().filter(|child| is_image(child)).count()
            - here.iter().filter(|(child, _)| is_image(child)).count();
        if here.len() == index.manifests.len() {
            let parts = here.into_iter().flat_map(|(_, parts)| parts).chain([root]).collect();
            return self.as_they_are(parts, id, 0);
        }
        match (&self.options.platforms, image) {
            (Platforms::All, _) if here.iter().any(|(child, _)| is_image(child)) => {
                let kept = here.iter().map(|(child, _)| (*child).clone()).collect();
                let index = Index { manifests: kept, ..index.clone() };
                let bytes = serde_json::to_vec(&index).map_err(PushError::Serialize)?;
                let root = Part::new(&record.media_type, bytes);
                let parts = here.into_iter().flat_map(|(_, parts)| parts).chain([root]).collect();
                self.as_they_are(parts, id, left_out)
            }
            (Platforms::Usual, Some(image)) => self.image(&image, std::slice::from_ref(record), left_out),
            _ => Err(PushError::Incomplete(self.reference.familiar())),
        }
    }

    /// A plan for documents that nothing is changed in.
    fn as_they_are(
        &self,
        parts: Vec<Part>,
        image: Option<Digest>,
        left_out: usize,
    ) -> Result<Plan, PushError> {
        let mut blobs = Vec::new();
        for part in &parts {
            if let Document::Manifest(manifest) = part.document()? {
                self.blobs(&manifest, None, &mut blobs)?;
            }
        }
        Ok(Plan { blobs, image, left_out, documents: Documents::Ready(parts) })
    }

    /// Adds the blobs that a manifest needs and that are not there yet.
    fn blobs(
        &self,
        manifest: &Manifest,
        method: Option<(Method, i32)>,
        blobs: &mut Vec<Blob>,
    ) -> Result<(), PushError> {
        let mut seen: HashSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        self.store().database().read(|reader| {
            for layer in manifest.layers.iter().rev().filter(|layer| seen.insert(layer.digest)) {
                let diff_id = db::layers::by_blob(reader, &layer.digest)?.map(|record| record.diff_id);
                let role = match method {
                    Some((method, level)) if is_uncompressed(layer) => {
                        // An uncompressed layer's digest is its diffID.
                        let diff_id = DiffId(layer.digest);
                        let known = compressed_layers::get(reader, &diff_id, method.name(), level)?;
                        Role::Compressed { method, level, known }
                    }
                    _ => Role::Layer,
                };
                blobs.push(Blob { digest: layer.digest, size: layer.size, diff_id, role });
            }
            Ok::<_, DatabaseError>(())
        })?;
        let Descriptor { digest, size, .. } = manifest.config;
        if seen.insert(digest) {
            blobs.push(Blob { digest, size, diff_id: None, role: Role::Config });
        }
        match blobs.iter().find(|blob| !self.store().blobs().contains(&blob.digest)) {
            Some(missing) => Err(StoreError::Missing(missing.digest).into()),
            None => Ok(()),
        }
    }

    fn part(&self, digest: &Digest, media_type: &str) -> Result<Part, PushError> {
        // The manifests of images are rows without a media type.
        Ok(Part::read(self.store(), digest, media_type)?)
    }
}

/// What the database has under a reference.
struct Named {
    /// An index, or something that is no image of this host's.
    tagged: Option<ManifestRecord>,
    image: Option<ImageRecord>,
    /// By which manifests registries have the image.
    known: Vec<ManifestRecord>,
    /// Whether the repository has other tags.
    has_others: bool,
}

fn is_uncompressed(layer: &Descriptor) -> bool {
    matches!(&*layer.media_type, media::OCI_LAYER | media::DOCKER_LAYER)
}

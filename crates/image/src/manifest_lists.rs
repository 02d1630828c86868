//! Lists of manifests that users put together of images at registries, as Docker's `manifest` commands do.
//!
//! A list is a draft in the user's own files ([`drafts`]) until it is pushed; the store has nothing to do with it. Its first
//! manifest decides whether it becomes an OCI index or Docker's manifest list, as it does for Docker's client; and its bytes are
//! those that client makes: a draft has the same digest whoever pushes it.

mod drafts;
mod error;

use oci::image::{Document, Manifest, Platform};
use oci::{Digest, Reference, media};
use registry::{Client, RegistryError};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::copy::repository::Repository;
use crate::copy::{self, CopyError, Source as _};
use crate::documents::Part;

pub use drafts::{ListEntry, ManifestLists};
pub use error::ManifestListError;

/// What a name stands for, with all that is known of its manifests.
#[derive(Debug)]
pub enum Listed {
    Manifest(Box<ListEntry>),
    List(Vec<ListEntry>),
}

/// What a push of a list ended with.
#[derive(Debug)]
pub struct PushedList {
    /// The manifests that were brought there from other repositories of the registry.
    pub brought: Vec<Reference>,
    pub digest: Digest,
}

impl ManifestLists {
    /// Begins the list `list` of what `manifests` name at their registries; with `amend` it may exist, and they are added to it.
    ///
    /// A manifest that the list has already stays as it was annotated.
    ///
    /// # Errors
    /// [`ManifestListError`]; the list is as it was when one of `manifests` is not to be had.
    pub fn create(
        &self,
        client: &Client,
        list: &Reference,
        manifests: &[Reference],
        amend: bool,
    ) -> Result<(), ManifestListError> {
        check_name(list)?;
        let is_new = !self.contains(list);
        if !is_new && !amend {
            return Err(ManifestListError::Exists(list.familiar()));
        }
        let mut fetched = Vec::new();
        for manifest in manifests {
            match self.get(list, manifest) {
                Err(ManifestListError::NoSuchDraft(_)) => fetched.push(fetch(client, manifest)?),
                known => drop(known?),
            }
        }
        let saved = fetched.iter().try_for_each(|entry| self.save(list, entry));
        if saved.is_err() && is_new {
            let _ = self.remove(list);
        }
        saved
    }

    /// The media type and the bytes of what `name` stands for: the draft of that name as it would be pushed, or else what the
    /// registry has.
    ///
    /// # Errors
    /// [`ManifestListError`].
    pub fn document(
        &self,
        client: &Client,
        name: &Reference,
    ) -> Result<(String, Vec<u8>), ManifestListError> {
        let Part { descriptor, bytes } = match self.list(name) {
            Err(ManifestListError::NoSuchDraft(_)) => root(client, name)?,
            entries => draw_up(name, &entries?)?,
        };
        Ok((descriptor.media_type, bytes))
    }

    /// The manifests of what `name` stands for, as [`ManifestLists::document`] finds it.
    ///
    /// # Errors
    /// [`ManifestListError`].
    pub fn entries(&self, client: &Client, name: &Reference) -> Result<Listed, ManifestListError> {
        match self.list(name) {
            Err(ManifestListError::NoSuchDraft(_)) => {}
            entries => return Ok(Listed::List(entries?)),
        }
        let part = root(client, name)?;
        let Document::Index(index) = copy::parsed(&part)? else {
            return Ok(Listed::Manifest(Box::new(of_image(client, name, part)?)));
        };
        let repository = Repository { client, reference: name };
        let mut entries = Vec::new();
        for child in &index.manifests {
            let part = repository.document(child)?;
            let reference = name.at_digest(child.digest);
            if media::is_index(&part.descriptor.media_type) {
                return Err(ManifestListError::IsList(reference.canonical()));
            }
            entries.push(ListEntry::new(reference, part, child.platform.clone())?);
        }
        Ok(Listed::List(entries))
    }

    /// Uploads the draft `list` to its registry, with the manifests that it has from other repositories there and their blobs;
    /// these are mounted, or copied when the registry does not do that.
    ///
    /// # Errors
    /// [`ManifestListError`]; the name then stands for what it stood for before.
    pub fn push(&self, client: &Client, list: &Reference) -> Result<PushedList, ManifestListError> {
        check_name(list)?;
        let entries = self.list(list)?;
        for entry in &entries {
            let platform = entry.descriptor.platform.as_ref();
            if platform.is_none_or(|platform| platform.os.is_empty() || platform.architecture.is_empty()) {
                return Err(ManifestListError::NoPlatform(entry.reference.canonical()));
            }
        }
        let part = draw_up(list, &entries)?;
        let mut brought = Vec::new();
        for entry in entries.iter().filter(|entry| entry.reference.path() != list.path()) {
            let digest = entry.descriptor.digest;
            let (from, to) = (entry.reference.with_digest(digest), list.with_digest(digest));
            copy::manifest(client, (&from, &to), &entry.part())?;
            brought.push(to);
        }
        let digest = client.push_manifest(list, &part.descriptor.media_type, &part.bytes)?;
        Ok(PushedList { brought, digest })
    }
}

fn check_name(list: &Reference) -> Result<(), ManifestListError> {
    match list.digest() {
        Some(_) => Err(ManifestListError::Digest(list.familiar())),
        None => Ok(()),
    }
}

/// What the registry has under a name.
fn root(client: &Client, reference: &Reference) -> Result<Part, ManifestListError> {
    Repository { client, reference }.root().map_err(|error| match error {
        CopyError::Registry(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
            ManifestListError::Unknown(reference.canonical())
        }
        error => error.into(),
    })
}

fn fetch(client: &Client, reference: &Reference) -> Result<ListEntry, ManifestListError> {
    of_image(client, reference, root(client, reference)?)
}

/// The manifest of one image, which is for what its config says.
fn of_image(client: &Client, reference: &Reference, part: Part) -> Result<ListEntry, ManifestListError> {
    let Document::Manifest(manifest) = copy::parsed(&part)? else {
        return Err(ManifestListError::IsList(reference.canonical()));
    };
    let platform = platform(&Repository { client, reference }, &manifest)?;
    ListEntry::new(reference.clone(), part, Some(platform))
}

fn platform(repository: &Repository<'_>, manifest: &Manifest) -> Result<Platform, ManifestListError> {
    let digest = manifest.config.digest;
    let config = copy::small_blob(repository, &manifest.config)?;
    let platform: Platform =
        serde_json::from_slice(&config).map_err(|source| ManifestListError::Config { digest, source })?;
    // What else a config says is not about its platform.
    Ok(Platform { extra: Default::default(), ..platform })
}

/// The document that stands for `entries` in the repository of `list`: byte for byte what Docker's client makes of them.
fn draw_up(list: &Reference, entries: &[ListEntry]) -> Result<Part, ManifestListError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        schema_version: u32,
        media_type: &'a str,
        manifests: Vec<Item<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        media_type: &'a str,
        size: u64,
        digest: &'a Digest,
        platform: Platform,
    }
    let Some(first) = entries.first() else { return Err(ManifestListError::Empty(list.canonical())) };
    if let Some(entry) = entries.iter().find(|entry| entry.reference.domain() != list.domain()) {
        let (theirs, ours) = (entry.reference.domain().to_owned(), list.domain().to_owned());
        return Err(ManifestListError::OtherRegistry { theirs, ours });
    }
    let is_oci = first.descriptor.media_type == media::OCI_MANIFEST;
    let media_type = if is_oci { media::OCI_INDEX } else { media::DOCKER_INDEX };
    let manifests = entries.iter().map(|entry| Item {
        media_type: &entry.descriptor.media_type,
        size: entry.descriptor.size,
        digest: &entry.descriptor.digest,
        platform: entry.descriptor.platform.clone().unwrap_or_default(),
    });
    let list = List { schema_version: 2, media_type, manifests: manifests.collect() };
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"   ");
    list.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(ManifestListError::Serialize)?;
    Ok(Part::new(media_type, bytes))
}

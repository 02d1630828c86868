//! Untagging, removing and pruning images, in Docker's order of questions and with its words.

use std::collections::HashSet;
use std::path::PathBuf;

use diag::{Class, Diagnose};
use oci::{ChainId, DiffId, Digest, Reference, chain_id};
use store::db::images::ImageRecord;
use store::db::{self, Reader, Writer};
use store::{Collected, DatabaseError, Durability, StoreError};

use crate::images::{digests, find};
use crate::{Images, ListedImage, ResolveError};

/// How an image is removed.
pub struct RemoveOptions<'a> {
    /// Removes references although stopped containers use the image, or several references name it.
    pub force: bool,
    /// Whether a container (by id) is running now.
    pub is_running: &'a dyn Fn(&str) -> bool,
    /// Where an image is mounted.
    pub mounted_at: &'a dyn Fn(&Digest) -> Option<PathBuf>,
}

/// One line of what `rmi` reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name of the image with this id.
    Untagged(Reference, Digest),
    /// An image.
    Deleted(Digest),
    /// After it, one of its layers that no other image has, by chainID, topmost first.
    DeletedLayer(Digest),
}

/// What a prune removed, and the bytes it gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    pub reclaimed_bytes: u64,
}

/// An image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - \
         container {container} is using its referenced image {image}"
    )]
    ReferenceInUse { reference: String, container: String, image: String },
    #[error("conflict: unable to delete {image} ({}) - {reason}", if *.hard { "cannot be forced" } else { "must be forced" })]
    InUse { image: String, hard: bool, reason: String },
    #[error("conflict: unable to delete {image} - image is mounted at {}", path.display())]
    Mounted { image: String, path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for RemoveError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for RemoveError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(e) => e.class(),
            Self::ReferenceInUse { .. } | Self::InUse { .. } | Self::Mounted { .. } => Class::Conflict,
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(e) => e.hint(),
            Self::ReferenceInUse { .. } => {
                Some("remove the container first, or untag anyway with `hull rmi -f`".to_owned())
            }
            Self::Mounted { image, .. } => Some(format!("unmount it first: `hull image unmount {image}`")),
            Self::InUse { hard: true, .. } => Some("stop and remove the container first".to_owned()),
            Self::InUse { hard: false, .. } => Some("remove it anyway with `hull rmi -f`".to_owned()),
            Self::Store(e) => e.hint(),
        }
    }
}

impl Images<'_> {
    /// Removes a reference, and with its last one the image; or an image by id, with its reference.
    ///
    /// Content that nothing else uses is collected at once, unless somebody is making content right now: then a later command
    /// does it.
    ///
    /// # Errors
    /// [`RemoveError`]; nothing was changed then.
    pub fn remove(&self, name: &str, options: &RemoveOptions<'_>) -> Result<Vec<Removed>, RemoveError> {
        let removed = self.store.release(Durability::Full, |writer| {
            let image = find(writer, name)?;
            let mut removal = Removal { writer, options, image: &image, removed: Vec::new() };
            removal.run(name)?;
            Ok::<_, RemoveError>(removal.removed)
        })?;
        self.collect()?.finish();
        Ok(removed)
    }

    /// Removes the images that `select` chooses among those without reference and container, or with `all` among those
    /// without container. One that is mounted stays.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn prune(
        &self,
        all: bool,
        select: &dyn Fn(&ListedImage) -> bool,
        mounted_at: &dyn Fn(&Digest) -> Option<PathBuf>,
    ) -> Result<Pruned, RemoveError> {
        let candidates: Vec<Digest> = self
            .list()?
            .iter()
            .filter(|image| (all || image.references.is_empty()) && select(image))
            .map(|image| image.record.id)
            .collect();
        let removed = self.store.release(Durability::Full, |writer| {
            let mut removed = Vec::new();
            for id in &candidates {
                let Some(image) = db::images::get(writer, id)? else { continue };
                // Tagged or used since it was listed.
                let references = db::images::references_of(writer, id)?;
                let is_used =
                    !db::containers::using_image(writer, id)?.is_empty() || mounted_at(id).is_some();
                if is_used || !(all || references.is_empty()) {
                    continue;
                }
                let names = [references, digests(writer, id)?].concat();
                removed.extend(delete(writer, &image, names)?);
            }
            Ok::<_, RemoveError>(removed)
        })?;
        let partial_bytes = if all { self.discard_partials()? } else { 0 };
        let collected = self.collect()?;
        let reclaimed_bytes = collected.disk_bytes() + partial_bytes;
        collected.finish();
        Ok(Pruned { removed, reclaimed_bytes })
    }

    /// Gives up what interrupted pulls could go on with, unless somebody is pulling.
    fn discard_partials(&self) -> Result<u64, StoreError> {
        let lock = self.store.try_lock_exclusive()?;
        Ok(lock.map_or(0, |lock| self.store.discard_partials(&lock)))
    }

    /// Takes content away that nothing uses, unless somebody is making some. Deleting the trees takes time and needs no lock:
    /// they are out of sight.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn collect(&self) -> Result<Collected, StoreError> {
        let lock = self.store.try_lock_exclusive()?;
        lock.map_or_else(|| Ok(Collected::default()), |lock| self.store.collect(&lock))
    }
}

/// Removes the reference `name`, which `image` has, and the image with its last one.
pub(crate) fn remove_reference(
    writer: &Writer<'_>,
    image: &ImageRecord,
    name: &Reference,
    options: &RemoveOptions<'_>,
) -> Result<(), RemoveError> {
    Removal { writer, options, image, removed: Vec::new() }.run(&name.canonical())
}

struct Removal<'a> {
    writer: &'a Writer<'a>,
    options: &'a RemoveOptions<'a>,
    image: &'a ImageRecord,
    removed: Vec<Removed>,
}

impl Removal<'_> {
    fn run(&mut self, name: &str) -> Result<(), RemoveError> {
        let references = db::images::references_of(self.writer, &self.image.id)?;
        let containers = db::containers::using_image(self.writer, &self.image.id)?;
        let named_by_id = self.image.id.hex().starts_with(name.strip_prefix("sha256:").unwrap_or(name))
            && !references.iter().any(|r| Reference::parse(name).is_ok_and(|named| named == *r));
        let names = [references, digests(self.writer, &self.image.id)?].concat();
        let mounted_at = (self.options.mounted_at)(&self.image.id);
        if let Some(path) = mounted_at.filter(|_| named_by_id || is_single(&names)) {
            return Err(RemoveError::Mounted { image: name.to_owned(), path });
        }
        let mut left = names.clone();
        if !named_by_id {
            let reference = Reference::parse(name).map_err(ResolveError::from)?.pullable();
            if let (true, false, [container, ..]) = (is_single(&names), self.options.force, &*containers) {
                return Err(RemoveError::ReferenceInUse {
                    reference: name.to_owned(),
                    container: short(container),
                    image: self.image.id.short(),
                });
            }
            left = self.untag(&reference, names)?;
            if !left.is_empty() {
                return Ok(());
            }
            // The name is gone, as asked; whoever uses the image keeps it without one.
            if containers.iter().any(|id| (self.options.is_running)(id)) {
                return Ok(());
            }
        } else {
            self.check_conflicts(&names, &containers)?;
        }
        self.removed.extend(delete(self.writer, self.image, left)?);
        Ok(())
    }

    /// Takes one name from the image, and with the last tag of a repository its digests there; returns the other names.
    fn untag(
        &mut self,
        reference: &Reference,
        names: Vec<Reference>,
    ) -> Result<Vec<Reference>, DatabaseError> {
        let same = |name: &Reference| name.name() == reference.name();
        let is_tag = |name: &&Reference| name.digest().is_none();
        let is_last = reference.digest().is_none()
            && !names.iter().filter(is_tag).any(|name| same(name) && name != reference);
        let goes = |name: &Reference| name == reference || is_last && same(name) && name.digest().is_some();
        let (mut gone, left): (Vec<_>, Vec<_>) = names.into_iter().partition(goes);
        if gone.is_empty() {
            // A digest under which no repository is known to have it.
            gone.push(reference.clone());
        }
        for name in gone {
            match name.digest() {
                Some(digest) => drop(db::manifests::remove(self.writer, &name.name(), digest)?),
                None => drop(db::images::untag(self.writer, &name)?),
            }
            self.removed.push(Removed::Untagged(name, self.image.id));
        }
        Ok(left)
    }

    fn check_conflicts(&self, names: &[Reference], containers: &[String]) -> Result<(), RemoveError> {
        let conflict = |hard, reason| Err(RemoveError::InUse { image: self.image.id.short(), hard, reason });
        if let Some(running) = containers.iter().find(|id| (self.options.is_running)(id)) {
            return conflict(true, format!("image is being used by running container {}", short(running)));
        }
        if self.options.force {
            return Ok(());
        }
        // Several tags of one repository count as several references, too: only one tag may go without being named.
        if !is_single(names) {
            return conflict(false, "image is referenced in multiple repositories".to_owned());
        }
        if let Some(stopped) = containers.first() {
            return conflict(false, format!("image is being used by stopped container {}", short(stopped)));
        }
        Ok(())
    }
}

/// Whether names are one tag at most, and digests of its repository.
fn is_single(names: &[Reference]) -> bool {
    let (digests, tags): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.digest().is_some());
    let Some(name) = names.first() else { return true };
    tags.len() <= 1 && digests.iter().all(|digest| digest.name() == tags.first().unwrap_or(&name).name())
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Deletes the rows of an image and lists what that means, without looking at conflicts.
pub(crate) fn delete(
    writer: &Writer<'_>,
    image: &ImageRecord,
    references: Vec<Reference>,
) -> Result<Vec<Removed>, DatabaseError> {
    let untagged = |name| Removed::Untagged(name, image.id);
    let mut removed: Vec<_> = references.into_iter().map(untagged).collect();
    db::images::remove(writer, &image.id)?;
    removed.push(Removed::Deleted(image.id));
    let kept = chains_in_use(writer)?;
    let chains = chains(&image.layers);
    removed.extend(chains.filter(|chain| !kept.contains(chain)).map(|chain| Removed::DeletedLayer(chain.0)));
    Ok(removed)
}

fn chains_in_use(reader: &Reader<'_>) -> Result<HashSet<ChainId>, DatabaseError> {
    let images = db::images::list(reader)?.into_iter().map(|image| image.layers);
    let containers = db::containers::list(reader)?.into_iter().map(|container| container.layers);
    Ok(images.chain(containers).flat_map(|layers| chains(&layers).collect::<Vec<_>>()).collect())
}

/// The chainIDs of a stack of layers, topmost first.
fn chains(layers: &[DiffId]) -> impl Iterator<Item = ChainId> {
    (1..=layers.len()).rev().filter_map(|count| chain_id(&layers[..count]))
}

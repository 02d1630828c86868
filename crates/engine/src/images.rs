//! Images as users list and inspect them.

use crate::engine::{Engine, INHERITED_FD};
use crate::events;
use crate::image_mounts::mounted_at;
use crate::list::ListError;
use crate::model::{Filters, FiltersError, ImageInspect, ImageSummary, ListOptions};
use crate::rootfs;
use diag::{Class, Diagnose};
use image::{
    Copied, CopyError, CopyOptions, Image, ImportError, ImportOptions, ListedImage, LoadError, Loaded, Place,
    PlatformImage, PullError, PullOptions, PullPolicy, Pulled, PushError, PushOptions, Pushed, Registries,
    Removed, ResolveError, SaveError, SaveOptions,
};
use oci::image::Platform;
use oci::{Digest, Reference};
use registry::{Client, ClientOptions, Credentials, Found, RegistryError};
use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use store::db::images::{self, ImageRecord};
use store::db::manifests::ManifestRecord;
use store::db::{containers, layers, manifests, unsettled};
use store::{DatabaseError, Roots, Store, StoreError};
use sys::fs::{FileLock, LockKind, OFlags};

/// Why images could not be listed or inspected.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImagesError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Filter(#[from] FiltersError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Remove(#[from] image::RemoveError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Read(#[from] image::ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for ImagesError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(error) => error.class(),
            Self::Filter(error) => error.class(),
            Self::Database(error) => error.class(),
            Self::List(error) => error.class(),
            Self::Remove(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Read(_) => Class::Internal,
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint(),
            Self::Filter(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::List(error) => error.hint(),
            Self::Remove(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Read(_) => None,
            Self::Store(error) => error.hint(),
        }
    }
}

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];

impl Engine {
    /// The images that match, newest first; `name` narrows them to one repository or reference.
    ///
    /// # Errors
    /// [`ImagesError`].
    pub fn image_list(
        &self,
        name: Option<&str>,
        filters: &Filters,
    ) -> Result<Vec<ImageSummary>, ImagesError> {
        filters.allow(FILTERS)?;
        let dangling = filters.flag("dangling")?;
        let time = |key: &str| match filters.values(key).first() {
            Some(name) => self.images().resolve(name).map(|image| Some(image.created_ns)),
            None => Ok(None),
        };
        let (before, since) = (time("before")?, time("since")?);
        let until = filters.values("until").first().map(|text| {
            crate::parse::timestamp_ns(text, crate::time::now_ns())
                .map_err(|_| FiltersError::BadValue { key: "until".into(), value: text.clone() })
        });
        let until = until.transpose()?;
        let mut found = Vec::new();
        for image in self.images().list()? {
            let mut summary = self.image_summary(&image)?;
            let created_ns = summary.created_ns;
            let shown = dangling.is_none_or(|wanted| wanted == summary.tags.is_empty())
                && before.is_none_or(|before| created_ns < before)
                && since.is_none_or(|since| created_ns > since)
                && until.is_none_or(|until| created_ns < until)
                && filters.labels(&summary.labels);
            if !shown {
                continue;
            }
            if let Some(name) = name {
                summary.tags.retain(|tag| names_match(tag, name));
            }
            if filters.has("reference") {
                summary.tags.retain(|tag| filters.any("reference", |pattern| pattern_matches(tag, pattern)));
            }
            if (name.is_some() || filters.has("reference")) && summary.tags.is_empty() {
                continue;
            }
            found.push(summary);
        }
        found.sort_by_key(|summary| std::cmp::Reverse(summary.created_ns));
        Ok(found)
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// [`ImagesError::Resolve`].
    pub fn image_inspect(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<ImageInspect, ImagesError> {
        let listed = self.images().look_up(name)?;
        let summary = self.image_summary(&listed)?;
        let image = listed.image()?.for_platform(name, platform)?;
        let manifest = self.images().descriptor(&image)?;
        Ok(ImageInspect {
            summary,
            manifest,
            layers: self.store().snapshots().lower_dirs(&image.diff_ids),
            config: image.config,
        })
    }

    /// What the names of an image stand for, one image for each platform.
    ///
    /// # Errors
    /// [`ImagesError`].
    pub fn image_platforms(&self, name: &str) -> Result<Vec<PlatformImage>, ImagesError> {
        let listed = self.images().look_up(name)?;
        Ok(self.images().platforms(&listed)?)
    }

    /// Untags or removes an image; what happened, one line each, as `rmi` prints it.
    ///
    /// # Errors
    /// [`ImagesError::Remove`].
    pub fn image_remove(&self, name: &str, force: bool) -> Result<Vec<Removed>, ImagesError> {
        // Asked before: within the removal's transaction the database cannot be read a second time.
        let running = self.list(&ListOptions::default())?;
        let running: HashSet<String> = running.into_iter().map(|summary| summary.id.to_string()).collect();
        let is_running = |id: &str| running.contains(id);
        let mounted_at = |id: &Digest| mounted_at(self.instance(), id);
        let options = image::RemoveOptions { force, is_running: &is_running, mounted_at: &mounted_at };
        let removed = self.images().remove(name, &options)?;
        self.tell_of_removal(&removed);
        Ok(removed)
    }

    /// Tells of names and images that have gone.
    pub(crate) fn tell_of_removal(&self, removed: &[Removed]) {
        for line in removed {
            let (action, id) = match line {
                Removed::Untagged(_, image) => ("untag", image),
                Removed::Deleted(image) => ("delete", image),
                Removed::DeletedLayer(_) => continue,
            };
            let id = id.to_string();
            self.emit(&events::image(&id, &id, action));
        }
    }

    /// The client for registries, made at the first call.
    ///
    /// # Errors
    /// [`RegistryError::Setup`].
    pub fn registry(&self) -> Result<&Client, RegistryError> {
        if self.registry.get().is_none() {
            let _ = self.registry.set(Client::new(ClientOptions::from_environment())?);
        }
        Ok(self.registry.get().expect("it was just set"))
    }

    /// A client for registries that shows them `credentials` and nobody else's.
    ///
    /// # Errors
    /// [`RegistryError::Setup`].
    pub fn registry_with(&self, credentials: Arc<dyn Credentials>) -> Result<Client, RegistryError> {
        Client::new(ClientOptions { credentials, ..ClientOptions::from_environment() })
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn image_pull(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Pulled, PullError> {
        let pulled = self.images().pull(client, reference, options)?;
        self.pulled(reference);
        Ok(pulled)
    }

    /// Gives the registry of `reference` what it names here.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn image_push(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        let pushed = self.images().push(client, reference, options)?;
        let name = reference.familiar();
        self.emit(&events::image(&name, &name, "push"));
        Ok(pushed)
    }

    /// Gives the image `source` another reference, away from any image that has it.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn image_tag(&self, source: &str, target: &Reference) -> Result<(), ResolveError> {
        let id = self.images().tag(source, target)?;
        self.emit(&events::image(&id.to_string(), &target.familiar(), "tag"));
        Ok(())
    }

    /// Loads the images of an archive: of several platforms' the one for `platform`, or else this host's.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left then.
    pub fn image_load(
        &self,
        input: &mut (dyn Read + Send),
        platform: Option<&Platform>,
    ) -> Result<Vec<Loaded>, LoadError> {
        let loaded = self.images().load(input, platform)?;
        self.settle();
        for image in &loaded {
            let id = image.image.to_string();
            self.emit(&events::image(&id, &id, "load"));
        }
        Ok(loaded)
    }

    /// Makes an image of the tar archive `input`.
    ///
    /// # Errors
    /// [`ImportError`]; nothing is left then.
    pub fn image_import(
        &self,
        input: &mut (dyn Read + Send),
        options: &ImportOptions,
    ) -> Result<Image, ImportError> {
        let image = self.images().import(input, options)?;
        let id = image.id.to_string();
        self.emit(&events::image(&id, &id, "import"));
        Ok(image)
    }

    /// Writes the images `names` to `output` as an archive.
    ///
    /// # Errors
    /// [`SaveError`]; what was written until then is not an archive.
    pub fn image_save(
        &self,
        names: &[String],
        output: impl Write,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        self.images().save(names, output, options)?;
        names.iter().for_each(|name| self.emit(&events::image(name, name, "save")));
        Ok(())
    }

    /// Writes the images `names` to an OCI layout in `directory`.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn image_save_layout(
        &self,
        names: &[String],
        directory: &Path,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        self.images().save_layout(names, directory, options)?;
        names.iter().for_each(|name| self.emit(&events::image(name, name, "save")));
        Ok(())
    }

    /// Copies what `from` stands for to `to`. What comes here is loaded, and what goes from here is saved, as events have it.
    ///
    /// # Errors
    /// [`CopyError`]; the name `to` then stands for what it stood for before.
    pub fn image_copy(
        &self,
        client: &Client,
        (from, to): (&Place, &Place),
        options: &CopyOptions,
    ) -> Result<Copied, CopyError> {
        let copied = self.images().copy(client, (from, to), options)?;
        if let Place::Local(name) = from {
            self.emit(&events::image(name, name, "save"));
        }
        if let Place::Local(name) = to {
            self.settle();
            // Somebody may have removed it since.
            let id = self.images().look_up(name).map_or_else(|_| name.clone(), |it| it.record.id.to_string());
            self.emit(&events::image(&id, &id, "load"));
        }
        Ok(copied)
    }

    /// What a registry's index, Docker Hub's unless `term` begins with another one, finds for `term`: the most starred first.
    ///
    /// # Errors
    /// [`ImagesError::Filter`] and [`ImagesError::Registry`].
    pub fn image_search(
        &self,
        client: &Client,
        term: &str,
        limit: u32,
        filters: &Filters,
    ) -> Result<Vec<Found>, ImagesError> {
        filters.allow(&["is-automated", "is-official", "stars"])?;
        let (official, automated) = (filters.flag("is-official")?, filters.flag("is-automated")?);
        let bad = |value: &String| FiltersError::BadValue { key: "stars".to_owned(), value: value.clone() };
        let stars = filters.values("stars").iter().map(|value| value.parse::<u64>().map_err(|_| bad(value)));
        let stars = stars.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
        let mut found = client.search(term, limit)?;
        found.retain(|found| {
            official.is_none_or(|official| found.is_official == official)
                && automated.is_none_or(|automated| found.is_automated == automated)
                && found.star_count >= stars
        });
        found.sort_by_key(|found| std::cmp::Reverse(found.star_count));
        Ok(found)
    }

    /// The image a container or a build needs, pulled first where `policy` says so.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn image_ensure(
        &self,
        name: &str,
        policy: PullPolicy,
        options: &PullOptions,
    ) -> Result<Image, PullError> {
        self.images().ensure(self, name, policy, options)
    }

    /// Has a process of its own bring to the disk what is only complete yet: see [`store::db::unsettled`].
    fn settle(&self) {
        if self.store().database().read(unsettled::any).is_ok_and(|any| any) {
            // Where it cannot be started, the next sync of anybody's does it.
            let _ = self.start_settling();
        }
    }

    fn start_settling(&self) -> io::Result<()> {
        let lock = FileLock::acquire(settle_lock(self.store()), LockKind::Shared)?;
        let roots = self.store().roots();
        let args = ["settle".as_ref(), roots.data.as_os_str(), roots.run.as_os_str()];
        self.spawn_hidden(&args, &[lock.as_fd()])?;
        lock.leave();
        Ok(())
    }

    /// Bytes that each image, by its id, has in common with others.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn image_shared_bytes(&self) -> Result<HashMap<String, u64>, DatabaseError> {
        let (images, rows) = self
            .store()
            .database()
            .read(|reader| Ok::<_, DatabaseError>((images::list(reader)?, layers::list(reader)?)))?;
        let sizes: HashMap<_, _> = rows.into_iter().map(|row| (row.diff_id, row.size)).collect();
        let mut users: HashMap<_, usize> = HashMap::new();
        for layer in images.iter().flat_map(|image| image.layers.iter().collect::<HashSet<_>>()) {
            *users.entry(*layer).or_default() += 1;
        }
        let shared = |image: &ImageRecord| {
            let layers: HashSet<_> = image.layers.iter().filter(|layer| users[layer] > 1).collect();
            layers.into_iter().filter_map(|layer| sizes.get(layer)).sum()
        };
        Ok(images.iter().map(|image| (image.id.to_string(), shared(image))).collect())
    }

    /// The files of an image, to be read: an open directory that nothing can be written to.
    ///
    /// # Errors
    /// They cannot be mounted; also for an image without any.
    pub fn image_root(&self, image: &Image) -> io::Result<OwnedFd> {
        let root = rootfs::read_only(self.store(), &image.diff_ids)?;
        // A new mount's descriptor stands for a place only; files are read through an open directory.
        sys::fs::open_in_root(&root, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)
    }

    fn image_summary(&self, image: &ListedImage) -> Result<ImageSummary, DatabaseError> {
        let ListedImage { record, references, config } = image;
        let (containers, manifests) = self.store().database().read(|reader| {
            let containers = containers::using_image(reader, &record.id)?;
            Ok::<_, DatabaseError>((containers, manifests::of_image(reader, &record.id)?))
        })?;
        Ok(ImageSummary {
            id: record.id.to_string(),
            tags: references.iter().map(Reference::familiar).collect(),
            digests: manifests.iter().filter_map(repository_digest).collect(),
            created_ns: record.created_ns,
            size_bytes: record.size,
            labels: config.as_ref().map(|config| config.config.labels.clone()).unwrap_or_default(),
            containers,
            damage: config.as_ref().err().map(damage),
        })
    }
}

/// What is wrong with a damaged image, in one line.
pub(crate) fn damage(error: &ResolveError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A lock that is held by whoever syncs.
pub(crate) fn settle_lock(store: &Store) -> PathBuf {
    store.run().join("settle.lock")
}

/// The hidden command `settle`; `args` are those after its name: data root and run root.
pub fn settle_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(data), Some(run), None) = (args.next(), args.next(), args.next()) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let Ok(_lock) = sys::spawn::claim_inherited(INHERITED_FD) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let settled = Store::reopen(&Roots::new(data, run)).settle();
    if settled.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `repository@digest`, as Docker shows it.
fn repository_digest(record: &ManifestRecord) -> Option<String> {
    let repository = Reference::parse(&record.repository).ok()?;
    Some(repository.with_digest(record.digest).familiar())
}

impl Registries for Engine {
    fn client(&self) -> Result<Client, RegistryError> {
        self.registry().cloned()
    }

    fn pulled(&self, reference: &Reference) {
        let name = reference.familiar();
        self.emit(&events::image(&name, &name, "pull"));
        self.settle();
    }
}

/// Whether `tag` (`repository:tag`) is `name` or in the repository `name`.
fn names_match(tag: &str, name: &str) -> bool {
    tag == name || tag.rsplit_once(':').is_some_and(|(repository, _)| repository == name)
}

/// `reference=`: a shell pattern with `*` and `?` that does not cross slashes, over the name with or without its tag.
fn pattern_matches(tag: &str, pattern: &str) -> bool {
    let repository = tag.rsplit_once(':').map_or(tag, |(repository, _)| repository);
    glob(pattern.as_bytes(), tag.as_bytes()) || glob(pattern.as_bytes(), repository.as_bytes())
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            let reach = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=reach).any(|skipped| glob(rest, &text[skipped..]))
        }
        (Some((b'?', rest)), Some((byte, text))) if *byte != b'/' => glob(rest, text),
        (Some((expected, rest)), Some((byte, text))) if expected == byte => glob(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_patterns() {
        assert!(
            pattern_matches("busybox:latest", "busybox") && pattern_matches("busybox:latest", "busy*:l*")
        );
        assert!(pattern_matches("a/b:1", "a/*") && !pattern_matches("a/b:1", "*"));
        assert!(names_match("a:1", "a") && names_match("a:1", "a:1") && !names_match("ab:1", "a"));
    }
}

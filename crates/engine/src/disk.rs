//! What is on the disk, and giving it back.

use crate::engine::Engine;
use crate::events;
use crate::image_mounts::mounted_at;
use crate::images::{ImagesError, damage};
use crate::list::ListError;
use crate::model::{DiskUsage, Filters, FiltersError, ListOptions, Pruned, RemoveOptions, UsageItem};
use crate::parse;
use crate::remove::RemoveError;
use crate::time::now_ns;
use crate::volume::VolumeError;
use diag::{Class, Diagnose};
use image::{ListedImage, Removed};
use oci::{DiffId, Digest};
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use store::db::build_cache::CacheRecord;
use store::db::{build_cache, images};
use store::{ContentBytes, DatabaseError, Durability, StoreError, disk_bytes, disk_bytes_in};

/// Why disk usage could not be told or space not be given back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DiskError {
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Images(#[from] ImagesError),
    #[error(transparent)]
    Prune(#[from] image::RemoveError),
    #[error(transparent)]
    Volumes(#[from] VolumeError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Filter(#[from] FiltersError),
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

impl Diagnose for DiskError {
    fn class(&self) -> Class {
        self.inner().class()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }
}

impl DiskError {
    fn inner(&self) -> &dyn Diagnose {
        match self {
            Self::List(error) => error,
            Self::Images(error) => error,
            Self::Prune(error) => error,
            Self::Volumes(error) => error,
            Self::Database(error) => error,
            Self::Store(error) => error,
            Self::Filter(error) => error,
            Self::Remove(error) => error,
        }
    }
}

impl Engine {
    /// What images, containers, volumes and the build cache occupy.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn disk_usage(&self) -> Result<DiskUsage, DiskError> {
        let images = self.image_list(None, &Filters::default())?;
        let mut containers = self.list(&ListOptions { all: true, size: true, ..ListOptions::default() })?;
        let mut volumes = self.volumes(&Filters::default())?;
        for volume in &mut volumes {
            volume.size_bytes = Some(disk_bytes(&volume.mountpoint));
        }
        for container in &mut containers {
            let bytes = disk_bytes(&self.data_dir(&container.id));
            container.size = container.size.map(|(_, all)| (bytes, all));
        }
        let content = self.store().content_bytes()?;
        let has_containers = |id: &Digest| {
            let id = id.to_string();
            images.iter().any(|image| image.id == id && !image.containers.is_empty())
        };
        let (all, of_images, kept, cached) = self.store().database().read(|reader| {
            let cached = build_cache::list(reader)?;
            let usage = |counts, cached| self.store().usage_by(reader, counts, cached);
            let (all, of_images) = (usage(&|_| true, &cached)?, usage(&|_| true, &[])?);
            Ok::<_, DatabaseError>((all, of_images, usage(&has_containers, &cached)?, cached))
        })?;
        // What images and the cache have in common is the images', and so is what nobody has any more.
        let of_cache = content.of(&all.without(&of_images));
        let images_bytes = content.total().saturating_sub(of_cache);
        Ok(DiskUsage {
            images_bytes,
            images_reclaimable_bytes: content.total().saturating_sub(content.of(&kept)),
            build_cache: cache_items(cached, &content, &self.layers_of_images()?),
            build_cache_bytes: of_cache + disk_bytes_in(&self.cache_mounts()),
            images,
            containers,
            volumes,
        })
    }

    /// What the build cache has.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn build_cache(&self) -> Result<Vec<UsageItem>, DiskError> {
        let content = self.store().content_bytes()?;
        let cached: Result<_, DatabaseError> = self.store().database().read(build_cache::list);
        Ok(cache_items(cached?, &content, &self.layers_of_images()?))
    }

    /// What builds keep for `RUN --mount=type=cache`.
    fn cache_mounts(&self) -> PathBuf {
        self.store().data().join("cache-mounts")
    }

    fn layers_of_images(&self) -> Result<HashSet<DiffId>, DatabaseError> {
        let images: Result<_, DatabaseError> = self.store().database().read(images::list);
        Ok(images?.into_iter().flat_map(|image| image.layers).collect())
    }

    /// Removes containers that do not run.
    ///
    /// # Errors
    /// [`DiskError`]; what was removed before it stays removed.
    pub fn prune_containers(&self, filters: &Filters) -> Result<Pruned, DiskError> {
        filters.allow(&["label", "label!", "until"])?;
        let until = until(filters)?;
        let mut pruned = Pruned::default();
        for summary in self.list(&ListOptions { all: true, ..ListOptions::default() })? {
            let old = until.is_none_or(|until| summary.created_ns < until);
            if summary.state.status.is_running() || !old || !filters.labels(&summary.labels) {
                continue;
            }
            let bytes = disk_bytes(&self.data_dir(&summary.id));
            match self.remove(summary.id.as_str(), &RemoveOptions::default()) {
                // Started or removed since it was listed.
                Err(RemoveError::Running { .. } | RemoveError::Lookup(_)) => continue,
                result => result?,
            };
            pruned.reclaimed_bytes += bytes;
            pruned.containers.push(summary.id.to_string());
        }
        self.emit(&events::prune("container", pruned.reclaimed_bytes));
        Ok(pruned)
    }

    /// Removes images without reference, or with `all` every image no container was made from.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn prune_images(&self, filters: &Filters, all: bool) -> Result<Pruned, DiskError> {
        filters.allow(&["dangling", "label", "label!", "until"])?;
        let all = all || filters.flag("dangling")? == Some(false);
        let until = until(filters)?;
        let by_label = filters.has("label") || filters.has("label!");
        let skipped = RefCell::new(Vec::new());
        let select = |image: &ListedImage| {
            let has_labels = match &image.config {
                Ok(config) => filters.labels(&config.config.labels),
                Err(error) if by_label => {
                    skipped.borrow_mut().push(damage(error));
                    false
                }
                Err(_) => true,
            };
            has_labels && until.is_none_or(|until| image.record.created_ns < until)
        };
        let mounted_at = |id: &Digest| mounted_at(self.instance(), id);
        let done = self.images().prune(all, &select, &mounted_at)?;
        self.tell_of_removal(&done.removed);
        self.emit(&events::prune("image", done.reclaimed_bytes));
        let mut pruned =
            Pruned { reclaimed_bytes: done.reclaimed_bytes, skipped: skipped.take(), ..Pruned::default() };
        for line in done.removed {
            match line {
                Removed::Untagged(reference, _) => pruned.untagged.push(reference.familiar()),
                Removed::Deleted(digest) | Removed::DeletedLayer(digest) => {
                    pruned.images.push(digest.to_string())
                }
            }
        }
        Ok(pruned)
    }

    /// Forgets build cache entries: those whose layer no image has, or with `all` every one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn prune_build_cache(&self, filters: &Filters, all: bool) -> Result<Pruned, DiskError> {
        filters.allow(&["until"])?;
        let until = until(filters)?;
        let in_images = self.layers_of_images()?;
        let keys = self.store().release(Durability::Relaxed, |writer| {
            let mut keys = Vec::new();
            for row in build_cache::list(writer)? {
                let old = until.is_none_or(|until| row.used_ns < until);
                let used = row.diff_id.is_some_and(|layer| in_images.contains(&layer));
                if old && (all || !used) {
                    build_cache::remove(writer, &row.key)?;
                    keys.push(row.key);
                }
            }
            Ok::<_, StoreError>(keys)
        })?;
        let mut reclaimed_bytes = 0;
        // Whoever makes content may take as long as a client or a registry does. Then one of the next commands gives back what this one
        // has let go of.
        if let Some(lock) = self.lock_exclusively()? {
            // The directories of cache mounts belong to builds, of which there is none now.
            if all && until.is_none() {
                let bytes = disk_bytes_in(&self.cache_mounts());
                reclaimed_bytes = sys::fs::remove_tree(&self.cache_mounts()).map_or(0, |()| bytes);
            }
            let collected = self.store().collect(&lock)?;
            drop(lock);
            reclaimed_bytes += collected.disk_bytes();
            collected.finish();
        }
        self.emit(&events::prune("builder", reclaimed_bytes));
        Ok(Pruned { build_cache: keys, reclaimed_bytes, ..Pruned::default() })
    }
}

fn cache_items(
    rows: Vec<CacheRecord>,
    content: &ContentBytes,
    in_images: &HashSet<DiffId>,
) -> Vec<UsageItem> {
    let item = |row: CacheRecord| {
        let layer = row.diff_id.and_then(|diff_id| content.snapshots.get(&diff_id));
        let blob = row.blob.and_then(|blob| content.blobs.get(&blob));
        UsageItem {
            in_use: row.diff_id.is_some_and(|layer| in_images.contains(&layer)),
            id: row.key,
            size_bytes: layer.into_iter().chain(blob).sum(),
            created_ns: row.created_ns,
            last_used_ns: row.used_ns,
        }
    };
    rows.into_iter().map(item).collect()
}

fn until(filters: &Filters) -> Result<Option<i64>, FiltersError> {
    let parse = |text: &String| {
        parse::timestamp_ns(text, now_ns())
            .map_err(|_| FiltersError::BadValue { key: "until".into(), value: text.clone() })
    };
    filters.values("until").first().map(parse).transpose()
}

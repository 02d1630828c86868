//! Images mounted on the host, for people to look into.
//!
//! Only the kernel keeps a record of them: the source of such a mount is `hull-<instance>-<image id>`. So what was unmounted by
//! other means is not mounted any more, and a command that is killed half-way leaves at most empty directories:
//!
//! ```text
//! <run root>/mounts/<image id>/root     where the image is mounted unless a directory was given
//! <run root>/mounts/<image id>/empty    what an image of one layer is laid over, because an overlay needs two
//! ```

use crate::engine::Engine;
use crate::rootfs;
use diag::{Class, Diagnose};
use image::{Image, ResolveError};
use oci::Digest;
use runtime::mountinfo;
use std::io;
use std::path::{Path, PathBuf};
use store::db::images;
use store::{DatabaseError, Durability, StoreError};
use sys::fs::OFlags;

/// An image that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMount {
    pub image: Digest,
    pub path: PathBuf,
}

/// Why an image was not mounted or unmounted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImageMountError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("image {0} cannot be mounted by a user without root: nobody but hull would see it")]
    Hidden(String),
    #[error("cannot use {} as a mount point", path.display())]
    Place { path: PathBuf, source: io::Error },
    #[error("cannot mount image {image} at {}", path.display())]
    Mount { image: String, path: PathBuf, source: io::Error },
    #[error("image {image} is mounted at {} already", path.display())]
    Elsewhere { image: String, path: PathBuf },
    #[error("image {0} is not mounted")]
    NotMounted(String),
    #[error("cannot unmount {}", path.display())]
    Unmount { path: PathBuf, source: io::Error },
}

impl From<DatabaseError> for ImageMountError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl Diagnose for ImageMountError {
    fn class(&self) -> Class {
        match self {
            Self::Resolve(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Hidden(_) => Class::Unsupported,
            Self::Elsewhere { .. } => Class::Conflict,
            Self::NotMounted(_) => Class::NotFound,
            Self::Place { source, .. } | Self::Mount { source, .. } | Self::Unmount { source, .. } => {
                Class::of_io(source)
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Hidden(_) => Some(
                "copy files out of a container that is made of it: `hull create` and `hull cp`".to_owned(),
            ),
            Self::Elsewhere { image, .. } => Some(format!("unmount it first: `hull image unmount {image}`")),
            Self::NotMounted(_) => Some("list what is mounted with `hull image mount`".to_owned()),
            Self::Unmount { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                Some("end who uses it, or take it out of sight with `--force`".to_owned())
            }
            _ => None,
        }
    }
}

impl Engine {
    /// The images that are mounted, in the order they were.
    pub fn image_mounts(&self) -> Vec<ImageMount> {
        mounts(self.instance())
    }

    /// Mounts the root filesystem of an image, which nothing can be written to, at `directory` or at a place of its own; returns
    /// where. An image is mounted once: asked again, it is where it was.
    ///
    /// # Errors
    /// [`ImageMountError`]; nothing is left then.
    pub fn image_mount(&self, name: &str, directory: Option<&Path>) -> Result<PathBuf, ImageMountError> {
        if sys::user::is_in_subordinate_namespace() {
            return Err(ImageMountError::Hidden(name.to_owned()));
        }
        let _lock = self.store().lock_shared()?;
        let image = self.images().resolve(name)?;
        let path = match directory {
            Some(directory) => directory
                .canonicalize()
                .map_err(|source| ImageMountError::Place { path: directory.to_owned(), source })?,
            None => self.mount_directory(&image.id).join("root"),
        };
        if let Some(known) = mounted_at(self.instance(), &image.id) {
            return match directory {
                Some(_) if known != path => {
                    Err(ImageMountError::Elsewhere { image: name.to_owned(), path: known })
                }
                _ => Ok(known),
            };
        }
        let mounted = self.mount_image(name, &image, &path);
        if mounted.is_err() {
            self.remove_mount_directory(&image.id);
        }
        mounted.map(|()| path)
    }

    /// Unmounts an image; with `force` it only goes out of sight while somebody uses it.
    ///
    /// # Errors
    /// [`ImageMountError`].
    pub fn image_unmount(&self, name: &str, force: bool) -> Result<(), ImageMountError> {
        let id = self.images().look_up(name)?.record.id;
        let mounts: Vec<_> = self.image_mounts().into_iter().filter(|mount| mount.image == id).collect();
        if mounts.is_empty() {
            return Err(ImageMountError::NotMounted(name.to_owned()));
        }
        for ImageMount { path, .. } in mounts.into_iter().rev() {
            let done = if force { sys::mount::detach(&path) } else { sys::mount::unmount(&path) };
            done.map_err(|source| ImageMountError::Unmount { path, source })?;
        }
        self.remove_mount_directory(&id);
        Ok(())
    }

    fn mount_image(&self, name: &str, image: &Image, path: &Path) -> Result<(), ImageMountError> {
        let directory = self.mount_directory(&image.id);
        let empty = directory.join("empty");
        for made in [&directory.join("root"), &empty] {
            std::fs::create_dir_all(made)
                .map_err(|source| ImageMountError::Place { path: made.clone(), source })?;
        }
        let failed = |source| {
            let (image, path) = (name.to_owned(), path.to_owned());
            ImageMountError::Mount { image, path, source }
        };
        let target = sys::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, 0)
            .map_err(|source| ImageMountError::Place { path: path.to_owned(), source })?;
        let source = format!("{}{}", prefix(self.instance()), image.id.hex());
        let tree = rootfs::named(self.store(), &image.diff_ids, &source, &empty).map_err(failed)?;
        // Removals look for mounts in their transactions: within this one nobody removes the image.
        self.store().database().write(Durability::Relaxed, |writer| match images::get(writer, &image.id)? {
            Some(_) => tree.attach(&target).map_err(failed),
            None => Err(ResolveError::NotFound(name.to_owned()).into()),
        })
    }

    fn mount_directory(&self, image: &Digest) -> PathBuf {
        self.store().run().join("mounts").join(image.hex())
    }

    /// Removes the directories of an image that is not mounted.
    fn remove_mount_directory(&self, image: &Digest) {
        let directory = self.mount_directory(image);
        for path in [directory.join("root"), directory.join("empty"), directory] {
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// Where the image `id` of the engine `instance` is mounted.
pub(crate) fn mounted_at(instance: &str, id: &Digest) -> Option<PathBuf> {
    mounts(instance).into_iter().find(|mount| mount.image == *id).map(|mount| mount.path)
}

fn mounts(instance: &str) -> Vec<ImageMount> {
    // Other people's mount points may be no text.
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let prefix = prefix(instance);
    mountinfo::lines(&String::from_utf8_lossy(&table))
        .filter_map(|line| {
            let image = Digest::from_hex(line.source.strip_prefix(&prefix)?).ok()?;
            Some(ImageMount { image, path: line.point })
        })
        .collect()
}

fn prefix(instance: &str) -> String {
    format!("hull-{instance}-")
}

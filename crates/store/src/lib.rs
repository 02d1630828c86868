//! Content store, layer snapshots and the database: ingest, verify, commit, lease, collect.
//!
//! Layout of the data root (all of it owned by this crate but `containers/` and `volumes/`, whose directories it only makes):
//!
//! ```text
//! hull.db             durable intent; see `db`
//! db.lock             flock LOCK_EX around every write transaction
//! reserve             blocks to give up when something is removed from a full disk
//! gc.lock             flock: shared by whoever makes or uses content, exclusive by `collect`
//! gc.pending          exists while there may be content that no row names and that nobody is about to collect
//! blobs/sha256/<hex>  manifests, configs, layers as they arrived
//! partial/<hex>       the beginning of a blob that is being fetched, or was; see `partial`
//! snapshots/<hex>/    one layer's tree in overlayfs' own format, named by its diffID; itself a lowerdir
//! tmp/<unique>/       whatever is being made; tmp/<unique>.lock is held by its maker
//! ```
//!
//! Invariants:
//! - A blob or snapshot that has a name is complete and was verified when it got it.
//! - What a database row names was synced before the row was committed ([`Store::sync`]), or is noted as not synced
//!   ([`db::unsettled`]). Content that no other row names may be damaged after a power cut, so the first opening after a boot
//!   collects it before anybody can find it.
//! - Whoever looks content up and then writes a row naming it holds [`Store::lock_shared`] in between.
//! - Whoever removes rows that name content holds it meanwhile, too ([`Store::release`]).
//! - Who makes content also holds a directory in `tmp/` until a row names it. One whose lock nobody holds is a killed maker's:
//!   the next [`Store::open`] removes it, and collects what else that process may have left.
//!
//! Start reading at [`Store::open`], then [`Blobs`], [`Snapshots`] and [`db`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod blobs;
mod collect;
pub mod db;
mod disk;
mod error;
mod partial;
mod reserve;
mod roots;
mod snapshots;
mod tmp;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sys::fs::{FileLock, LockKind};

pub use blobs::{Blobs, Ingest};
pub use collect::{Collected, Usage};
pub use db::{Database, DatabaseError, Durability};
pub use disk::{ContentBytes, disk_bytes, disk_bytes_in, file_bytes};
pub use error::StoreError;
pub use partial::{PARTIAL_LIFETIME, Partial};
pub use roots::{Roots, user_run_dir};
pub use snapshots::{Snapshots, Staged};
pub use tmp::TempDir;

/// An open data root and the run root that belongs to it. Cheap to open, may be shared between threads.
pub struct Store {
    roots: Roots,
    database: OnceLock<Database>,
}

/// A hold on `gc.lock`; dropping it lets go.
#[must_use = "dropping the guard lets the collector run"]
pub struct SharedLock(#[allow(dead_code)] FileLock);

/// Proof that nobody else makes or uses content right now.
pub struct ExclusiveLock(#[allow(dead_code)] FileLock);

impl Store {
    /// Opens the store at `roots`, making what is missing and removing what killed processes left behind.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the path that could not be made or read.
    pub fn open(roots: &Roots) -> Result<Self, StoreError> {
        let store = Self::reopen(roots);
        let tmp = store.data().join("tmp");
        match tmp::reconcile(&tmp, || store.mark_pending()) {
            Err(e) if e.is_not_found() => store.make_directories()?,
            other => other?,
        }
        let marker = store.run().join("store-checked");
        if !marker.exists() {
            store.first_open_since_boot(&marker)?;
        } else if store.pending().exists() {
            // Unless somebody is making content right now: then one of the next commands does it.
            if let Some(lock) = store.try_lock_exclusive()? {
                // By this thread: whoever opens the store may want to fork.
                drop(store.collect(&lock)?);
            }
        }
        Ok(store)
    }

    /// The store that whoever started this process has opened. What killed processes left is not this one's to look for.
    pub fn reopen(roots: &Roots) -> Self {
        Self { roots: roots.clone(), database: OnceLock::new() }
    }

    fn pending(&self) -> PathBuf {
        self.data().join("gc.pending")
    }

    /// Asks the next [`Store::open`] to collect, should the caller be killed before it does so itself.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn mark_pending(&self) -> Result<(), StoreError> {
        std::fs::write(self.pending(), "").map_err(|e| StoreError::io("create", self.pending(), e))
    }

    fn make_directories(&self) -> Result<(), StoreError> {
        // Images hold device nodes and set-id programs.
        make_private(self.data())?;
        for name in ["blobs/sha256", "snapshots", "containers", "volumes"] {
            make_private(&self.data().join(name))?;
        }
        // Last, because its presence says that all others are there.
        let tmp = self.data().join("tmp");
        make_private(&tmp)?;
        // Layers are unpacked in there, several at once. ext4 would put all of them into the same group of inodes, and without a
        // journal it looks at each inode that was removed from a group in the last minutes before it makes another there.
        let _ = sys::fs::open_dir(&tmp).and_then(sys::fs::set_top_of_hierarchies);
        Ok(())
    }

    /// A power cut may have damaged content that was not synced: such content has no durable row and goes now.
    fn first_open_since_boot(&self, marker: &Path) -> Result<(), StoreError> {
        // Environments, logs of events and sockets that command containers.
        make_private(self.run())?;
        // Whoever holds it opened the store before us and is doing this, or has done it.
        let Some(lock) = self.try_lock_exclusive()? else { return Ok(()) };
        if self.data().join("hull.db").exists() {
            // Before the rows that say which it is.
            let damaged = self.discard_unsettled(&lock)?;
            self.database().write_removal(Durability::Full, |w| {
                db::manifests::forget_holds(w)?;
                db::unsettled::forget_other_boots(w)
            })?;
            drop(self.collect(&lock)?);
            drop(damaged);
        }
        std::fs::write(marker, "").map_err(|e| StoreError::io("create", marker, e))
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The data root.
    pub fn data(&self) -> &Path {
        &self.roots.data
    }

    /// The run root.
    pub fn run(&self) -> &Path {
        &self.roots.run
    }

    /// Where a container's durable files live; made by whoever creates the container.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.data().join("containers").join(id)
    }

    /// The directory of a local volume's data.
    pub fn volume_dir(&self, name: &str) -> PathBuf {
        self.data().join("volumes").join(name).join("_data")
    }

    pub fn blobs(&self) -> Blobs<'_> {
        Blobs::new(self)
    }

    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(self)
    }

    /// The database; it is opened by the first transaction.
    pub fn database(&self) -> &Database {
        self.database.get_or_init(|| Database::new(self.data()))
    }

    /// Makes an empty directory `tmp/<prefix>-<unique>` on the same filesystem as blobs and snapshots.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn tmp_dir(&self, prefix: &str) -> Result<TempDir, StoreError> {
        TempDir::create(&self.data().join("tmp"), prefix)
    }

    /// Holds off the collector: taken before content is looked up or made, kept until a row names it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lock_shared(&self) -> Result<SharedLock, StoreError> {
        FileLock::acquire(self.gc_lock(), LockKind::Shared)
            .map(SharedLock)
            .map_err(|e| StoreError::io("lock", self.gc_lock(), e))
    }

    /// Removes rows that name content, which the caller is to collect.
    ///
    /// Waits for a collector that is at work: it may have read the rows already, and would then forget that there is more to collect.
    ///
    /// # Errors
    /// [`StoreError`] as `E`, or the error of `body`.
    pub fn release<T, E>(
        &self,
        durability: Durability,
        body: impl Fn(&db::Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<StoreError> + From<DatabaseError> + std::error::Error + 'static,
    {
        let _lock = self.lock_shared()?;
        self.mark_pending()?;
        self.database().write_removal(durability, body)
    }

    /// Waits until nobody makes or uses content. A process that holds the shared lock would wait for itself.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lock_exclusive(&self) -> Result<ExclusiveLock, StoreError> {
        FileLock::acquire(self.gc_lock(), LockKind::Exclusive)
            .map(ExclusiveLock)
            .map_err(|e| StoreError::io("lock", self.gc_lock(), e))
    }

    /// As [`Store::lock_exclusive`], but `None` instead of waiting.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn try_lock_exclusive(&self) -> Result<Option<ExclusiveLock>, StoreError> {
        FileLock::try_acquire(self.gc_lock(), LockKind::Exclusive)
            .map(|lock| lock.map(ExclusiveLock))
            .map_err(|e| StoreError::io("lock", self.gc_lock(), e))
    }

    fn gc_lock(&self) -> PathBuf {
        self.data().join("gc.lock")
    }

    /// Writes all content to the disk; done once, before the row that acknowledges it. Returns the moment (in nanoseconds
    /// since 1970) before which everything made is safe now.
    ///
    /// # Errors
    /// [`StoreError::Io`], also for writes that failed earlier in the background.
    pub fn sync(&self) -> Result<i64, StoreError> {
        let since_ns = db::now_ns();
        sys::fs::open_dir(self.data())
            .and_then(sys::fs::syncfs)
            .map_err(|e| StoreError::io("sync", self.data(), e))?;
        Ok(since_ns)
    }

    /// Syncs what was recorded without: see [`db::unsettled`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settle(&self) -> Result<(), StoreError> {
        let since_ns = self.sync()?;
        Ok(self.database().write(Durability::Full, |w| db::unsettled::mark_synced(w, since_ns))?)
    }
}

/// Makes a directory that nobody else on the host gets into.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| StoreError::io("create", path, e))
}

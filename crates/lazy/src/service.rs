//! The process that serves an image's layers until they are here, and nobody uses what stood for them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use diag::{Class, Diagnose, Failure};
use image::chunked::{FileIndex, FileKind, IndexPlace, LocateError};
use image::{Images, PullError, PullEvent, PullOptions, PullProgress};
use oci::image::{Descriptor, Platform};
use oci::{DiffId, Digest, Reference};
use registry::{Client, ClientOptions, RegistryError};
use store::{Roots, Store, StoreError};
use sys::fs::{FileLock, LockKind, OFlags, ProcessLock};

use crate::pieces::{Pieces, Source};
use crate::start::{READY, answer_pipe, mounts};
use crate::{Filesystem, Tree, filesystem, tree};

/// How often it is looked whether somebody still waits for a piece.
const LOOK: Duration = Duration::from_millis(20);
/// So long after the last piece somebody wanted, the layers go on coming.
const QUIET: u32 = 10;
/// Extension of the files by which services are found.
const SERVICE: &str = "service";
const KILL: i32 = 9;

/// The image cannot be served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("cannot use the index of layer {digest}")]
    Index { digest: Digest, source: LocateError },
    #[error("cannot mount layer {digest} before it is here")]
    Mount { digest: Digest, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for ServeError {
    fn class(&self) -> Class {
        match self {
            Self::Pull(e) => e.class(),
            Self::Registry(e) => e.class(),
            Self::Index { .. } => Class::Invalid,
            Self::Mount { source, .. } => Class::of_io(source),
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pull(e) => e.hint(),
            Self::Registry(e) => e.hint(),
            Self::Index { .. } | Self::Mount { .. } => {
                Some("pull all of the image first, with `--pull missing`".to_owned())
            }
            Self::Store(e) => e.hint(),
        }
    }
}

/// The hidden command `lazy DATA RUN REFERENCE PLATFORM`.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(answer) = answer_pipe() else { return ExitCode::FAILURE };
    let mut word = || args.next().unwrap_or_default();
    let (data, run, reference, platform) = (word(), word(), word(), word());
    let reference = reference.to_str().and_then(|text| Reference::parse(text).ok());
    let Some(reference) = reference else { return ExitCode::FAILURE };
    let platform = platform.to_str().and_then(|text| Platform::parse(text).ok());
    match serve(&Roots::new(data, run), &reference, platform, answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::FAILURE,
    }
}

/// Serves; whoever asked is told through `answer` what went wrong until the image could be used.
fn serve(
    roots: &Roots,
    reference: &Reference,
    platform: Option<Platform>,
    mut answer: File,
) -> Result<(), ()> {
    let prepared = Store::open(roots).map_err(ServeError::from).and_then(|store| {
        let image = Arriving::prepare(&store, reference, platform)?;
        Ok((store, image))
    });
    match prepared {
        Ok((store, image)) => {
            let _ = answer.write_all(READY.as_bytes());
            drop(answer);
            image.finish(&store, reference);
            Ok(())
        }
        Err(error) => {
            let _ = answer.write_all(sentence(error.into()).as_bytes());
            Err(())
        }
    }
}

/// A failure on one line, and its hint on the next.
fn sentence(failure: Failure) -> String {
    let text = diag::with_sources(failure.error()).replace('\n', " ");
    match failure.hint() {
        Some(hint) => format!("{text}\n{hint}"),
        None => text,
    }
}

/// An image that can be used while its layers come.
struct Arriving {
    client: Client,
    options: PullOptions,
    pinned: Reference,
    layers: Vec<Served>,
    /// Held as long as layers are served: with others, and alone.
    _locks: (FileLock, ProcessLock),
}

/// A layer that is mounted.
struct Served {
    /// Tells that somebody answers there.
    _lock: FileLock,
    mounted: PathBuf,
    diff_id: DiffId,
    server: JoinHandle<io::Result<()>>,
}

impl Arriving {
    /// Mounts the layers that are not here and have an index, brings those that have none, and records the image.
    fn prepare(store: &Store, reference: &Reference, platform: Option<Platform>) -> Result<Self, ServeError> {
        let directory = mounts(store);
        let links = store.run().join("lazy");
        for path in [&directory, &links] {
            std::fs::create_dir_all(path).map_err(|e| StoreError::io("create", path, e))?;
        }
        remove_remains(store)?;
        let lock_path = directory.join("lock");
        let lock = FileLock::acquire(&lock_path, LockKind::Shared)
            .map_err(|e| StoreError::io("lock", &lock_path, e))?;
        let own_path = directory.join(format!("{}.{SERVICE}", std::process::id()));
        let own = ProcessLock::acquire(&own_path).map_err(|e| StoreError::io("lock", &own_path, e))?;
        // Until the image's row names what is brought here.
        let _content = store.lock_shared()?;
        let images = Images::new(store);
        let client = Client::new(ClientOptions::from_environment())?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let progress = Arc::new(Behind(waiting.clone()));
        let options = PullOptions { platform, progress, ..PullOptions::default() };
        let outline = images.outline(&client, reference, &options)?;
        let pinned = outline.pinned(reference);
        let mut layers: Vec<Served> = Vec::new();
        for (descriptor, diff_id) in outline.layers() {
            let is_served = layers.iter().any(|served| served.diff_id == *diff_id);
            if is_served || store.snapshots().lower_dir(diff_id).exists() {
                continue;
            }
            match index(&client, &pinned, descriptor)? {
                Some(index) => {
                    let remote = Remote {
                        client: client.clone(),
                        reference: pinned.clone(),
                        digest: descriptor.digest,
                        local: store.blobs().path(&descriptor.digest),
                    };
                    layers.push(mount(store, remote, &index, *diff_id, waiting.clone())?);
                }
                None => images.fetch_layer(&client, reference, &outline, (descriptor, diff_id), &options)?,
            }
        }
        images.record_outline(&client, reference, &outline)?;
        Ok(Self { client, options, pinned, layers, _locks: (lock, own) })
    }

    /// Brings the layers as every pull does, lets them take the place of what stood for them, and serves on until nobody
    /// uses that any more.
    fn finish(self, store: &Store, reference: &Reference) {
        let images = Images::new(store);
        // The first thing the container does is to read.
        std::thread::sleep(LOOK * QUIET);
        let mut wait = Duration::from_secs(1);
        let options = PullOptions { only_known: true, ..self.options };
        // A network that is gone for a while is no reason to give up: containers run on what they have.
        while let Err(error) = images.pull(&self.client, &self.pinned, &options) {
            if matches!(error, PullError::Removed(_)) {
                break;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_secs(60));
            if images.resolve(&reference.canonical()).is_err() {
                break;
            }
        }
        for Served { mounted, diff_id, .. } in &self.layers {
            let _ = relink(&store.snapshots().lazy_link(diff_id), &store.snapshots().path(diff_id));
            let _ = sys::mount::detach(&**mounted);
            let _ = std::fs::remove_dir(mounted);
        }
        // Whoever began with these filesystems goes on with them.
        for Served { server, .. } in self.layers {
            let _ = server.join();
        }
    }
}

/// The index of a layer's files; `None` when it has none, or one that cannot be had in parts.
fn index(
    client: &Client,
    reference: &Reference,
    layer: &Descriptor,
) -> Result<Option<FileIndex>, ServeError> {
    let failed = |source| ServeError::Index { digest: layer.digest, source };
    let Some(mut place) = IndexPlace::of(layer).map_err(failed)? else { return Ok(None) };
    loop {
        let bytes = match client.blob_range(reference, &layer.digest, place.range()) {
            Ok(bytes) => bytes,
            // A registry without ranges.
            Err(RegistryError::Malformed { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        match place.read(&bytes).map_err(failed)? {
            Ok(index) => return Ok(Some(index)),
            Err(next) => place = next,
        }
    }
}

fn mount(
    store: &Store,
    remote: Remote,
    index: &FileIndex,
    diff_id: DiffId,
    waiting: Arc<AtomicUsize>,
) -> Result<Served, ServeError> {
    let digest = remote.digest;
    let failed = |source| ServeError::Mount { digest, source };
    let sizes = index.files.iter().flat_map(|file| match &file.kind {
        FileKind::Regular { pieces, .. } => pieces.as_slice(),
        _ => &[],
    });
    let lock =
        FileLock::acquire(store.snapshots().lazy_lock(&diff_id), LockKind::Exclusive).map_err(failed)?;
    let kept = sys::fs::open(store.data(), OFlags::TMPFILE | OFlags::RDWR, 0o600).map_err(failed)?;
    let sizes = sizes.map(|piece| piece.size);
    let pieces = Pieces::new(Arc::new(remote), index.compression, sizes, kept.into(), waiting);
    let (mount, server) = filesystem::mount(Filesystem::new(Tree::new(index), pieces)).map_err(failed)?;
    let mounted = mounts(store).join(diff_id.0.hex());
    // Of a killed process that has only now let go of the lock.
    let _ = sys::mount::detach(&*mounted);
    std::fs::create_dir_all(&mounted).map_err(failed)?;
    sys::fs::open_dir(&*mounted).and_then(|directory| mount.attach(directory)).map_err(failed)?;
    relink(&store.snapshots().lazy_link(&diff_id), &mounted.join(tree::LAYER)).map_err(failed)?;
    Ok(Served { _lock: lock, mounted, diff_id, server })
}

/// Points the link at `target` at once, whatever it was before.
fn relink(link: &Path, target: &Path) -> io::Result<()> {
    let new = link.with_extension(std::process::id().to_string());
    std::os::unix::fs::symlink(target, &new)?;
    std::fs::rename(&new, link)
}

/// Detaches what killed services left mounted, unless one is at work.
///
/// # Errors
/// [`StoreError::Io`].
pub fn remove_remains(store: &Store) -> Result<(), StoreError> {
    let directory = &mounts(store);
    if !directory.exists() {
        return Ok(());
    }
    let path = directory.join("lock");
    let lock =
        FileLock::try_acquire(&path, LockKind::Exclusive).map_err(|e| StoreError::io("lock", &path, e))?;
    if lock.is_none() {
        return Ok(());
    }
    let entries = std::fs::read_dir(directory).map_err(|e| StoreError::io("read", directory, e))?;
    for entry in entries.flatten() {
        // Also of what is mounted there without anybody behind it, which has no type to ask for.
        if !matches!(entry.file_name().to_str(), Some("lock" | "start.lock")) {
            let _ = sys::mount::detach(&*entry.path());
            let _ = std::fs::remove_dir(entry.path()).or_else(|_| std::fs::remove_file(entry.path()));
        }
    }
    Ok(())
}

/// Ends every process that serves layers of this store, and waits until it has; for when no container is left.
///
/// # Errors
/// [`StoreError::Io`].
pub fn end_services(store: &Store) -> Result<(), StoreError> {
    let directory = mounts(store);
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == SERVICE)
            && let Ok(Some(pid)) = ProcessLock::holder(&path)
        {
            let _ = sys::process::kill(pid, KILL);
        }
    }
    let path = directory.join("lock");
    let ended = FileLock::acquire(&path, LockKind::Exclusive);
    ended.map(drop).map_err(|e| StoreError::io("lock", &path, e))
}

/// A layer's blob: at the registry, and later here.
struct Remote {
    client: Client,
    reference: Reference,
    digest: Digest,
    local: PathBuf,
}

impl Source for Remote {
    fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        if let Ok(file) = File::open(&self.local) {
            let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            return Ok(bytes);
        }
        self.client.blob_range(&self.reference, &self.digest, (start, end)).map_err(io::Error::other)
    }
}

/// Lets the layers come only while nobody waits for a piece: what is read first is worth more than what may be read.
struct Behind(Arc<AtomicUsize>);

impl PullProgress for Behind {
    fn event(&self, event: PullEvent<'_>) {
        if !matches!(event, PullEvent::Layer { .. }) {
            return;
        }
        let is_wanted = || self.0.load(Ordering::SeqCst) > 0;
        let mut quiet = if is_wanted() { 0 } else { QUIET };
        while quiet < QUIET {
            std::thread::sleep(LOOK);
            quiet = if is_wanted() { 0 } else { quiet + 1 };
        }
    }
}

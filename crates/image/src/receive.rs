//! Receiving a layer: one pass over the stream that stores, hashes, decompresses and unpacks it.
//!
//! Two threads share the work. The caller's reads, stores the blob, decompresses and hashes; the other one unpacks, which is
//! mostly waiting for the filesystem to make inodes. Pieces of the archive go through a bounded channel and come back empty.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use oci::{DiffId, Digest, Hasher, media};
use store::{Ingest, Staged, Store, StoreError};

use crate::archive::{Compression, UnpackOptions, Unpacked, decode_as, unpack};
use crate::{Layer, LayerError};

const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// How far a stream may expand.
#[derive(Clone, Copy)]
struct Limits {
    /// Up to here, as far as it likes.
    floor: u64,
    /// Real layers reach 50; gzip does 1032 at best, on nothing but zeros, and zstd much more.
    ratio: u64,
}

const LIMITS: Limits = Limits { floor: 4 << 30, ratio: 200 };

/// A layer that was read to its end and unpacked; its blob is its caller's. Dropping it leaves nothing.
pub struct Received {
    pub staged: Staged,
    /// `None` for a compression that the specification has no layers of.
    pub media_type: Option<&'static str>,
    /// Digest of what the caller keeps.
    pub blob: Digest,
    pub diff_id: DiffId,
    /// Bytes of the files in it.
    pub size: u64,
}

impl Received {
    /// # Errors
    /// [`LayerError::DiffId`] when this is another layer.
    pub fn expect(&self, expected: Option<&DiffId>) -> Result<(), LayerError> {
        match expected {
            Some(&expected) if expected != self.diff_id => {
                Err(LayerError::DiffId { expected, found: self.diff_id })
            }
            _ => Ok(()),
        }
    }

    /// Gives the snapshot its name.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(self) -> Result<(), StoreError> {
        self.staged.commit(&self.diff_id)
    }
}

/// Where the blob goes, and as what.
pub enum Keep<'a> {
    /// As it came where the specification knows the compression, and otherwise uncompressed.
    Usable(&'a mut Ingest),
    /// As it came.
    Exact(&'a mut (dyn Write + Send)),
}

/// A whole layer with its blob, verified but without a name: dropping it leaves nothing.
pub struct Arrived {
    ingest: Ingest,
    received: Received,
    pub diff_id: DiffId,
    pub size: u64,
}

impl Arrived {
    pub fn blob(&self) -> Digest {
        self.received.blob
    }

    /// # Errors
    /// [`LayerError::DiffId`] when this is another layer.
    pub fn expect(&self, expected: Option<&DiffId>) -> Result<(), LayerError> {
        self.received.expect(expected)
    }

    /// Gives blob and snapshot their names.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(self) -> Result<Layer, StoreError> {
        let (blob, blob_size) = self.ingest.commit_hashed(self.received.blob)?;
        let media_type = self.received.media_type.unwrap_or(media::OCI_LAYER).to_owned();
        self.received.commit()?;
        Ok(Layer { diff_id: self.diff_id, blob, media_type, blob_size, size: self.size })
    }
}

/// Reads a layer to its end.
///
/// # Errors
/// [`LayerError`]; nothing is left then.
pub fn receive(store: &Store, input: &mut (dyn Read + Send)) -> Result<Arrived, LayerError> {
    receive_within(store, input, LIMITS)
}

fn receive_within(
    store: &Store,
    input: &mut (dyn Read + Send),
    limits: Limits,
) -> Result<Arrived, LayerError> {
    let mut ingest = store.blobs().ingest()?.without_hashing();
    let received = run(store, input, limits, Keep::Usable(&mut ingest))?;
    let (diff_id, size) = (received.diff_id, received.size);
    Ok(Arrived { ingest, received, diff_id, size })
}

/// Reads a layer to its end and passes exactly what came on to `blob`.
///
/// # Errors
/// [`LayerError`]; of the layer itself nothing is left then.
pub fn receive_into(
    store: &Store,
    input: &mut (dyn Read + Send),
    blob: &mut (dyn Write + Send),
) -> Result<Received, LayerError> {
    run(store, input, LIMITS, Keep::Exact(blob))
}

fn run(
    store: &Store,
    input: &mut (dyn Read + Send),
    limits: Limits,
    keep: Keep<'_>,
) -> Result<Received, LayerError> {
    let staged = store.snapshots().stage()?;
    let root = sys::fs::open_dir(staged.path()).map_err(|e| StoreError::io("open", staged.path(), e))?;
    let mut start = Vec::with_capacity(6);
    input.take(6).read_to_end(&mut start).map_err(LayerError::Read)?;
    let compression = Compression::of(&start);
    let (full_sender, full) = sync_channel(PIECES);
    let (empty, empty_receiver) = channel();
    let (produced, unpacked) = std::thread::scope(|scope| {
        let pieces = Pieces { full, empty, current: Vec::new(), position: 0 };
        let unpacker = std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(scope, move || unpack(pieces, root.as_fd(), &UnpackOptions::layer()))
            .map_err(LayerError::Thread)?;
        let pieces = PieceSender { full: full_sender, empty: empty_receiver };
        let produced =
            produce(Cursor::new(start).chain(input), compression, limits, (store.data(), keep), pieces);
        Ok::<_, LayerError>((produced, unpacker.join().expect("a panic ends the process")))
    })?;
    // What ended the stream early is also the cause of an archive that ends early; when the unpacker gave up first, the
    // stream only noticed that nobody listens.
    let digests = produced?;
    let Unpacked { bytes, .. } = unpacked?;
    let (blob, diff_id) = digests.ok_or(LayerError::Empty)?;
    Ok(Received { staged, media_type: compression.layer_media_type(), blob, diff_id, size: bytes })
}

/// The first thread's part: returns the blob's digest and the diffID, or `None` when there was nothing at all.
///
/// It ends quietly when the unpacker has given up, whose error is then the one to report.
fn produce(
    input: impl Read + Send,
    compression: Compression,
    limits: Limits,
    (blobs, keep): (&Path, Keep<'_>),
    pieces: PieceSender,
) -> Result<Option<(Digest, DiffId)>, LayerError> {
    let (wants_raw, sink): (bool, &mut (dyn Write + Send)) = match keep {
        Keep::Usable(ingest) => (compression.layer_media_type().is_some(), ingest),
        Keep::Exact(sink) => (true, sink),
    };
    let keeps_raw = wants_raw && compression != Compression::None;
    let (raw_sink, mut plain_sink) = if keeps_raw { (Some(sink), None) } else { (None, Some(sink)) };
    let (raw_size, sink_failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut raw = Tee { input, sink: raw_sink, hasher: Hasher::new(), size: &raw_size, failed: &sink_failed };
    let failure = |e| match sink_failed.load(Ordering::Relaxed) {
        true => StoreError::io("write to", blobs, e).into(),
        false => LayerError::Read(e),
    };
    let mut decoder = decode_as(compression, &mut raw).map_err(failure)?;
    let mut hasher = Hasher::new();
    let mut expanded = 0u64;
    loop {
        let mut piece = pieces.empty();
        decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(failure)?;
        if piece.is_empty() {
            break;
        }
        expanded += piece.len() as u64;
        let compressed = raw_size.load(Ordering::Relaxed);
        if expanded > limits.floor && expanded / limits.ratio > compressed {
            return Err(LayerError::Bomb { compressed, expanded });
        }
        hasher.update(&piece);
        if let Some(sink) = &mut plain_sink {
            sink.write_all(&piece).map_err(|e| StoreError::io("write to", blobs, e))?;
        }
        if pieces.full.send(piece).is_err() {
            return Ok(None);
        }
    }
    drop(decoder);
    let diff_id = DiffId(hasher.finish());
    if expanded == 0 {
        return Ok(None);
    }
    if !keeps_raw {
        return Ok(Some((diff_id.0, diff_id)));
    }
    // Bytes behind the last compressed frame belong to the blob, too.
    io::copy(&mut raw, &mut io::sink()).map_err(failure)?;
    Ok(Some((raw.hasher.finish(), diff_id)))
}

/// Passes bytes on while hashing them and keeping a copy.
struct Tee<'a, R> {
    input: R,
    /// Nothing is hashed either when there is no sink.
    sink: Option<&'a mut (dyn Write + Send)>,
    hasher: Hasher,
    size: &'a AtomicU64,
    /// Tells a full disk from trouble with the input.
    failed: &'a AtomicBool,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.size.fetch_add(length as u64, Ordering::Relaxed);
        if let Some(sink) = &mut self.sink {
            self.hasher.update(&buffer[..length]);
            sink.write_all(&buffer[..length]).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        }
        Ok(length)
    }
}

struct PieceSender {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

impl PieceSender {
    fn empty(&self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE))
    }
}

/// The second thread's end of the channel, as a stream.
struct Pieces {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let mut used = std::mem::take(&mut self.current);
            self.position = 0;
            if used.capacity() > 0 {
                used.clear();
                // The other end may be done.
                let _ = self.empty.send(used);
            }
            self.current = self.full.recv().unwrap_or_default();
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position += length;
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Entry, Writer};

    #[test]
    fn bombs_are_refused() {
        let base = std::env::temp_dir().join(format!("image-receive-{}", std::process::id()));
        let store = Store::open(&store::Roots::new(base.join("data"), base.join("run"))).unwrap();
        let mut writer = Writer::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        writer.append(&Entry::file("zeros", 8 << 20), io::repeat(0)).unwrap();
        let bytes = writer.finish().unwrap().finish().unwrap();
        let receive = |floor| {
            let limits = Limits { floor, ratio: 200 };
            receive_within(&store, &mut &bytes[..], limits).map(|arrived| arrived.size)
        };
        assert_eq!(receive(16 << 20).unwrap(), 8 << 20);
        let error = receive(1 << 20).unwrap_err();
        assert!(matches!(error, LayerError::Bomb { .. }), "{error}");
        assert_eq!(std::fs::read_dir(base.join("data/tmp")).unwrap().count(), 0);
        std::fs::remove_dir_all(&base).unwrap();
    }
}

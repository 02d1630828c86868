//! Where the bytes of files come from: fetched once, verified, kept in an unnamed file until the layer is here.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use image::chunked::{Piece, PieceCompression};
use oci::Digest;

/// Gives runs of bytes of a layer's blob.
pub trait Source: Send + Sync {
    /// The bytes `start..end`.
    ///
    /// # Errors
    /// Whatever is in the way, after everything reasonable was tried.
    fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>>;
}

/// The pieces of one layer.
pub struct Pieces {
    source: Arc<dyn Source>,
    compression: PieceCompression,
    /// The pieces one behind the other, each at its place of [`Pieces::places`].
    kept: File,
    places: Vec<u64>,
    states: Mutex<Vec<State>>,
    changed: Condvar,
    /// How many readers wait for a piece, over all layers of the image; the background waits for them.
    waiting: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Coming,
    Here,
}

impl Pieces {
    /// `sizes` are those of all pieces in their order; `kept` is an empty file for their bytes.
    pub fn new(
        source: Arc<dyn Source>,
        compression: PieceCompression,
        sizes: impl Iterator<Item = u64>,
        kept: File,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        let places: Vec<u64> = sizes
            .scan(0, |end, size| {
                let place = *end;
                *end += size;
                Some(place)
            })
            .collect();
        let states = Mutex::new(vec![State::Absent; places.len()]);
        Self { source, compression, kept, places, states, changed: Condvar::new(), waiting }
    }

    /// Reads from a piece, `at` bytes behind its beginning; `number` is its place among all.
    ///
    /// # Errors
    /// Those of fetching; [`io::ErrorKind::InvalidData`] when the piece is not what the index says.
    pub fn read(&self, number: usize, piece: &Piece, at: u64, length: usize) -> io::Result<Vec<u8>> {
        self.ensure(number, piece)?;
        let left = usize::try_from(piece.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        self.kept.read_exact_at(&mut bytes, self.places[number] + at)?;
        Ok(bytes)
    }

    /// Has the piece fetched, by this caller or the one that is at it.
    fn ensure(&self, number: usize, piece: &Piece) -> io::Result<()> {
        let mut states = self.states();
        loop {
            match states[number] {
                State::Here => return Ok(()),
                State::Coming => {
                    states = self.changed.wait(states).unwrap_or_else(PoisonError::into_inner);
                }
                State::Absent => break,
            }
        }
        states[number] = State::Coming;
        drop(states);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let fetched = self.fetch(piece).and_then(|bytes| self.kept.write_all_at(&bytes, self.places[number]));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.states()[number] = if fetched.is_ok() { State::Here } else { State::Absent };
        self.changed.notify_all();
        fetched
    }

    fn fetch(&self, piece: &Piece) -> io::Result<Vec<u8>> {
        let compressed = self.source.range(piece.offset, piece.end)?;
        let mut bytes = Vec::with_capacity(usize::try_from(piece.size).unwrap_or(0).min(16 << 20));
        match self.compression {
            PieceCompression::Zstd => cut(zstd::Decoder::with_buffer(&compressed[..])?, piece, &mut bytes)?,
            PieceCompression::Gzip => {
                cut(flate2::bufread::MultiGzDecoder::new(&compressed[..]), piece, &mut bytes)?;
            }
        }
        let found = Digest::of(&bytes);
        if found != piece.digest {
            let what = format!("a piece of the layer is {found}, not {}", piece.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(bytes)
    }

    fn states(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a piece from the stream it is in.
fn cut(mut stream: impl Read, piece: &Piece, bytes: &mut Vec<u8>) -> io::Result<()> {
    io::copy(&mut stream.by_ref().take(piece.skip), &mut io::sink())?;
    stream.take(piece.size).read_to_end(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Blob(Vec<u8>, AtomicUsize);

    impl Source for Blob {
        fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(self.0[start as usize..end as usize].to_owned())
        }
    }

    #[test]
    fn fetched_once_and_verified() {
        let frame = zstd::bulk::compress(b"hello world", 3).unwrap();
        let end = frame.len() as u64;
        let blob = Arc::new(Blob(frame, AtomicUsize::new(0)));
        let good = Piece { at: 0, size: 11, offset: 0, end, skip: 0, digest: Digest::of(b"hello world") };
        let bad = Piece { digest: Digest::of(b"other"), ..good.clone() };
        let path = std::env::temp_dir().join(format!("lazy-pieces-{}", std::process::id()));
        let kept = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let sizes = [11, 11].into_iter();
        let pieces = Pieces::new(blob.clone(), PieceCompression::Zstd, sizes, kept, Arc::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(pieces.read(1, &good, 6, 100).unwrap(), b"world"));
            }
        });
        assert_eq!(blob.1.load(Ordering::SeqCst), 1);
        let error = pieces.read(0, &bad, 0, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(pieces.read(0, &good, 0, 5).is_ok(), "a failed piece can be asked for again");
    }
}

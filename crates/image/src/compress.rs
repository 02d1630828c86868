//! Compressing layers, on every processor there is.
//!
//! The stream is cut into blocks, and each becomes a gzip member or a zstd frame of its own, which every decoder reads as one
//! stream. What comes out depends on the bytes, the method and the level alone, not on how many threads made it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use libdeflater::{CompressionLvl, Compressor};
use oci::media;

use crate::chunked::{Announced, ChunkedStream};

/// Large enough that starting over costs gzip less than a hundredth.
const BLOCK: usize = 2 << 20;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// What every registry and every engine takes.
    Gzip,
    Zstd,
    /// Zstd file by file, with an index: see [`crate::chunked`].
    ZstdChunked,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::ZstdChunked => "zstd:chunked",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => media::OCI_LAYER_GZIP,
            Self::Zstd | Self::ZstdChunked => media::OCI_LAYER_ZSTD,
        }
    }

    /// The level that is the usual compromise between time and size: that of gzip as small as zlib's level 6.
    pub fn default_level(self) -> i32 {
        match self {
            Self::Gzip => 3,
            Self::Zstd | Self::ZstdChunked => 3,
        }
    }

    /// The levels there are, from fastest to smallest.
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Gzip => 1..=9,
            Self::Zstd | Self::ZstdChunked => 1..=19,
        }
    }

    fn block(self, level: i32, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let level = CompressionLvl::new(level).map_err(|_| io::ErrorKind::InvalidInput)?;
                let mut compressor = Compressor::new(level);
                let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
                let length = compressor.gzip_compress(bytes, &mut member).map_err(io::Error::other)?;
                member.truncate(length);
                Ok(member)
            }
            Self::Zstd | Self::ZstdChunked => zstd::bulk::compress(bytes, level),
        }
    }
}

/// `source` compressed, as a stream, and what will be there to say about it when it has ended.
///
/// # Errors
/// Those of starting a thread.
pub fn compress(
    source: impl Read + Send + 'static,
    method: Method,
    level: i32,
) -> io::Result<(Box<dyn Read + Send>, Announced)> {
    if method == Method::ZstdChunked {
        let (stream, announced) = ChunkedStream::new(source, level)?;
        return Ok((Box::new(stream), announced));
    }
    Ok((Box::new(Blocks::new(source, method, level)?), Announced::default()))
}

type Compressed = io::Result<Vec<u8>>;
type Job = (Vec<u8>, SyncSender<Compressed>);

/// The compressed form of a stream, as a stream.
struct Blocks<R> {
    source: R,
    ended: bool,
    /// Gone when the source has ended, which is how the workers end.
    jobs: Option<Sender<Job>>,
    /// The blocks at work, in order.
    ahead: VecDeque<Receiver<Compressed>>,
    most_ahead: usize,
    current: io::Cursor<Vec<u8>>,
}

impl<R: Read> Blocks<R> {
    /// Compresses `source` with as many threads as there are processors.
    fn new(source: R, method: Method, level: i32) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(source, method, level, threads)
    }

    fn with_threads(source: R, method: Method, level: i32, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("compress".to_owned()).spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, done)) = job else { return };
                    // Nobody waits any more when the stream was dropped.
                    let _ = done.send(method.block(level, &block));
                }
            })?;
        }
        Ok(Self {
            source,
            ended: false,
            jobs: Some(jobs),
            ahead: VecDeque::new(),
            most_ahead: threads + 1,
            current: io::Cursor::default(),
        })
    }

    /// Gives the workers as much as they may have.
    fn fill(&mut self) -> io::Result<()> {
        while !self.ended && self.ahead.len() < self.most_ahead {
            let mut block = Vec::with_capacity(BLOCK);
            self.source.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
            if block.is_empty() {
                self.ended = true;
                self.jobs = None;
            } else if let Some(jobs) = &self.jobs {
                let (done, result) = sync_channel(1);
                jobs.send((block, done)).map_err(|_| gone())?;
                self.ahead.push_back(result);
            }
        }
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread that compresses ended early")
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.fill()?;
            let Some(next) = self.ahead.pop_front() else { return Ok(0) };
            self.current = io::Cursor::new(next.recv().map_err(|_| gone())??);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::decode;

    fn bytes(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x1f
        };
        (0..length).map(|_| next()).collect()
    }

    fn compressed(source: &[u8], method: Method, threads: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Blocks::with_threads(source, method, method.default_level(), threads)
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    #[test]
    fn one_stream_however_many_threads() {
        for length in [1, BLOCK, 3 * BLOCK + 17] {
            let source = bytes(length);
            for method in [Method::Gzip, Method::Zstd] {
                let one = compressed(&source, method, 1);
                assert!(one == compressed(&source, method, 5), "{method:?} of {length} bytes");
                let mut back = Vec::new();
                decode(&one[..]).unwrap().1.read_to_end(&mut back).unwrap();
                assert!(back == source, "{method:?} of {length} bytes");
            }
        }
    }

    #[test]
    fn failures_of_the_source_come_out() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
        let source = io::Cursor::new(bytes(BLOCK)).chain(Broken);
        let mut stream = Blocks::with_threads(source, Method::Gzip, 1, 2).unwrap();
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

//! Compressing layers, on every processor there is.
//!
//! The stream is cut into blocks, and each becomes a gzip member or a zstd frame of its own, which every decoder reads as one
//! stream. What comes out depends on the bytes, the method and the level alone, not on how many threads made it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use libdeflater::{CompressionLvl, Compressor};
use oci::media;
use sys::gzip;

use crate::chunked::{Announced, ChunkedStream};
use crate::crew::lock;

/// Large enough that starting over costs gzip less than a hundredth.
const BLOCK: usize = 2 << 20;

/// At most so many threads compress a layer: each holds some 4 MiB, and a push has several layers at work.
const THREADS: usize = 16;

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

    /// The level that layers have unless another one is asked for. Gzip's is its fastest: over a local network a push waits for
    /// nothing but compressing, and level 3 takes three times as long to save 8 % of the bytes.
    pub fn default_level(self) -> i32 {
        match self {
            Self::Gzip => 1,
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

/// Part of the stream, before and after; what it has room for is used again by later parts.
struct Block {
    plain: Vec<u8>,
    packed: Vec<u8>,
    packed_length: usize,
    /// How much of `packed` was read.
    position: usize,
}

impl Block {
    fn new() -> Self {
        Self { plain: Vec::new(), packed: Vec::new(), packed_length: 0, position: 0 }
    }

    /// Takes the next part of `source`; there is none when it is empty then.
    fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        self.plain.clear();
        source.by_ref().take(BLOCK as u64).read_to_end(&mut self.plain).map(drop)
    }

    fn compress(&mut self, encoder: &mut Encoder) -> io::Result<()> {
        let bound = encoder.bound(self.plain.len());
        if self.packed.len() < bound {
            self.packed = vec![0; bound];
        }
        self.position = 0;
        self.packed_length = encoder.compress(&self.plain, &mut self.packed)?;
        Ok(())
    }
}

impl Read for Block {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (&self.packed[self.position..self.packed_length]).read(buffer)?;
        self.position += length;
        Ok(length)
    }
}

/// What a thread compresses blocks with, one after the other.
enum Encoder {
    /// The first level.
    FastGzip(gzip::Compressor),
    Gzip(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    fn new(method: Method, level: i32) -> io::Result<Self> {
        Ok(match method {
            Method::Gzip if level == *method.levels().start() => Self::FastGzip(gzip::Compressor::default()),
            Method::Gzip => {
                let level = CompressionLvl::new(level).map_err(|_| io::ErrorKind::InvalidInput)?;
                Self::Gzip(Compressor::new(level))
            }
            Method::Zstd | Method::ZstdChunked => Self::Zstd(zstd::bulk::Compressor::new(level)?),
        })
    }

    /// What `length` bytes become at most.
    fn bound(&mut self, length: usize) -> usize {
        match self {
            Self::FastGzip(_) => gzip::Compressor::bound(length),
            Self::Gzip(compressor) => compressor.gzip_compress_bound(length),
            Self::Zstd(_) => zstd::zstd_safe::compress_bound(length),
        }
    }

    fn compress(&mut self, plain: &[u8], packed: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::FastGzip(compressor) => compressor.compress(plain, packed),
            Self::Gzip(compressor) => compressor.gzip_compress(plain, packed).map_err(io::Error::other),
            Self::Zstd(compressor) => compressor.compress_to_buffer(plain, packed),
        }
    }
}

type Compressed = io::Result<Block>;
type Job = (Block, SyncSender<Compressed>);

/// The compressed form of a stream, as a stream.
struct Blocks<R> {
    source: R,
    /// Gone when the source has ended, which is how the workers end.
    jobs: Option<Sender<Job>>,
    /// The blocks at work, in order.
    ahead: VecDeque<Receiver<Compressed>>,
    /// The blocks that nothing is in.
    spare: Vec<Block>,
    /// The block that is being read.
    current: Option<Block>,
}

impl<R: Read> Blocks<R> {
    /// Compresses `source` on all processors, within reason.
    fn new(source: R, method: Method, level: i32) -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(source, method, level, processors.min(THREADS))
    }

    fn with_threads(source: R, method: Method, level: i32, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let mut encoder = Encoder::new(method, level)?;
            std::thread::Builder::new().name("compress".to_owned()).spawn(move || {
                loop {
                    let job = lock(&queue).recv();
                    let Ok((mut block, done)) = job else { return };
                    let compressed = block.compress(&mut encoder);
                    // Nobody waits any more when the stream was dropped.
                    let _ = done.send(compressed.map(|()| block));
                }
            })?;
        }
        // One that is read, and one that is ready when a thread is.
        let spare = (0..threads + 2).map(|_| Block::new()).collect();
        Ok(Self { source, jobs: Some(jobs), ahead: VecDeque::new(), spare, current: None })
    }

    /// Gives the workers as much as there is room for.
    fn fill(&mut self) -> io::Result<()> {
        while let (Some(jobs), Some(mut block)) = (&self.jobs, self.spare.pop()) {
            block.fill(&mut self.source)?;
            if block.plain.is_empty() {
                self.jobs = None;
            } else {
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
            if let Some(current) = &mut self.current {
                let length = current.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
            }
            self.spare.extend(self.current.take());
            self.fill()?;
            let Some(next) = self.ahead.pop_front() else { return Ok(0) };
            self.current = Some(next.recv().map_err(|_| gone())??);
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

    fn compressed(source: &[u8], method: Method, level: i32, threads: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Blocks::with_threads(source, method, level, threads).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn one_stream_however_many_threads() {
        for length in [1, BLOCK, 3 * BLOCK + 17] {
            let source = bytes(length);
            for (method, level) in [(Method::Gzip, 1), (Method::Gzip, 6), (Method::Zstd, 3)] {
                let one = compressed(&source, method, level, 1);
                let is_same = one == compressed(&source, method, level, 5);
                assert!(is_same, "{method:?} {level} of {length} bytes");
                let mut back = Vec::new();
                decode(&one[..]).unwrap().1.read_to_end(&mut back).unwrap();
                assert!(back == source, "{method:?} {level} of {length} bytes");
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

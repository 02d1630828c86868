//! The compressed layer as a stream, for who sends it while it is made.

use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use super::{Annotations, ChunkedWriter};

const BUFFER: usize = 256 << 10;
const PIECES: usize = 4;

/// A zstd:chunked layer being made of an uncompressed one, on a thread of its own.
pub struct ChunkedStream {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
}

/// The annotations of a layer that is being made; there once its stream has ended well.
pub type Announced = Arc<OnceLock<Annotations>>;

impl ChunkedStream {
    /// # Errors
    /// Those of starting a thread.
    pub fn new(source: impl Read + Send + 'static, level: i32) -> io::Result<(Self, Announced)> {
        let (sender, pieces) = sync_channel(PIECES);
        let announced = Announced::default();
        let slot = announced.clone();
        std::thread::Builder::new().name("compress".to_owned()).spawn(move || {
            let failures = sender.clone();
            if let Err(e) = run(source, level, sender, &slot) {
                let _ = failures.send(Err(e));
            }
        })?;
        Ok((Self { pieces, current: io::Cursor::default() }, announced))
    }
}

fn run(
    source: impl Read,
    level: i32,
    sender: SyncSender<io::Result<Vec<u8>>>,
    slot: &OnceLock<Annotations>,
) -> io::Result<()> {
    let output = io::BufWriter::with_capacity(BUFFER, Pieces(sender));
    let input = BufReader::with_capacity(BUFFER, source);
    let (mut output, annotations) = ChunkedWriter::new(output, level)?.run(input)?;
    // Before the last piece, behind which the reader sees the end.
    let _ = slot.set(annotations);
    output.flush()
}

/// The sending end; it fails when nobody reads any more.
struct Pieces(SyncSender<io::Result<Vec<u8>>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Ok(bytes.to_owned())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChunkedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.pieces.recv() {
                Ok(piece) => self.current = io::Cursor::new(piece?),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Entry, Writer};

    #[test]
    fn what_the_writer_writes() {
        let mut writer = Writer::new(Vec::new());
        writer.append(&Entry::file("a", 3_000_000), io::repeat(7)).unwrap();
        let plain = writer.finish().unwrap();
        let (expected, annotations) = ChunkedWriter::new(Vec::new(), 3).unwrap().run(&plain[..]).unwrap();
        let (mut stream, announced) = ChunkedStream::new(io::Cursor::new(plain), 3).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(bytes == expected);
        assert_eq!(announced.get(), Some(&annotations));
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let (mut stream, _) = ChunkedStream::new(io::Cursor::new(vec![1; 2000]), 3).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

//! Making a zstd:chunked layer of an archive that passes by.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};

use oci::{Digest, Hasher};

use super::locate::zstd_annotations;
use super::toc::{Toc, TocEntry};
use crate::archive::{Entry, Kind, Reader, TarError};

/// How much of a file is compressed by itself: what a reader fetches for one byte of it.
const PIECE: u64 = 1 << 20;
/// Begins a frame that decoders pass over (RFC 8878, 3.1.2).
const SKIPPABLE: u32 = 0x184D_2A50;
const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";

/// Writes the compressed layer to `output`.
pub struct ChunkedWriter<W> {
    output: Counted<W>,
    level: i32,
    compressor: zstd::bulk::Compressor<'static>,
    entries: Vec<TocEntry>,
}

/// The annotations for the layer's descriptor.
pub type Annotations = BTreeMap<String, String>;

impl<W: Write> ChunkedWriter<W> {
    /// # Errors
    /// Those of setting the compressor up.
    pub fn new(output: W, level: i32) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(level)?;
        Ok(Self { output: Counted { output, count: 0 }, level, compressor, entries: Vec::new() })
    }

    /// Compresses the uncompressed archive `input`, of which not a byte is changed; returns the output and the annotations.
    ///
    /// There are none when the index could not tell all of it: of a sparse file, whose holes are not in the archive, or of a
    /// name that is no text. Such a layer is an ordinary one.
    ///
    /// # Errors
    /// Those of reading and writing; an archive that cannot be read as one is [`io::ErrorKind::InvalidData`].
    pub fn run(mut self, input: impl BufRead) -> io::Result<(W, Annotations)> {
        let mut archive = Reader::new(Recorder { input, passed: Vec::new(), records: true });
        while let Some(entry) = archive.next_entry().map_err(damaged)? {
            let Some(described) = describe(&entry) else { return self.without_index(archive) };
            self.entry(&mut archive, &entry, described)?;
        }
        archive.drain().map_err(damaged)?;
        self.headers(&mut archive)?;
        self.finish()
    }

    /// Compresses the rest as it is.
    fn without_index<R: BufRead>(mut self, mut archive: Reader<Recorder<R>>) -> io::Result<(W, Annotations)> {
        self.headers(&mut archive)?;
        let input = &mut archive.input_mut().input;
        zstd::stream::copy_encode(input, &mut self.output, self.level)?;
        Ok((self.output.output, Annotations::new()))
    }

    /// What passed since the last file's data: padding and headers, in a frame of their own.
    fn headers<R: BufRead>(&mut self, archive: &mut Reader<Recorder<R>>) -> io::Result<()> {
        let passed = std::mem::take(&mut archive.input_mut().passed);
        if passed.is_empty() { Ok(()) } else { self.frame(&passed).map(drop) }
    }

    fn entry<R: BufRead>(
        &mut self,
        archive: &mut Reader<Recorder<R>>,
        entry: &Entry,
        mut described: TocEntry,
    ) -> io::Result<()> {
        if entry.kind != Kind::Regular || entry.size == 0 {
            self.entries.push(described);
            return Ok(());
        }
        self.headers(archive)?;
        archive.input_mut().records = false;
        let first = self.entries.len();
        let mut whole = Hasher::new();
        let mut at = 0;
        while at < entry.size {
            let mut piece = Vec::with_capacity(PIECE.min(entry.size - at) as usize);
            while (piece.len() as u64) < PIECE {
                let data = archive.data().map_err(damaged)?;
                let length = data.len().min(PIECE as usize - piece.len());
                if length == 0 {
                    break;
                }
                piece.extend_from_slice(&data[..length]);
                archive.consume(length);
            }
            whole.update(&piece);
            let (offset, end_offset) = self.frame(&piece)?;
            let size = piece.len() as u64;
            self.entries.push(TocEntry {
                offset,
                end_offset,
                chunk_offset: at,
                chunk_size: if size == entry.size { 0 } else { size },
                chunk_digest: Digest::of(&piece).to_string(),
                ..described
            });
            described = TocEntry {
                kind: "chunk".to_owned(),
                name: self.entries[first].name.clone(),
                ..TocEntry::default()
            };
            at += size;
        }
        self.entries[first].digest = whole.finish().to_string();
        archive.input_mut().records = true;
        Ok(())
    }

    /// Writes one frame; returns where it begins and ends.
    fn frame(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        let start = self.output.count;
        self.output.write_all(&self.compressor.compress(bytes)?)?;
        Ok((start, self.output.count))
    }

    fn finish(mut self) -> io::Result<(W, Annotations)> {
        let json = serde_json::to_vec(&Toc { version: 1, entries: std::mem::take(&mut self.entries) })?;
        let compressed = self.compressor.compress(&json)?;
        let start = self.output.count + 8;
        self.skippable(&compressed)?;
        let mut footer = Vec::with_capacity(64);
        // Where the index is; where the original headers are, which nobody needs who has the layer.
        for number in [start, compressed.len() as u64, json.len() as u64, 1, 0, 0, 0] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(FOOTER_MAGIC);
        self.skippable(&footer)?;
        let annotations = zstd_annotations(start, &compressed, json.len() as u64);
        Ok((self.output.output, annotations))
    }

    /// Writes bytes that decompressors pass over.
    fn skippable(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.output.write_all(&SKIPPABLE.to_le_bytes())?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(bytes)
    }
}

fn damaged(error: TarError) -> io::Error {
    match error {
        TarError::Read(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

/// The index's entry for a file; `None` when it cannot have one.
fn describe(entry: &Entry) -> Option<TocEntry> {
    use base64::Engine as _;
    if entry.sparse.is_some() {
        return None;
    }
    let kind = match entry.kind {
        Kind::Regular => "reg",
        Kind::HardLink => "hardlink",
        Kind::Symlink => "symlink",
        Kind::Character => "char",
        Kind::Block => "block",
        Kind::Directory => "dir",
        Kind::Fifo => "fifo",
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).ok();
    let value = |value: &[u8]| base64::engine::general_purpose::STANDARD.encode(value);
    let xattrs = entry.xattrs.iter().map(|(name, bytes)| Some((text(name)?, value(bytes))));
    Some(TocEntry {
        kind: kind.to_owned(),
        name: text(&entry.path)?,
        link_name: text(&entry.link)?,
        mode: entry.mode,
        size: if entry.kind == Kind::Regular { entry.size } else { 0 },
        uid: entry.uid,
        gid: entry.gid,
        modified: jiff::Timestamp::from_second(entry.mtime.0).ok()?.to_string(),
        dev_major: entry.device.0,
        dev_minor: entry.device.1,
        xattrs: xattrs.collect::<Option<_>>()?,
        ..TocEntry::default()
    })
}

/// Keeps what passes by, while it is told to.
struct Recorder<R> {
    input: R,
    passed: Vec<u8>,
    records: bool,
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if self.records
            && let Ok(bytes) = self.input.fill_buf()
        {
            self.passed.extend_from_slice(&bytes[..length]);
        }
        self.input.consume(length);
    }
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

struct Counted<W> {
    output: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Writer;
    use crate::chunked::{FileIndex, FileKind, IndexPlace};
    use oci::image::Descriptor;

    fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries {
            writer.append(entry, &data[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn index(layer: &[u8], annotations: Annotations) -> Option<FileIndex> {
        let mut descriptor =
            Descriptor::new(oci::media::OCI_LAYER_ZSTD, Digest::of(layer), layer.len() as u64);
        descriptor.annotations = annotations;
        let place = IndexPlace::of(&descriptor).unwrap()?;
        let (start, end) = place.range();
        Some(place.read(&layer[start as usize..end as usize]).unwrap().unwrap())
    }

    #[test]
    fn same_bytes_and_every_file_by_itself() {
        let big: Vec<u8> = (0..3 * PIECE / 2).map(|i| ((i * 31) >> 7) as u8).collect();
        let file = |name: &str, data: &[u8]| (Entry::file(name, data.len() as u64), data.to_vec());
        let mut empty = Entry::directory("dir/");
        empty.xattrs = vec![(b"user.x".to_vec(), vec![0, 255])];
        let entries =
            [(empty, Vec::new()), file("dir/a", b"alpha"), file("dir/empty", b""), file("big", &big)];
        let plain = archive(&entries);
        let (layer, annotations) = ChunkedWriter::new(Vec::new(), 3).unwrap().run(&plain[..]).unwrap();
        assert_eq!(zstd::decode_all(&layer[..]).unwrap(), plain);
        let index = index(&layer, annotations).unwrap();
        let mut found = Vec::new();
        for file in &index.files {
            let FileKind::Regular { pieces, .. } = &file.kind else { continue };
            let mut data = Vec::new();
            for piece in pieces {
                let bytes = zstd::decode_all(&layer[piece.offset as usize..piece.end as usize]).unwrap();
                assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (piece.size, piece.digest));
                data.extend(bytes);
            }
            found.push((file.path.as_str(), data));
        }
        assert_eq!(found, [("dir/a", b"alpha".to_vec()), ("dir/empty", Vec::new()), ("big", big)]);
        assert_eq!(index.files[0].xattrs, [("user.x".to_owned(), vec![0, 255])]);
    }

    #[test]
    fn a_name_that_is_no_text_gives_an_ordinary_layer() {
        let mut odd = Entry::file("x", 1);
        odd.path = b"\xff".to_vec();
        let plain = archive(&[(Entry::file("a", 5), b"alpha".to_vec()), (odd, b"1".to_vec())]);
        let (layer, annotations) = ChunkedWriter::new(Vec::new(), 3).unwrap().run(&plain[..]).unwrap();
        assert_eq!(zstd::decode_all(&layer[..]).unwrap(), plain);
        assert!(index(&layer, annotations).is_none());
    }
}

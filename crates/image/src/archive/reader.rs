//! Reading archives entry by entry: ustar, GNU and pax, every length bounded.

use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};

use super::header::{BLOCK, Entry, Header, Kind};
use super::pax::Extended;
use super::sparse::{MapText, old_gnu};

/// A long name or a set of pax records; the same limit as Go's reader has.
const MAX_EXTENDED: u64 = 1 << 20;
/// Real ones hold a comment; every entry that follows takes a copy.
const MAX_GLOBAL: u64 = 64 << 10;
const MAX_NAME: usize = 4096;
const MAX_TRAILING: usize = 16 << 20;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("archive ends in the middle of an entry")]
    Truncated,
    #[error("archive header is damaged (wrong checksum)")]
    Checksum,
    #[error("archive header has an invalid {0}")]
    Field(&'static str),
    #[error("archive has an invalid extended header ({0})")]
    Extended(&'static str),
    #[error("archive has an extended header of {0} bytes, more than {MAX_EXTENDED}")]
    ExtendedTooLong(u64),
    #[error("archive has global extended headers of {0} bytes, more than {MAX_GLOBAL}")]
    GlobalTooLong(u64),
    #[error("archive has a name of {0} bytes, more than {MAX_NAME}")]
    NameTooLong(usize),
    #[error("archive has a sparse file with an invalid map")]
    Sparse,
    #[error("archive has an entry of unknown type {0:?}")]
    Kind(char),
    #[error("archive is followed by more than {MAX_TRAILING} bytes that do not belong to it")]
    Endless,
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}

/// Why an entry's data did not arrive in a file.
#[derive(Debug)]
pub enum DataError {
    Archive(TarError),
    Write(io::Error),
}

impl From<DataError> for io::Error {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Archive(error) => Self::new(io::ErrorKind::InvalidData, error),
            DataError::Write(error) => error,
        }
    }
}

/// An archive being read; [`Reader::next_entry`], then that entry's data by [`Reader::data`].
pub struct Reader<R> {
    input: R,
    /// Data of the current entry not read yet, and the padding behind it.
    remaining: u64,
    padding: u64,
    global: Extended,
    global_size: u64,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Self {
        Self { input, remaining: 0, padding: 0, global: Extended::default(), global_size: 0, ended: false }
    }

    /// The next entry, after what is left of the current one; `None` at the end of the archive.
    ///
    /// # Errors
    /// [`TarError`]; nothing can be read after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = self.global.clone();
        let mut extended_size = 0;
        loop {
            self.skip()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let header = Header(&block);
            header.check()?;
            let size = header.size()?;
            if matches!(header.type_flag(), b'L' | b'K' | b'x' | b'g') {
                extended_size = u64::saturating_add(extended_size, size);
                if extended_size > MAX_EXTENDED {
                    return Err(TarError::ExtendedTooLong(extended_size));
                }
            }
            match header.type_flag() {
                b'L' => extended.path = Some(self.long_name(size)?),
                b'K' => extended.link = Some(self.long_name(size)?),
                b'x' => extended.read(&self.extended(size)?)?,
                b'g' => {
                    self.global_size += size;
                    if self.global_size > MAX_GLOBAL {
                        return Err(TarError::GlobalTooLong(self.global_size));
                    }
                    let records = self.extended(size)?;
                    self.global.read(&records)?;
                    extended.read(&records)?;
                }
                // A volume label, and the names of a directory in an incremental backup: nothing to unpack.
                b'V' | b'D' => self.expect_data(size),
                flag => return self.entry(&header, flag, size, extended).map(Some),
            }
        }
    }

    /// The next piece of the current entry's data, empty at its end; [`Reader::consume`] what was used of it.
    ///
    /// # Errors
    /// [`TarError::Truncated`] when the archive ends before the entry does.
    pub fn data(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            return Err(TarError::Truncated);
        }
        let length = usize::try_from(self.remaining).map_or(bytes.len(), |left| bytes.len().min(left));
        Ok(&bytes[..length])
    }

    /// Writes the data of `entry`, which is the current one, to the empty `file`, with its holes.
    ///
    /// # Errors
    /// [`DataError`] says which side failed.
    pub fn write_data(&mut self, entry: &Entry, file: &mut File) -> Result<(), DataError> {
        let Some(map) = &entry.sparse else { return self.copy(file, u64::MAX) };
        for &(offset, length) in &map.0 {
            file.seek(SeekFrom::Start(offset)).map_err(DataError::Write)?;
            self.copy(file, length)?;
        }
        file.set_len(entry.size).map_err(DataError::Write)
    }

    /// Copies at most `limit` bytes of the current entry's data.
    fn copy(&mut self, file: &mut File, mut limit: u64) -> Result<(), DataError> {
        while limit > 0 {
            let data = self.data().map_err(DataError::Archive)?;
            if data.is_empty() {
                break;
            }
            let length = usize::try_from(limit).map_or(data.len(), |limit| data.len().min(limit));
            file.write_all(&data[..length]).map_err(DataError::Write)?;
            self.consume(length);
            limit -= length as u64;
        }
        Ok(())
    }

    /// What the archive is read from.
    pub(crate) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Bytes of the current entry's data that are left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.remaining -= length as u64;
    }

    /// Reads the padding that follows the end of the archive, for the sake of those who watch the bytes pass.
    ///
    /// # Errors
    /// [`TarError::Endless`] when it is more than any writer's last record.
    pub fn drain(&mut self) -> Result<(), TarError> {
        let mut total = 0;
        loop {
            let length = self.input.fill_buf()?.len();
            total += length;
            if length == 0 {
                return Ok(());
            }
            if total > MAX_TRAILING {
                return Err(TarError::Endless);
            }
            self.input.consume(length);
        }
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        flag: u8,
        size: u64,
        mut extended: Extended,
    ) -> Result<Entry, TarError> {
        let kind = match flag {
            b'0' | b'\0' | b'7' | b'S' => Kind::Regular,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(TarError::Kind(char::from(other))),
        };
        let mut entry = Entry {
            path: header.name(),
            kind,
            mode: header.mode()?,
            uid: header.uid()?,
            gid: header.gid()?,
            size: extended.size.unwrap_or(size),
            mtime: (header.mtime()?, 0),
            link: header.link(),
            device: if matches!(kind, Kind::Character | Kind::Block) { header.device()? } else { (0, 0) },
            xattrs: Vec::new(),
            sparse: None,
        };
        if kind != Kind::Regular {
            // Hard links may have data after them in pax; links and devices have a size in some archives, but no data.
            entry.size = if kind == Kind::HardLink { entry.size } else { 0 };
        }
        self.expect_data(entry.size);
        if flag == b'S' {
            self.old_sparse(header, &mut entry)?;
        }
        let sparse = std::mem::take(&mut extended.sparse);
        let sparse_name = sparse.name.clone();
        extended.apply(&mut entry);
        if let (Kind::Regular, Some((real_size, map))) = (kind, sparse.finish()) {
            let map = match map {
                Some(map) => map,
                None => self.sparse_text()?,
            };
            map.check(real_size, self.remaining)?;
            (entry.size, entry.sparse) = (real_size, Some(map));
            entry.path = sparse_name.unwrap_or(entry.path);
        }
        // Before the 1988 standard a trailing slash was the only sign of a directory.
        if entry.kind == Kind::Regular && entry.path.ends_with(b"/") {
            entry.kind = Kind::Directory;
        }
        for name in [&entry.path, &entry.link] {
            if name.len() > MAX_NAME {
                return Err(TarError::NameTooLong(name.len()));
            }
        }
        Ok(entry)
    }

    fn old_sparse(&mut self, header: &Header<'_>, entry: &mut Entry) -> Result<(), TarError> {
        let (mut map, mut more, real_size) = old_gnu(header)?;
        // The continuation blocks stand between the header and the data, and are not part of its size.
        while more {
            let block = self.block()?.ok_or(TarError::Truncated)?;
            map.add_blocks(&block[..504])?;
            more = block[504] != 0;
        }
        map.check(real_size, self.remaining)?;
        (entry.size, entry.sparse) = (real_size, Some(map));
        Ok(())
    }

    fn sparse_text(&mut self) -> Result<super::sparse::SparseMap, TarError> {
        let mut text = MapText::default();
        loop {
            if self.remaining < BLOCK as u64 {
                return Err(TarError::Sparse);
            }
            let block = self.block()?.ok_or(TarError::Truncated)?;
            self.remaining -= BLOCK as u64;
            if let Some(map) = text.block(&block)? {
                return Ok(map);
            }
        }
    }

    fn expect_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
    }

    /// Passes over what is left of the current entry.
    fn skip(&mut self) -> Result<(), TarError> {
        let (mut left, padding) = (self.remaining.saturating_add(self.padding), self.padding);
        (self.remaining, self.padding) = (0, 0);
        while left > 0 {
            let length = self.input.fill_buf()?.len();
            // Docker's client sends contexts whose last entry nobody has padded.
            if length == 0 && left == padding {
                return Ok(());
            }
            if length == 0 {
                return Err(TarError::Truncated);
            }
            let length = usize::try_from(left).map_or(length, |left| length.min(left));
            self.input.consume(length);
            left -= length as u64;
        }
        Ok(())
    }

    /// The next header; `None` at the end, which is two empty blocks, or where the input stops between entries.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let block = self.block()?.filter(|block| block.iter().any(|&b| b != 0));
        self.ended = block.is_none();
        Ok(block)
    }

    /// The next block; `None` when the input ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        io::Read::read_exact(&mut self.input, &mut block)?;
        Ok(Some(block))
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.extended(size)?;
        let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn extended(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.expect_data(size);
        let mut bytes = Vec::new();
        while self.remaining > 0 {
            let piece = self.data()?;
            bytes.extend_from_slice(piece);
            let length = piece.len();
            self.consume(length);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::Writer;

    fn entries() -> impl Strategy<Value = (Entry, Vec<u8>)> {
        let kinds = [Kind::Regular, Kind::HardLink, Kind::Symlink, Kind::Character, Kind::Block, Kind::Fifo];
        let xattrs =
            prop::collection::btree_map("user\\.[a-z]{1,5}", prop::collection::vec(any::<u8>(), 0..40), 0..3);
        let name = || "[^\\x00]{1,60}(/[a-zé]{1,60}){0,4}";
        (
            (
                prop::sample::select(kinds.to_vec()),
                name(),
                name(),
                prop::collection::vec(any::<u8>(), 0..1500),
            ),
            (0..0o10000u32, 0..u32::MAX, 0..u32::MAX, any::<i32>(), (0..1u32 << 20, 0..1u32 << 20), xattrs),
        )
            .prop_map(|((kind, path, link, data), (mode, uid, gid, time, device, xattrs))| {
                let is_link = matches!(kind, Kind::HardLink | Kind::Symlink);
                let data = if kind == Kind::Regular { data } else { Vec::new() };
                let entry = Entry {
                    path: path.trim_end_matches('/').as_bytes().to_vec(),
                    kind,
                    mode,
                    uid,
                    gid,
                    size: data.len() as u64,
                    mtime: (time.into(), 0),
                    link: if is_link { link.into_bytes() } else { Vec::new() },
                    device: if matches!(kind, Kind::Character | Kind::Block) { device } else { (0, 0) },
                    xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
                    sparse: None,
                };
                (entry, data)
            })
    }

    /// Reads to the end or to the first error; what matters is that there is an end.
    fn exhaust(bytes: &[u8]) {
        let mut reader = Reader::new(bytes);
        while let Ok(Some(_)) = reader.next_entry() {
            while let Ok(length @ 1..) = reader.data().map(<[u8]>::len) {
                reader.consume(length);
            }
        }
    }

    #[test]
    fn the_last_padding_may_be_missing_but_not_in_part() {
        let mut writer = Writer::new(Vec::new());
        writer.append_bytes("file", b"content").unwrap();
        let bytes = writer.finish().unwrap();
        let end_of = |bytes| {
            let mut reader = Reader::new(bytes);
            reader.next_entry().unwrap().unwrap();
            reader.next_entry()
        };
        let data_end = BLOCK + b"content".len();
        assert!(matches!(end_of(&bytes[..data_end]), Ok(None)));
        assert!(matches!(end_of(&bytes[..data_end - 1]), Err(TarError::Truncated)));
        assert!(matches!(end_of(&bytes[..data_end + 1]), Err(TarError::Truncated)));
    }

    proptest! {
        #[test]
        fn reads_what_was_written(written in prop::collection::vec(entries(), 0..6)) {
            let mut writer = Writer::new(Vec::new());
            for (entry, data) in &written {
                writer.append(entry, &data[..]).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let mut reader = Reader::new(&bytes[..]);
            for (entry, data) in &written {
                let read_entry = reader.next_entry().unwrap();
                prop_assert_eq!(read_entry.as_ref(), Some(entry));
                let mut read = Vec::new();
                while let length @ 1.. = reader.data().unwrap().len() {
                    read.extend_from_slice(&reader.data().unwrap()[..length]);
                    reader.consume(length);
                }
                prop_assert_eq!(&read, data);
            }
            prop_assert!(reader.next_entry().unwrap().is_none());
        }

        /// Headers with any fields and a checksum that fits them, so that what lies behind the checksum is reached.
        #[test]
        fn any_fields_are_an_answer(
            block in prop::collection::vec(any::<u8>(), BLOCK),
            flag in prop::sample::select(b"01234567gxLKSV".to_vec()),
            size in 0..3000u64,
            tail in prop::collection::vec(any::<u8>(), 0..4000),
            digits: bool,
        ) {
            let mut block = block;
            if digits {
                block[100..148].iter_mut().for_each(|b| *b = b'0' + (*b & 7));
                block[386..512].iter_mut().for_each(|b| *b = b'0' + (*b & 7));
            }
            block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
            block[156] = flag;
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            block.extend(tail);
            exhaust(&block);
        }

        #[test]
        fn any_records_are_an_answer(records in prop::collection::vec(("[a-zA-Z.]{0,12}|GNU\\.sparse\\.(map|offset|numbytes|major|realsize|name)|size|path|mtime|uid", "[0-9,.\\-]{0,12}"), 0..8)) {
            let mut bytes = Vec::new();
            for (key, value) in records {
                let record = format!(" {key}={value}\n");
                let length = record.len() + 2;
                bytes.extend_from_slice(format!("{length:02}{record}").as_bytes());
            }
            let _ = Extended::default().read(&bytes);
        }
    }
}

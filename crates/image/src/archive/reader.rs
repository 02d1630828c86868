//! Reading archives entry by entry: ustar, GNU and pax, every length bounded.

use std::io::{self, BufRead};

use super::header::{BLOCK, Entry, Header, Kind};
use super::pax::Extended;
use super::sparse::{MapText, old_gnu};

/// A long name or a set of pax records; the same limit as Go's reader has.
const MAX_EXTENDED: u64 = 1 << 20;
const MAX_NAME: usize = 4096;

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
    #[error("archive has a name of {0} bytes, more than {MAX_NAME}")]
    NameTooLong(usize),
    #[error("archive has a sparse file with an invalid map")]
    Sparse,
    #[error("archive has an entry of unknown type {0:?}")]
    Kind(char),
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
                    if self.global_size > MAX_EXTENDED {
                        return Err(TarError::ExtendedTooLong(self.global_size));
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

    /// Bytes of the current entry's data that are left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.remaining -= length as u64;
    }

    /// Reads whatever follows the end of the archive, for the sake of those who watch the bytes pass.
    ///
    /// # Errors
    /// Those of the input.
    pub fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.input.fill_buf()?.len();
            if length == 0 {
                return Ok(());
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
        let mut left = self.remaining.saturating_add(self.padding);
        (self.remaining, self.padding) = (0, 0);
        while left > 0 {
            let length = self.input.fill_buf()?.len();
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

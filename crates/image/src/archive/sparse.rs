//! Files with holes, in the four ways GNU tar has written them.

use super::header::{BLOCK, Header, number};
use super::pax;
use super::reader::TarError;

/// A file of a terabyte costs nothing here, but whoever reads it later does not know that it is nothing.
const MAX_REAL_SIZE: u64 = 1 << 40;
const MAX_SEGMENTS: usize = 1 << 16;

/// Where the data of a sparse file goes: offset and length of each piece, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseMap(pub Vec<(u64, u64)>);

impl SparseMap {
    /// The map is trusted only after this: ordered, inside the file, and as long as the data that follows.
    pub fn check(&self, real_size: u64, data_size: u64) -> Result<(), TarError> {
        const BAD: TarError = TarError::Sparse;
        if real_size > MAX_REAL_SIZE || self.0.len() > MAX_SEGMENTS {
            return Err(BAD);
        }
        let (mut end, mut total) = (0, 0u64);
        for &(offset, length) in &self.0 {
            if offset < end {
                return Err(BAD);
            }
            end = offset.checked_add(length).filter(|&end| end <= real_size).ok_or(BAD)?;
            total += length;
        }
        if total == data_size { Ok(()) } else { Err(BAD) }
    }

    /// Adds pieces of an old GNU header or of one of its continuation blocks.
    pub fn add_blocks(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        for piece in bytes.chunks_exact(24) {
            if piece[0] == 0 {
                break;
            }
            let part = |range: std::ops::Range<usize>| {
                u64::try_from(number("sparse map", &piece[range])?).map_err(|_| TarError::Sparse)
            };
            self.push(part(0..12)?, part(12..24)?)?;
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), TarError> {
        if self.0.len() >= MAX_SEGMENTS {
            return Err(TarError::Sparse);
        }
        self.0.push((offset, length));
        Ok(())
    }
}

/// The first pieces, whether more blocks follow, and the real size, from an old GNU header (type `S`).
pub fn old_gnu(header: &Header<'_>) -> Result<(SparseMap, bool, u64), TarError> {
    let block: &[u8; BLOCK] = header.0;
    let mut map = SparseMap::default();
    map.add_blocks(&block[386..482])?;
    let real_size = u64::try_from(header.number("real size", 483..495)?).map_err(|_| TarError::Sparse)?;
    Ok((map, block[482] != 0, real_size))
}

/// What pax records say: versions 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default)]
pub struct PaxSparse {
    pub name: Option<Vec<u8>>,
    real_size: Option<u64>,
    map: Option<SparseMap>,
    offset: Option<u64>,
    major: u64,
}

impl PaxSparse {
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let parsed = || pax::number::<u64>(value).ok_or(TarError::Sparse);
        match key {
            b"name" if value.contains(&0) => return Err(TarError::Sparse),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(parsed()?),
            b"major" => self.major = parsed()?,
            b"offset" => self.offset = Some(parsed()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(TarError::Sparse)?;
                self.map.get_or_insert_default().push(offset, parsed()?)?;
            }
            b"map" => {
                let mut map = SparseMap::default();
                let mut numbers = value.split(|&b| b == b',').map(pax::number::<u64>);
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().flatten();
                    map.push(offset.ok_or(TarError::Sparse)?, length.ok_or(TarError::Sparse)?)?;
                }
                self.map = Some(map);
            }
            _ => {}
        }
        Ok(())
    }

    /// The real size, and the map unless it stands before the data (version 1.0); `None` for a file without holes.
    pub fn finish(self) -> Option<(u64, Option<SparseMap>)> {
        match (self.real_size, self.map, self.major) {
            (Some(size), _, 1) => Some((size, None)),
            (Some(size), Some(map), _) => Some((size, Some(map))),
            _ => None,
        }
    }
}

/// Collects the map that version 1.0 writes before the data, one decimal number per line, padded to whole blocks.
#[derive(Default)]
pub struct MapText {
    numbers: Vec<u64>,
    expected: Option<usize>,
    current: Vec<u8>,
}

impl MapText {
    /// Takes one block; returns the map when it was the last.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<Option<SparseMap>, TarError> {
        for &byte in block {
            if byte != b'\n' {
                if self.current.len() > 20 {
                    return Err(TarError::Sparse);
                }
                self.current.push(byte);
                continue;
            }
            let number: u64 = pax::number(&self.current).ok_or(TarError::Sparse)?;
            self.current.clear();
            match self.expected {
                None if number as usize > MAX_SEGMENTS => return Err(TarError::Sparse),
                None => self.expected = Some(number as usize * 2),
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len()) {
                let pairs = self.numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                return Ok(Some(SparseMap(pairs)));
            }
        }
        Ok(None)
    }
}

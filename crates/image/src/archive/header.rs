//! The 512-byte header block, and an entry as the rest of the crate sees it.

use super::reader::TarError;
use super::sparse::SparseMap;

pub const BLOCK: usize = 512;

/// One member of an archive, with all its extended headers applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// As written in the archive, not yet judged.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with set-id and sticky, 0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of the file; with [`Entry::sparse`], of the file with its holes.
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Target of a link, as written.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a file with holes belongs; only read, never written.
    pub sparse: Option<SparseMap>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Regular,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

impl Entry {
    /// A regular file of `size` bytes, mode 0644, of root, at time zero.
    pub fn file(path: &str, size: u64) -> Self {
        Self { path: path.as_bytes().to_vec(), size, mode: 0o644, ..Self::default() }
    }

    /// A directory, mode 0755, of root, at time zero.
    pub fn directory(path: &str) -> Self {
        Self { path: path.as_bytes().to_vec(), kind: Kind::Directory, mode: 0o755, ..Self::default() }
    }
}

/// Fields of the ustar header by position.
pub struct Header<'a>(pub &'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub fn type_flag(&self) -> u8 {
        self.0[156]
    }

    fn is_ustar(&self) -> bool {
        &self.0[257..263] == b"ustar\0"
    }

    pub fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = until_nul(&self.0[345..500]);
        // GNU's old format keeps times where ustar has the prefix.
        if self.is_ustar() && !prefix.is_empty() { [prefix, b"/", name].concat() } else { name.to_vec() }
    }

    pub fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).to_vec()
    }

    pub fn mode(&self) -> Result<u32, TarError> {
        // Some writers put the file type there too.
        self.number("mode", 100..108).map(|mode| (mode & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<u32, TarError> {
        id("uid", self.number("uid", 108..116)?)
    }

    pub fn gid(&self) -> Result<u32, TarError> {
        id("gid", self.number("gid", 116..124)?)
    }

    pub fn size(&self) -> Result<u64, TarError> {
        u64::try_from(self.number("size", 124..136)?).map_err(|_| TarError::Field("size"))
    }

    pub fn mtime(&self) -> Result<i64, TarError> {
        self.number("mtime", 136..148)
    }

    pub fn device(&self) -> Result<(u32, u32), TarError> {
        let part = |name, range| {
            u32::try_from(self.number(name, range)?).map_err(|_| TarError::Field("device number"))
        };
        Ok((part("device number", 329..337)?, part("device number", 337..345)?))
    }

    pub fn check(&self) -> Result<(), TarError> {
        let stored = self.number("checksum", 148..156)?;
        let byte = |(i, &b): (usize, &u8)| if (148..156).contains(&i) { b' ' } else { b };
        let unsigned: i64 = self.0.iter().enumerate().map(|at| i64::from(byte(at))).sum();
        // Sun's tar summed signed bytes, and its archives are still about.
        let signed: i64 = self.0.iter().enumerate().map(|at| i64::from(byte(at).cast_signed())).sum();
        if stored == unsigned || stored == signed { Ok(()) } else { Err(TarError::Checksum) }
    }

    pub fn number(&self, field: &'static str, range: std::ops::Range<usize>) -> Result<i64, TarError> {
        number(field, &self.0[range])
    }
}

/// Reads an octal field, or a base-256 one as GNU writes numbers that do not fit.
pub fn number(field: &'static str, bytes: &[u8]) -> Result<i64, TarError> {
    match bytes {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            // Bit 6 is the sign; the remaining bits of the first byte are the number's top ones.
            let mut value: i128 =
                if negative { i128::from(first | 0x80) - 256 } else { i128::from(first & 0x7f) };
            for &byte in rest {
                value = value << 8 | i128::from(byte);
                if i64::try_from(value).is_err() {
                    return Err(TarError::Field(field));
                }
            }
            i64::try_from(value).map_err(|_| TarError::Field(field))
        }
        _ => {
            let text = bytes.trim_ascii_start();
            let end = text.iter().position(|&b| b == 0 || b == b' ').unwrap_or(text.len());
            let mut value: i64 = 0;
            for &digit in &text[..end] {
                if !(b'0'..=b'7').contains(&digit) {
                    return Err(TarError::Field(field));
                }
                value = value
                    .checked_mul(8)
                    .and_then(|v| v.checked_add(i64::from(digit - b'0')))
                    .ok_or(TarError::Field(field))?;
            }
            Ok(value)
        }
    }
}

/// A user or group id; the all-ones one means "leave it" to the kernel and is none.
pub fn id(field: &'static str, value: i64) -> Result<u32, TarError> {
    u32::try_from(value).ok().filter(|&id| id != u32::MAX).ok_or(TarError::Field(field))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&b| b == 0).map_or(bytes, |end| &bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<i64>) {
        assert_eq!(number("n", bytes).ok(), expected, "{bytes:?}");
    }

    #[test]
    fn numbers() {
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0", Some(0));
        check(b"77777777777\0", Some(0o77777777777));
        check(b"0000648\0", None);
        check(b"-000001\0", None);
        check(&[0x80, 0, 0, 1, 0], Some(256));
        check(&[0xff, 0xff, 0xff, 0xff], Some(-1));
        check(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(i64::MAX));
        check(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None);
        check(&[0xff; 12], Some(-1));
    }
}

//! Writing archives: ustar, with pax records only for what does not fit.

use std::io::{self, Read, Write};

use super::header::{BLOCK, Entry, Kind};

/// An archive being written; [`Writer::finish`] ends it.
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes an entry and, for a regular file, exactly `entry.size` bytes of `data`.
    ///
    /// # Errors
    /// Those of writing and reading; `UnexpectedEof` when `data` is shorter than announced.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        self.header(entry)?;
        if entry.kind == Kind::Regular {
            let copied = io::copy(&mut data.take(entry.size), &mut self.output)?;
            if copied != entry.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pad(entry.size)?;
        }
        Ok(())
    }

    /// Writes a regular file.
    ///
    /// # Errors
    /// Those of writing.
    pub fn append_bytes(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        self.append(&Entry::file(path, data.len() as u64), data)
    }

    /// Writes an entry's headers. The caller writes the data through [`Writer::output`] and then calls [`Writer::pad`].
    ///
    /// # Errors
    /// Those of writing.
    pub fn header(&mut self, entry: &Entry) -> io::Result<()> {
        let records = pax_records(entry);
        if !records.is_empty() {
            let mut block = new_block(b'x', b"././@PaxHeader");
            put_octal(&mut block[100..108], 0o644);
            put_octal(&mut block[124..136], records.len() as u64);
            self.write_block(block)?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.write_block(ustar_block(entry))
    }

    pub fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// Fills the last block of `size` bytes of data.
    ///
    /// # Errors
    /// Those of writing.
    pub fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.output.write_all(&[0; BLOCK][..padding as usize])
    }

    /// Writes the end of the archive and returns the output.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write_block(&mut self, mut block: [u8; BLOCK]) -> io::Result<()> {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
        // Six digits, a NUL and a space, as every tar writes this field.
        put_octal(&mut block[148..155], sum);
        self.output.write_all(&block)
    }
}

fn new_block(flag: u8, name: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let length = name.len().min(100);
    block[..length].copy_from_slice(&name[..length]);
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
        put_octal(&mut block[field], 0);
    }
    block
}

fn ustar_block(entry: &Entry) -> [u8; BLOCK] {
    let flag = match entry.kind {
        Kind::Regular => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Character => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let mut block = new_block(flag, &entry.path);
    let length = entry.link.len().min(100);
    block[157..157 + length].copy_from_slice(&entry.link[..length]);
    put_octal(&mut block[100..108], entry.mode.into());
    put_octal(&mut block[108..116], entry.uid.into());
    put_octal(&mut block[116..124], entry.gid.into());
    put_octal(&mut block[124..136], if entry.kind == Kind::Regular { entry.size } else { 0 });
    put_octal(&mut block[136..148], u64::try_from(entry.mtime.0).unwrap_or(0));
    if matches!(entry.kind, Kind::Character | Kind::Block) {
        put_octal(&mut block[329..337], entry.device.0.into());
        put_octal(&mut block[337..345], entry.device.1.into());
    }
    block
}

fn fits_octal(digits: u32, value: u64) -> bool {
    value < 1 << (3 * digits)
}

/// Writes zero-padded octal and a NUL; zero where the value does not fit, which a pax record then says.
fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let mut value = if fits_octal(digits as u32, value) { value } else { 0 };
    for byte in field[..digits].iter_mut().rev() {
        *byte = b'0' + (value & 7) as u8;
        value >>= 3;
    }
    field[digits] = 0;
}

fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > 100 {
        push_record(&mut records, b"path", &entry.path);
    }
    if entry.link.len() > 100 {
        push_record(&mut records, b"linkpath", &entry.link);
    }
    if entry.kind == Kind::Regular && !fits_octal(11, entry.size) {
        push_record(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if !fits_octal(7, id.into()) {
            push_record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if u64::try_from(entry.mtime.0).map_or(true, |seconds| !fits_octal(11, seconds)) {
        push_record(&mut records, b"mtime", entry.mtime.0.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        push_record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits: space, equals sign and newline are the other three bytes.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

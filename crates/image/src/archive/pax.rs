//! POSIX extended headers: `<length> <key>=<value>\n` records.

use super::header::{Entry, id};
use super::reader::TarError;
use super::sparse::PaxSparse;

/// More names do not fit into the kernel's list of a file's attributes (`XATTR_LIST_MAX`), and each is compared with the others.
const MAX_XATTRS: usize = 1024;

/// What the extended headers before an entry say about it.
#[derive(Clone, Debug, Default)]
pub struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

impl Extended {
    /// Adds the records of one extended header; later records win.
    pub fn read(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        const MALFORMED: TarError = TarError::Extended("record");
        while !records.is_empty() {
            let space = records.iter().position(|&b| b == b' ').ok_or(MALFORMED)?;
            let length: usize = number(&records[..space]).ok_or(MALFORMED)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(MALFORMED);
            }
            let record = &records[space + 1..length - 1];
            records = &records[length..];
            let equals = record.iter().position(|&b| b == b'=').ok_or(MALFORMED)?;
            self.record(&record[..equals], &record[equals + 1..])?;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let text = |field| {
            // A C program would see another name than we do.
            if value.contains(&0) { Err(TarError::Extended(field)) } else { Ok(Some(value.to_vec())) }
        };
        match key {
            b"path" => self.path = text("path")?,
            b"linkpath" => self.link = text("linkpath")?,
            b"size" => self.size = Some(number(value).ok_or(TarError::Extended("size"))?),
            b"uid" => self.uid = Some(id("uid", number(value).ok_or(TarError::Extended("uid"))?)?),
            b"gid" => self.gid = Some(id("gid", number(value).ok_or(TarError::Extended("gid"))?)?),
            b"mtime" => self.mtime = Some(time(value).ok_or(TarError::Extended("mtime"))?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.is_empty() || name.contains(&0) {
                        return Err(TarError::Extended("xattr"));
                    }
                    self.xattrs.retain(|(known, _)| known != name);
                    if self.xattrs.len() == MAX_XATTRS {
                        return Err(TarError::Extended("too many attributes"));
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(name, value)?;
                }
            }
        }
        Ok(())
    }

    /// Overrides what the header itself said.
    pub fn apply(self, entry: &mut Entry) {
        if let Some(path) = self.path {
            entry.path = path;
        }
        if let Some(link) = self.link {
            entry.link = link;
        }
        entry.uid = self.uid.unwrap_or(entry.uid);
        entry.gid = self.gid.unwrap_or(entry.gid);
        entry.mtime = self.mtime.unwrap_or(entry.mtime);
        entry.xattrs = self.xattrs;
    }
}

pub fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    // `parse` would take a leading plus sign.
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction, which may be longer than nanoseconds and is cut.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    if seconds.starts_with('-') && nanos > 0 {
        return Some((whole.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((whole, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"1.0000000001"), Some((1, 0)));
        assert_eq!(time(b"x"), None);
    }

    fn refused(records: &[u8]) {
        assert!(Extended::default().read(records).is_err(), "{:?}", String::from_utf8_lossy(records));
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"9 path=a\n0"[..],
            b"path=a\n",
            b"99 path=a\n",
            b"+9 path=a\n",
            b"9 path=a ",
            b"0 \n",
            b"10 path=\0\n\n",
            b"7 size\n",
            b"9 size=-\n",
        ] {
            refused(records);
        }
        let mut extended = Extended::default();
        extended.read(b"10 path=ab\n9 size=12\n".get(..0).unwrap()).unwrap();
        extended.read(b"11 path=ab\n10 size=2\n").unwrap();
        assert_eq!((extended.path, extended.size), (Some(b"ab".to_vec()), Some(2)));
    }
}

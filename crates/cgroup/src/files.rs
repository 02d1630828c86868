//! Reading and writing the small files of a control group.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::CgroupError;

/// Writes `value` in one write(2), as these files want it.
pub fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    write_plain(path, value).map_err(|source| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_string(),
        source,
    })
}

/// As [`write`], with the bare error.
///
/// Not `fs::write`: the files exist already, and asking to create one in a directory of cgroupfs turns a plain "not found" into
/// "permission denied".
pub fn write_plain(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

/// Reads a file that not every kernel or hierarchy has.
pub fn read_optional(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        // A file of a removed group answers ENODEV when it was opened in time.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(ENODEV) => Ok(None),
        Err(source) => Err(CgroupError::Read { path: path.to_owned(), source }),
    }
}

pub const ENODEV: i32 = 19;
pub const EINVAL: i32 = 22;

/// The number after `key` in lines of `key number`.
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A single number; `max` and v1's "no limit" are `None`.
pub fn number(text: &str) -> Option<u64> {
    // v1 reports the absence of a memory limit as i64::MAX rounded down to a page.
    text.trim().parse().ok().filter(|&n: &u64| n < i64::MAX as u64 & !0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_words() {
        let text = "low 0\noom 3\noom_kill 2\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "oo"), None);
    }

    #[test]
    fn absent_limits() {
        assert_eq!(number("max\n"), None);
        assert_eq!(number("9223372036854771712\n"), None);
        assert_eq!(number("67108864\n"), Some(67_108_864));
    }
}

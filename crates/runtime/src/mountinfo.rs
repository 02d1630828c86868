//! The lines of `/proc/self/mountinfo`; see proc_pid_mountinfo(5).

use std::path::PathBuf;

/// One mount of this mount namespace.
pub struct Line<'a> {
    /// What of the file system is mounted, as the kernel writes it.
    pub root: &'a str,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type of the file system, such as `ext4`.
    pub kind: &'a str,
    /// What it was mounted from, or called by who mounted it, as the kernel writes it.
    pub source: &'a str,
}

/// The mounts of `text`, in which a later one may lie on an earlier one.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let (kind, rest) = file_system.split_once(' ')?;
        let source = rest.split(' ').next()?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        Some(Line { root, point: unescape(point), kind, source })
    })
}

fn unescape(point: &str) -> PathBuf {
    let (mut path, mut rest) = (String::new(), point);
    while let Some((plain, escaped)) = rest.split_once('\\') {
        path.push_str(plain);
        let code = escaped.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(code.map_or('\\', char::from));
        rest = if code.is_some() { &escaped[3..] } else { escaped };
    }
    path.push_str(rest);
    path.into()
}

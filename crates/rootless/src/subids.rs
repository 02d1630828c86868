//! The ids of a home: the user is its root, and what `/etc/subuid` and `/etc/subgid` give him are the others.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::HomeError;

/// One of the two kinds of ids.
struct Kind {
    program: &'static str,
    file: &'static str,
    what: &'static str,
}

const USERS: Kind = Kind { program: "newuidmap", file: "/etc/subuid", what: "subordinate user ids" };
const GROUPS: Kind = Kind { program: "newgidmap", file: "/etc/subgid", what: "subordinate group ids" };

/// What to map, looked up before anything is made.
#[derive(Debug)]
pub struct Ids {
    user: String,
    maps: [Map; 2],
}

#[derive(Debug)]
struct Map {
    kind: &'static Kind,
    program: PathBuf,
    own: u32,
    ranges: Vec<(u32, u32)>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program)
    }
}

impl Ids {
    /// The ids of the calling user.
    pub fn of_user() -> Result<Self, HomeError> {
        let (uid, gid) = (sys::user::effective_uid(), sys::user::effective_gid());
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = sys::user::passwd(&passwd).find(|line| line.uid == uid).map(|line| line.name.to_owned());
        let user = name.unwrap_or_else(|| uid.to_string());
        let map = |kind: &'static Kind, own| {
            let program =
                find(kind.program).ok_or(HomeError::Program { program: kind.program, package: "uidmap" })?;
            let text = fs::read_to_string(kind.file).unwrap_or_default();
            let ranges = ranges(&text, &user, uid);
            if ranges.is_empty() {
                return Err(HomeError::NoIds { user: user.clone(), what: kind.what, file: kind.file });
            }
            Ok(Map { kind, program, own, ranges })
        };
        let maps = [map(&USERS, uid)?, map(&GROUPS, gid)?];
        Ok(Self { user, maps })
    }

    /// Gives them to the new user namespace of process `pid`.
    pub fn write(&self, pid: i32) -> Result<(), HomeError> {
        self.maps.iter().try_for_each(|map| map.write(pid, &self.user))
    }
}

impl Map {
    #[cfg_attr(
        not(test),
        expect(clippy::disallowed_methods, reason = "only what the system trusts may write these maps")
    )]
    fn write(&self, pid: i32, user: &str) -> Result<(), HomeError> {
        let refused = |said: String| HomeError::Map {
            program: self.kind.program,
            user: user.to_owned(),
            file: self.kind.file,
            said,
        };
        let mut words = vec![pid.to_string(), "0".to_owned(), self.own.to_string(), "1".to_owned()];
        let mut next = 1;
        for (first, count) in &self.ranges {
            words.extend([next, *first, *count].map(|number| number.to_string()));
            next += count;
        }
        let output = Command::new(&self.program).args(words).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// The ranges of a user, whom the file may call by name or by number (subuid(5)); none reaches beyond the last id.
fn ranges(text: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let mut total: u32 = 1;
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let owner = fields.next()?;
            let (first, count) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
            (owner == user || owner == uid).then_some((first, count))
        })
        .filter(|(first, count): &(u32, u32)| {
            let fits = *count > 0 && first.checked_add(*count).is_some();
            match total.checked_add(*count).filter(|_| fits) {
                Some(sum) => {
                    total = sum;
                    true
                }
                None => false,
            }
        })
        .collect()
}

/// The program `name` on the PATH, or where Debian installs what only root's PATH has.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|directory| Path::new(directory).to_owned());
    std::env::split_paths(AsRef::<OsStr>::as_ref(&path))
        .chain(usual)
        .map(|directory| directory.join(name))
        .find(|path| path.is_absolute() && path.is_file() && sys::process::may_execute(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text =
            "ann:100000:65536\n1000:300000:10\njoe:x:1\njoe:200000:65536\njoe:5\njoe:4294967295:2\njoe:7:0\n";
        assert_eq!(ranges(text, "joe", 1000), [(300_000, 10), (200_000, 65_536)]);
        assert_eq!(ranges(text, "bob", 1001), []);
    }
}

//! The file `home`: `<anchor's pid> <inode of the user namespace> <pid of pasta, or 0>`, and on a second line the first of the
//! control groups that this user has been given, if there are any.
//!
//! It says who to join. A pid may be somebody else's by now, an inode not as long as a process lives in the namespace.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FILE: &str = "home";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub anchor: i32,
    pub users: u64,
    /// The program that leads out of the home; 0 when there is none.
    pub outlet: i32,
    pub group: Option<PathBuf>,
}

impl Record {
    pub fn load(directory: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(directory.join(FILE)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let mut words = first.split_whitespace();
        let group = rest.lines().next().filter(|line| !line.is_empty());
        Some(Self {
            anchor: words.next()?.parse().ok()?,
            users: words.next()?.parse().ok()?,
            outlet: words.next()?.parse().ok()?,
            group: group.map(PathBuf::from),
        })
    }

    pub fn save(&self, directory: &Path) -> io::Result<()> {
        let fresh = directory.join("home.new");
        let group = self.group.as_deref().unwrap_or(Path::new("")).display();
        fs::write(&fresh, format!("{} {} {}\n{group}\n", self.anchor, self.users, self.outlet))?;
        fs::rename(fresh, directory.join(FILE))
    }

    pub fn remove(directory: &Path) {
        let _ = fs::remove_file(directory.join(FILE));
    }

    /// The anchor, if it lives.
    pub fn anchor(&self) -> Option<OwnedFd> {
        let process = sys::process::open(self.anchor).ok()?;
        // Looked at when its descriptor is open, it is that process or none.
        (users_of(self.anchor) == Some(self.users)).then_some(process)
    }

    /// A process that lives in the home; the anchor and the outlet do not count.
    pub fn inhabitant(&self) -> Option<OwnedFd> {
        let entries = fs::read_dir("/proc").ok()?;
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| ![self.anchor, self.outlet].contains(pid) && users_of(*pid) == Some(self.users))
            .find_map(|pid| sys::process::open(pid).ok().filter(|_| users_of(pid) == Some(self.users)))
    }
}

/// The inode of the user namespace of `pid`; `None` for a process that has ended or is another user's.
pub fn users_of(pid: i32) -> Option<u64> {
    let inode =
        |name: &str| fs::metadata(format!("/proc/{pid}/ns/{name}")).ok().map(|metadata| metadata.ino());
    // One that has ended but nobody has waited for is still of its users, in no other namespace, and cannot be joined.
    inode("mnt").and_then(|_| inode("user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = std::env::temp_dir().join(format!("hull-home-test-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for group in [None, Some(PathBuf::from("/sys/fs/cgroup/a b"))] {
            let record = Record { anchor: 7, users: 4_026_531_837, outlet: 0, group };
            record.save(&directory).unwrap();
            assert_eq!(Record::load(&directory), Some(record));
        }
        assert_eq!(Record::parse("7 x 0\n"), None);
        Record::remove(&directory);
        assert_eq!(Record::load(&directory), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}

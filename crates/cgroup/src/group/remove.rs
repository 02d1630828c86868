//! Removing the directories, and the parent with its last child.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cgroup, Layout, Origin, subdirectories};
use crate::CgroupError;

/// How long killed processes get to be gone.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Removes the group, groups made below it, and its parent if this was the last child; waits for dying processes.
    ///
    /// A group that does not exist is fine.
    ///
    /// # Errors
    /// [`CgroupError::Remove`] with `EBUSY` when processes are left after some seconds: [`Self::kill_all`] first.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + REMOVE_WAIT;
        let mut first_error = None;
        for directory in self.directories() {
            if let Err(source) = remove_tree(directory, deadline) {
                first_error.get_or_insert(CgroupError::Remove { path: directory.to_owned(), source });
            }
        }
        self.remove_parent();
        first_error.map_or(Ok(()), Err)
    }

    /// Takes back the directories that a failed creation made, without waiting.
    pub(super) fn undo(&self, made: &[PathBuf]) {
        for directory in made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
        self.remove_parent();
    }

    /// Removes the parent when it is empty: rmdir of a group with children fails, so no look is needed.
    fn remove_parent(&self) {
        if self.origin != Origin::Ours {
            return;
        }
        if let Layout::V2 { mount, directory, .. } = &self.layout {
            let above = directory.ancestors().skip(1).take_while(|a| a.starts_with(mount) && a != mount);
            for ancestor in above {
                if fs::remove_dir(ancestor).is_err() {
                    break;
                }
            }
        }
    }
}

fn remove_tree(directory: &Path, deadline: Instant) -> io::Result<()> {
    let mut wait = Duration::from_micros(100);
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                // EBUSY is either: groups below, or processes that are not gone yet.
                for child in subdirectories(directory) {
                    remove_tree(&child, deadline)?;
                }
                if Instant::now() >= deadline {
                    return Err(error);
                }
                thread::sleep(wait);
                wait = (wait * 2).min(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

//! Telling security modules what the program is to be, through procfs.

use std::fs::File;
use std::io::{self, Write};

use sys::fs::OFlags;
use sys::mount::PROC_MAGIC;

use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::Labels;

/// Has the program run under its labels.
pub fn apply(labels: &Labels) -> Result<(), Fault> {
    if let Some(profile) = &labels.apparmor {
        // Where AppArmor is not the only module, its own file is meant.
        write(&["attr/apparmor/exec", "attr/exec"], &format!("exec {profile}"))
            .at(Step::Rights, || format!("process.apparmorProfile {profile}"))?;
    }
    if let Some(label) = &labels.selinux {
        write(&["attr/exec"], label).at(Step::Rights, || format!("process.selinuxLabel {label}"))?;
    }
    Ok(())
}

/// CVE-2019-16884: what is written to is this process's file of procfs, whatever an image or a mount has put there.
fn write(files: &[&str], text: &str) -> io::Result<()> {
    let proc = sys::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?;
    let mut missing = io::ErrorKind::NotFound.into();
    for file in files {
        let path = format!("{}/{file}", std::process::id());
        match sys::fs::open_plain(&proc, path, OFlags::WRONLY, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            Ok(file) if sys::mount::file_system_magic(&file)? != PROC_MAGIC => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            opened => return File::from(opened?).write_all(text.as_bytes()),
        }
    }
    Err(missing)
}

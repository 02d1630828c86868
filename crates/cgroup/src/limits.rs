//! From the resources of the runtime-spec to the files and values that set them.

mod v1;
mod v2;

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use oci::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

use crate::files::{self, EINVAL};
use crate::{CgroupError, Version};

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The controller that has the file; empty for files every group has.
    pub controller: &'static str,
    /// The file and the value for it; of several, the first file that exists is used, because names and scales differ by kernel.
    pub choices: Vec<(Cow<'static, str>, String)>,
    /// What the user asked for, for errors: `a memory limit`.
    pub what: Cow<'static, str>,
    /// Whether the request still holds on a kernel that lacks the file.
    pub optional: bool,
    /// A file with the current use, which must not exceed the value.
    pub not_below: Option<&'static str>,
}

impl Setting {
    fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        what: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller,
            choices: vec![(file.into(), value.to_string())],
            what: what.into(),
            optional: false,
            not_below: None,
        }
    }
}

/// The settings that `resources` ask for, in the order to write them.
///
/// Device rules are not among them: see [`crate::devices`].
pub fn settings(version: Version, resources: &LinuxResources) -> Result<Vec<Setting>, CgroupError> {
    match version {
        Version::V1 => v1::settings(resources),
        Version::V2 => v2::settings(resources),
    }
}

/// Writes `settings`, each in the directory `directory_of` gives for it.
///
/// The kernel checks some values against each other: v1's memory limit may not exceed memory and swap together, a CPU quota is
/// measured against its period. Which of the two must go first depends on whether they grow or shrink. So what is refused as
/// invalid gets a second try when all others are written.
pub fn apply<'d>(
    settings: &[Setting],
    directory_of: impl Fn(&Setting) -> Option<&'d Path>,
) -> Result<(), CgroupError> {
    let mut again = Vec::new();
    for setting in settings {
        match directory_of(setting) {
            Some(directory) => match apply_one(setting, directory) {
                Err(CgroupError::Write { source, .. }) if source.raw_os_error() == Some(EINVAL) => {
                    again.push((setting, directory));
                }
                result => result?,
            },
            None if setting.optional => {}
            None => {
                let (what, controller) = (setting.what.to_string(), setting.controller);
                return Err(CgroupError::MissingController { what, controller });
            }
        }
    }
    again.into_iter().try_for_each(|(setting, directory)| apply_one(setting, directory))
}

fn apply_one(setting: &Setting, directory: &Path) -> Result<(), CgroupError> {
    for (file, value) in &setting.choices {
        let path = directory.join(file.as_ref());
        if let Some(use_file) = setting.not_below {
            let used = files::number(&files::read(&directory.join(use_file))?).unwrap_or(0);
            if value.parse().is_ok_and(|limit: u64| limit < used) {
                let source = io::Error::from(io::ErrorKind::ResourceBusy);
                return Err(CgroupError::Write { path, value: value.clone(), source });
            }
        }
        match files::write_plain(&path, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CgroupError::Write { path, value: value.clone(), source }),
            Ok(()) => return Ok(()),
        }
    }
    if setting.optional || fs::metadata(directory).is_err() {
        return Ok(());
    }
    // The controller is there, or the directory would not be.
    let file = setting.choices[0].0.to_string();
    Err(CgroupError::MissingFile { what: setting.what.to_string(), file })
}

/// A memory amount: -1 is written as `unlimited`.
fn amount(what: &'static str, value: i64, unlimited: &str) -> Result<String, CgroupError> {
    match value {
        -1 => Ok(unlimited.to_string()),
        0.. => Ok(value.to_string()),
        _ => Err(CgroupError::Invalid { what, value: value.to_string() }),
    }
}

/// A process limit as both versions write it.
fn pids_limit(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".to_string() }
}

/// Refuses names in which a file of another directory could hide.
fn file_name(name: &str, what: &'static str) -> Result<String, CgroupError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(CgroupError::Invalid { what, value: name.to_string() });
    }
    Ok(name.to_string())
}

/// The four throttle lists with the names v1 and v2 have for them.
fn throttles(io: &LinuxBlockIo) -> [(&'static str, &'static str, &[LinuxThrottleDevice]); 4] {
    [
        ("blkio.throttle.read_bps_device", "rbps", &io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", "wbps", &io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", "riops", &io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", "wiops", &io.throttle_write_iops_device),
    ]
}

const THROTTLE: &str = "a block device throttle";
const BLOCK_WEIGHT: &str = "a block I/O weight";

/// Refuses leaf weights, which went with the CFQ scheduler in Linux 5.0.
fn refuse_leaf_weights(version: Version, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    if io.leaf_weight.is_none() && io.weight_device.iter().all(|d| d.leaf_weight.is_none()) {
        return Ok(());
    }
    Err(CgroupError::Unsupported { what: "a block I/O leaf weight".into(), version })
}

#[cfg(test)]
fn lines(settings: Result<Vec<Setting>, CgroupError>) -> Vec<String> {
    let line = |(file, value): &(Cow<'static, str>, String)| format!("{file}={value}");
    match settings {
        Ok(settings) => {
            settings.iter().map(|s| s.choices.iter().map(line).collect::<Vec<_>>().join(" or ")).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

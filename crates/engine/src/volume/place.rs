//! The options of the driver `local`, which are mount(8)'s: `type`, `o`, `device`.

use super::VolumeError;
use crate::model::Labels;
use crate::record::{VolumeDoc, VolumePlace};
use std::io;
use std::path::{Path, PathBuf};

/// Where a volume with these options keeps its files.
///
/// # Errors
/// [`VolumeError::Option`] for what is not supported.
pub fn of(name: &str, options: &Labels) -> Result<VolumePlace, VolumeError> {
    let refuse =
        |option: &str, why| VolumeError::Option { name: name.to_owned(), option: option.to_owned(), why };
    let get = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    if let Some(key) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device")) {
        return Err(refuse(key, "the driver `local` knows type, o and device"));
    }
    let (kind, device) = (get("type"), get("device"));
    let words: Vec<&str> = get("o").split(',').filter(|word| !word.is_empty()).collect();
    match kind {
        "" | "none" | "bind" => {
            let is_bind = kind == "bind" || words.iter().any(|word| matches!(*word, "bind" | "rbind"));
            if options.is_empty() {
                return Ok(VolumePlace::Own);
            }
            if !is_bind {
                return Err(refuse("type", "it mounts nothing without o=bind"));
            }
            if let Some(word) = words.iter().find(|word| !matches!(**word, "bind" | "rbind" | "rw")) {
                return Err(refuse(&format!("o={word}"), "a bind takes no other options"));
            }
            if !device.starts_with('/') {
                return Err(refuse("device", "it must be an absolute path"));
            }
            Ok(VolumePlace::Directory(PathBuf::from(device)))
        }
        "tmpfs" => {
            for word in &words {
                let known = matches!(word.split_once('='), Some(("uid" | "gid" | "mode", _)));
                if !known {
                    return Err(refuse(&format!("o={word}"), "a tmpfs volume takes uid, gid and mode"));
                }
            }
            ownership(&words).ok_or_else(|| refuse("o", "uid, gid and mode are numbers"))?;
            Ok(VolumePlace::Memory)
        }
        other => {
            Err(refuse(&format!("type={other}"), "only none (with o=bind) and tmpfs can be mounted yet"))
        }
    }
}

/// Uid, gid and mode of a tmpfs volume's root.
fn ownership(words: &[&str]) -> Option<(u32, u32, u32)> {
    let (mut uid, mut gid, mut mode) = (0, 0, 0o755);
    for word in words {
        match word.split_once('=')? {
            ("uid", value) => uid = value.parse().ok()?,
            ("gid", value) => gid = value.parse().ok()?,
            (_, value) => mode = u32::from_str_radix(value, 8).ok()? & 0o7777,
        }
    }
    Some((uid, gid, mode))
}

/// Makes the directory of a volume.
pub fn make(path: &Path, doc: &VolumeDoc) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path)?;
    match doc.place {
        // What the user named keeps the mode he or his umask gave it.
        VolumePlace::Directory(_) => Ok(()),
        VolumePlace::Own => std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)),
        VolumePlace::Memory => {
            let options = doc.spec.driver_opts.get("o").map(String::as_str).unwrap_or_default();
            let words: Vec<&str> = options.split(',').filter(|word| !word.is_empty()).collect();
            let (uid, gid, mode) = ownership(&words).unwrap_or((0, 0, 0o755));
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[(&str, &str)], expected: Option<VolumePlace>) {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(of("v1", &options).ok(), expected, "{options:?}");
    }

    #[test]
    fn places() {
        check(&[], Some(VolumePlace::Own));
        let bind = |device| [("type", "none"), ("o", "bind"), ("device", device)];
        check(&bind("/srv/data"), Some(VolumePlace::Directory("/srv/data".into())));
        check(&bind("data"), None);
        check(&[("type", "none"), ("device", "/x")], None);
        check(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "uid=33,mode=700")], Some(VolumePlace::Memory));
        check(&[("type", "tmpfs"), ("o", "size=1m")], None);
        check(&[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/x")], None);
        check(&[("wat", "1")], None);
    }
}

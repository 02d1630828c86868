//! Names of users and groups, looked up in the image that will hold the files.

use std::io;
use std::path::Path;

use crate::tree::Tree;

/// A passwd or group file larger than this is somebody's joke.
const MAX_FILE: u64 = 4 << 20;

/// Resolves `user[:group]`, by name or number, in the `/etc/passwd` and `/etc/group` of `tree`.
///
/// A number without a group is also the group; a name without a group has its primary one (as in BuildKit).
pub fn resolve(tree: &Tree, spec: &str) -> Result<(u32, u32), UserError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let (uid, primary) = match number(user)? {
        Some(uid) => (uid, uid),
        None => {
            let fields = find(tree, "/etc/passwd", user)?
                .ok_or_else(|| UserError::Unknown { what: "user", name: user.to_owned() })?;
            (fields[0], fields[1])
        }
    };
    let gid = match group {
        None | Some("") => primary,
        Some(group) => match number(group)? {
            Some(gid) => gid,
            None => find(tree, "/etc/group", group)?
                .ok_or_else(|| UserError::Unknown { what: "group", name: group.to_owned() })?[0],
        },
    };
    Ok((uid, gid))
}

/// Why a user could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("no {what} {name:?} in the image")]
    Unknown { what: &'static str, name: String },
    #[error("{0} is not a user or group id")]
    Range(String),
    #[error("read {path}")]
    Read { path: &'static str, source: io::Error },
}

fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() {
        return Ok(Some(0));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        // The kernel takes the highest number for "unchanged".
        Ok(id) if id <= i32::MAX as u32 => Ok(Some(id)),
        _ => Err(UserError::Range(text.to_owned())),
    }
}

/// The numbers in the third and fourth field of `name`'s line; the fourth is 0 where it is not a number.
fn find(tree: &Tree, path: &'static str, name: &str) -> Result<Option<[u32; 2]>, UserError> {
    let bytes = tree.read(Path::new(path), MAX_FILE).map_err(|source| UserError::Read { path, source })?;
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let first = fields.nth(1)?.parse().ok()?;
        Some([first, fields.next().and_then(|field| field.parse().ok()).unwrap_or(0)])
    }))
}

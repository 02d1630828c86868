//! Who the process is: names looked up in the container's own `/etc/passwd` and `/etc/group`, by Docker's rules.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use oci::runtime::User;
use sys::fs::{FileType, OFlags};
use sys::user::{groups, passwd};

use crate::UserSpec;
use crate::channel::{At, Fault};
use crate::error::Step;

/// The identity of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves beneath the container's `root`.
pub fn resolve(
    root: BorrowedFd<'_>,
    spec: &UserSpec,
    ids: &User,
    extra_groups: &[String],
) -> Result<Account, Fault> {
    let (passwd, group) = (read(root, "/etc/passwd")?, read(root, "/etc/group")?);
    look_up(spec, ids, extra_groups, &passwd, &group)
}

fn look_up(
    spec: &UserSpec,
    ids: &User,
    extra_groups: &[String],
    passwd: &str,
    group: &str,
) -> Result<Account, Fault> {
    let mut account = match spec {
        UserSpec::Ids => Account {
            uid: ids.uid,
            gid: ids.gid,
            groups: ids.additional_gids.clone(),
            home: home_of(passwd, ids.uid),
        },
        UserSpec::Named(text) => named(text, passwd, group)?,
    };
    for name in extra_groups {
        account.groups.push(group_id(name, group)?);
    }
    // Who becomes another group by a set-group-id program stays a member of this one, which a mode may shut out (CVE-2022-36109).
    if matches!(spec, UserSpec::Named(_)) && !account.groups.contains(&account.gid) {
        account.groups.insert(0, account.gid);
    }
    Ok(account)
}

/// `[user][:group]`. A group given by the caller replaces all that the user is a member of.
fn named(text: &str, passwd_text: &str, group_text: &str) -> Result<Account, Fault> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = id(user);
    let entry = passwd(passwd_text).find(|entry| entry.name == user || number == Some(entry.uid));
    let mut account = match (entry, number) {
        (Some(entry), _) => {
            Account { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: home_or_root(entry.home) }
        }
        (None, Some(uid)) => Account { uid, gid: 0, groups: Vec::new(), home: home_or_root("") },
        (None, None) => return Err(Fault::NoSuchUser(user.to_owned())),
    };
    if !group.is_empty() {
        account.gid = group_id(group, group_text)?;
    } else if let Some(entry) = entry {
        let member = |group: &sys::user::Group<'_>| group.members().any(|name| name == entry.name);
        account.groups = groups(group_text).filter(member).map(|group| group.gid).collect();
    }
    Ok(account)
}

fn group_id(name: &str, text: &str) -> Result<u32, Fault> {
    groups(text)
        .find(|group| group.name == name)
        .map(|group| group.gid)
        .or_else(|| id(name))
        .ok_or_else(|| Fault::NoSuchGroup(name.to_owned()))
}

/// Ids above 2^31 are refused, as Docker does: -1 means "unchanged" to setuid.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= i32::MAX as u32)
}

fn home_of(text: &str, uid: u32) -> String {
    home_or_root(passwd(text).find(|entry| entry.uid == uid).map_or("", |entry| entry.home))
}

fn home_or_root(home: &str) -> String {
    if home.is_empty() { "/" } else { home }.to_owned()
}

/// No real passwd file comes near this; an image must not make hull read without end.
const MAX_BYTES: u64 = 16 << 20;

/// The file's text, empty when there is none.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, Fault> {
    let object = || path.to_owned();
    // Without blocking, and only a regular file: an image may have a FIFO or a device there, or a link to a descriptor of
    // ours, which is why this goes beneath the root although that is `/`.
    let file = match sys::fs::open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0)
    {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        other => other.at(Step::Account, object)?,
    };
    let stat = sys::fs::stat(&file).at(Step::Account, object)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::new(Step::Account, object(), &io::ErrorKind::InvalidInput.into()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(1 << 16) + 1);
    std::fs::File::from(file).take(MAX_BYTES).read_to_end(&mut bytes).at(Step::Account, object)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/sh\n1001:x:7:7::/seven:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root\nweb:x:34:\nadm:x:4:www,root\n";

    fn check(text: &str, extra: &[&str], expected: Result<(u32, u32, &[u32], &str), &str>) {
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        let found = look_up(&UserSpec::Named(text.to_owned()), &User::default(), &extra, PASSWD, GROUP);
        match (found, expected) {
            (Ok(a), Ok(e)) => assert_eq!((a.uid, a.gid, &a.groups[..], a.home.as_str()), e, "{text}"),
            (Err(Fault::NoSuchUser(name) | Fault::NoSuchGroup(name)), Err(e)) => {
                assert_eq!(name, e, "{text}")
            }
            (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn users_and_groups_as_docker_reads_them() {
        check("", &[], Ok((0, 0, &[0, 10, 4], "/root")));
        check("www", &[], Ok((33, 34, &[34, 4], "/var/www")));
        check("33", &[], Ok((33, 34, &[34, 4], "/var/www")));
        check("33:10", &[], Ok((33, 10, &[10], "/var/www")));
        check("www:wheel", &["adm", "77"], Ok((33, 10, &[10, 4, 77], "/var/www")));
        check("5000", &[], Ok((5000, 0, &[0], "/")));
        check("5000:web", &[], Ok((5000, 34, &[34], "/")));
        check(":web", &[], Ok((0, 34, &[34], "/root")));
        check("1001", &[], Ok((7, 7, &[7], "/seven")));
        check("nobody", &[], Err("nobody"));
        check("www:none", &[], Err("none"));
        check("www", &["none"], Err("none"));
        check("4294967295", &[], Err("4294967295"));
    }
}

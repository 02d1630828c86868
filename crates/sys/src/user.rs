//! Users and groups of the system hull runs on, read from /etc/passwd and /etc/group without NSS.

use std::sync::OnceLock;

/// One line of a passwd file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passwd<'a> {
    pub name: &'a str,
    pub uid: u32,
    pub gid: u32,
    pub home: &'a str,
    pub shell: &'a str,
}

/// One line of a group file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    pub name: &'a str,
    pub gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    /// The names listed as members; those whose primary group it is are usually not among them.
    pub fn members(self) -> impl Iterator<Item = &'a str> {
        self.members.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

/// The well-formed lines of a passwd file; see passwd(5).
pub fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).unwrap_or("");
        Some(Passwd { name, uid, gid, home, shell: fields.next().unwrap_or("") })
    })
}

/// The well-formed lines of a group file; see group(5).
pub fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

/// The user this process acts as.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The group this process acts as.
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Whether this process lives in a user namespace that not every id has a name in, unlike the host's.
///
/// There even root has rights only over what belongs to that namespace: it makes no device nodes, writes no `trusted.*`
/// attributes and maps no owners of the host's mounts (user_namespaces(7)). Read once: hull joins such a namespace only on its
/// way to an exec.
pub fn is_in_subordinate_namespace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        // A kernel without user namespaces has no such file.
        !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_lines_are_skipped() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# no\nbad:x:y:0::/:\nshort:x:5\nwww:x:33:34::/srv\n";
        let found: Vec<_> = passwd(text).map(|p| (p.name, p.uid, p.gid, p.home)).collect();
        assert_eq!(found, [("root", 0, 0, "/root"), ("www", 33, 34, "/srv")]);
        let found: Vec<_> = groups("a:x:1:\nb:x:2:u, v\nc:x\n:")
            .map(|g| (g.name, g.gid, g.members().collect::<Vec<_>>()))
            .collect();
        assert_eq!(found, [("a", 1, vec![]), ("b", 2, vec!["u", "v"])]);
    }
}

//! User ids inside extended attributes: the root that a file's capabilities are for, and whom an access list names.
//!
//! The kernel shows them to a reader outside a container as the host's ids, and takes them as such; an archive has the
//! container's own.

/// `VFS_CAP_REVISION_2` and `_3` of linux/capability.h, in the topmost byte of the first word.
const PLAIN: u8 = 2;
const WITH_ROOT: u8 = 3;
/// The size of the first; the second is followed by a user id.
const PLAIN_SIZE: usize = 20;

/// `ACL_USER` and `ACL_GROUP` of linux/posix_acl.h: the entries that name somebody.
const NAMED: [u16; 2] = [0x02, 0x08];

/// Makes the host's ids of a container whose 0 is `first_id` of its own ones.
pub(super) fn to_host(xattrs: &mut [(Vec<u8>, Vec<u8>)], first_id: u32) {
    shift(xattrs, |id| id.saturating_add(first_id));
}

/// Makes a container's own ids of the host's.
pub(super) fn to_container(xattrs: &mut [(Vec<u8>, Vec<u8>)], first_id: u32) {
    shift(xattrs, |id| id.checked_sub(first_id).unwrap_or(id));
}

fn shift(xattrs: &mut [(Vec<u8>, Vec<u8>)], id: impl Fn(u32) -> u32) {
    for (name, value) in xattrs {
        match name.as_slice() {
            b"security.capability" => capabilities(value, &id),
            b"system.posix_acl_access" | b"system.posix_acl_default" => access_list(value, &id),
            _ => {}
        }
    }
}

/// Capabilities for root are the plain ones: that is what archives have, and what every kernel understands.
fn capabilities(value: &mut Vec<u8>, id: &impl Fn(u32) -> u32) {
    let root = match (value.get(3), value.len()) {
        (Some(&PLAIN), PLAIN_SIZE) => 0,
        (Some(&WITH_ROOT), size) if size == PLAIN_SIZE + 4 => number(&value[PLAIN_SIZE..]),
        _ => return,
    };
    let root = id(root);
    value.truncate(PLAIN_SIZE);
    value[3] = PLAIN;
    if root != 0 {
        value[3] = WITH_ROOT;
        value.extend(root.to_le_bytes());
    }
}

/// A word for the version, then entries of tag, permissions and id.
fn access_list(value: &mut [u8], id: &impl Fn(u32) -> u32) {
    for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if NAMED.contains(&u16::from_le_bytes([entry[0], entry[1]])) {
            let shifted = id(number(&entry[4..]));
            entry[4..].copy_from_slice(&shifted.to_le_bytes());
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, inside: &[u8], outside: &[u8]) {
        let mut xattrs = vec![(name.as_bytes().to_vec(), inside.to_vec())];
        to_host(&mut xattrs, 0x10000);
        assert_eq!(xattrs[0].1, outside, "{name} outside");
        to_container(&mut xattrs, 0x10000);
        assert_eq!(xattrs[0].1, inside, "{name} inside");
    }

    #[test]
    fn ids_are_the_readers() {
        let plain = [&[1, 0, 0, 2][..], &[7; 16]].concat();
        let of_root = [&[1, 0, 0, 3][..], &[7; 16], &[0, 0, 1, 0]].concat();
        check("security.capability", &plain, &of_root);
        let of_user = [&[1, 0, 0, 3][..], &[7; 16], &[5, 0, 0, 0]].concat();
        let outside = [&[1, 0, 0, 3][..], &[7; 16], &[5, 0, 1, 0]].concat();
        check("security.capability", &of_user, &outside);
        let list = |id: u8, third: u8| {
            let owner = [1, 0, 6, 0, 255, 255, 255, 255];
            [&[2, 0, 0, 0][..], &owner, &[2, 0, 4, 0, id, 0, third, 0], &[8, 0, 4, 0, id, 0, third, 0]]
                .concat()
        };
        check("system.posix_acl_access", &list(33, 0), &list(33, 1));
        check("user.comment", &plain, &plain);
        for broken in [&[][..], &[1, 0, 0], &[1, 0, 0, 2], &[1, 0, 0, 3, 9]] {
            check("security.capability", broken, broken);
            check("system.posix_acl_default", broken, broken);
        }
    }
}

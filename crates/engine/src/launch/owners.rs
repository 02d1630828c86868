//! Whose the files of a bind mount or a volume are, in the words of the runtime-spec.

use crate::model::{IdRange, Owners};
use crate::start::StartError;
use oci::runtime::{IdMapping, Mount};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How many ids a container has.
const CONTAINER_IDS: u32 = runtime::ids::RANGE;

/// Adds the maps of `owners` to the bind mount of `source`. A mount without maps shows the owners that are on the disk.
///
/// # Errors
/// A source whose owner is asked for and cannot be found out.
pub(super) fn apply(owners: &Owners, source: &Path, mount: &mut Mount) -> Result<(), StartError> {
    let (uids, gids) = match owners {
        Owners::AsTheyAre => return Ok(()),
        Owners::Mapped { uids, gids } => (uids.clone(), gids.clone()),
        Owners::OfSource => {
            let metadata = std::fs::metadata(source)
                .map_err(|error| StartError::Owner { path: source.to_owned(), source: error })?;
            (root_is(metadata.uid()), root_is(metadata.gid()))
        }
    };
    // In a mount's map the disk's side comes first; the container's is moved to the container's range when there is one.
    let turn =
        |range: &IdRange| IdMapping { container_id: range.on_disk, host_id: range.inside, size: range.count };
    mount.uid_mappings = uids.iter().map(turn).collect();
    mount.gid_mappings = gids.iter().map(turn).collect();
    let recursive = mount.options.iter().any(|option| option == "rbind");
    mount.options.push(if recursive { "ridmap" } else { "idmap" }.to_owned());
    Ok(())
}

/// The container's 0 is `owner` on the disk, and whoever else is not the disk's 0 is as he is.
fn root_is(owner: u32) -> Vec<IdRange> {
    let same = |from: u32, until: u32| IdRange { inside: from, on_disk: from, count: until - from };
    if owner == 0 {
        return vec![same(0, CONTAINER_IDS)];
    }
    let root = IdRange { inside: 0, on_disk: owner, count: 1 };
    let until = owner.min(CONTAINER_IDS);
    let mut map = vec![root, same(1, until), same(owner.saturating_add(1).min(CONTAINER_IDS), CONTAINER_IDS)];
    map.retain(|range| range.count > 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_takes_roots_place_and_leaves_his_own() {
        let check = |owner, expected: &[&str]| {
            let shown: Vec<String> = root_is(owner).iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{owner}");
        };
        check(0, &["0-0-65536"]);
        check(1, &["0-1-1", "2-2-65534"]);
        check(1000, &["0-1000-1", "1-1-999", "1001-1001-64535"]);
        check(65_535, &["0-65535-1", "1-1-65534"]);
        check(65_536, &["0-65536-1", "1-1-65535"]);
        check(u32::MAX - 1, &["0-4294967294-1", "1-1-65535"]);
    }
}

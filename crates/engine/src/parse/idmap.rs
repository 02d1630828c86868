//! `idmap`, the option of a bind mount or a volume that says whose its files are.

use super::FlagError;
use crate::model::{IdRange, Owners};

/// As many lines as the kernel takes for a map.
const MAX_RANGES: usize = 340;
/// How many ids a container has.
const CONTAINER_IDS: u32 = 65_536;

/// What follows `idmap` and its `=`, nothing at all included.
///
/// `owner`, or `uids=C-H-N[#C-H-N…];gids=…`: the container's ids from C on are those from H on on the disk, N of them. Where only
/// users or only groups are given, the others are as they are.
pub fn owners(text: &str) -> Result<Owners, FlagError> {
    let invalid = |why: String| FlagError::new(format!("invalid idmap {text:?}: {why}"));
    match text {
        "" => return Ok(Owners::AsTheyAre),
        "owner" => return Ok(Owners::OfSource),
        _ => {}
    }
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';') {
        let (key, list) = part.split_once('=').unwrap_or((part, ""));
        let map = match key {
            "uids" => &mut uids,
            "gids" => &mut gids,
            other => return Err(invalid(format!("{other:?} is not one of owner, uids= and gids="))),
        };
        if !map.is_empty() {
            return Err(invalid(format!("{key} is given twice")));
        }
        *map = list.split('#').map(range).collect::<Result<_, _>>().map_err(invalid)?;
        check(map).map_err(|why| invalid(format!("{key}: {why}")))?;
    }
    let same = || vec![IdRange { inside: 0, on_disk: 0, count: CONTAINER_IDS }];
    let or_same = |map: Vec<IdRange>| if map.is_empty() { same() } else { map };
    Ok(Owners::Mapped { uids: or_same(uids), gids: or_same(gids) })
}

fn range(text: &str) -> Result<IdRange, String> {
    let number = |word: &str| {
        // Nothing but digits: `parse` would take a sign as well.
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| word.parse::<u32>().ok()).flatten()
    };
    let mut words = text.split('-').map(number);
    match (words.next().flatten(), words.next().flatten(), words.next().flatten(), words.next()) {
        (Some(inside), Some(on_disk), Some(count), None) => Ok(IdRange { inside, on_disk, count }),
        _ => Err(format!("{text:?} is not CONTAINER-HOST-COUNT, three numbers such as 0-1000-1")),
    }
}

fn check(map: &[IdRange]) -> Result<(), String> {
    if map.len() > MAX_RANGES {
        return Err(format!("{} ranges, the kernel takes {MAX_RANGES}", map.len()));
    }
    for range in map {
        let IdRange { inside, on_disk, count } = *range;
        if count == 0 {
            return Err(format!("{range} holds no id"));
        }
        if inside.checked_add(count).is_none_or(|end| end > CONTAINER_IDS) {
            return Err(format!("{range} goes beyond the ids of a container, 0 to {}", CONTAINER_IDS - 1));
        }
        // The last number stands for no id.
        if on_disk.checked_add(count).is_none() {
            return Err(format!("{range} goes beyond the ids of the host"));
        }
    }
    for (side, what) in [(inside as fn(&IdRange) -> u32, "of the container"), (on_disk, "on the disk")] {
        let mut ranges: Vec<(u32, u32)> = map.iter().map(|range| (side(range), range.count)).collect();
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            return Err(format!("two ranges hold the id {} {what}", pair[1].0));
        }
    }
    Ok(())
}

fn inside(range: &IdRange) -> u32 {
    range.inside
}

fn on_disk(range: &IdRange) -> u32 {
    range.on_disk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_and_written_back() {
        for text in [
            "",
            "owner",
            "uids=0-1000-1;gids=0-1000-1",
            "uids=0-1000-1#1-100001-65535;gids=0-0-65536",
            "uids=0-4294967294-1;gids=65535-0-1",
        ] {
            assert_eq!(owners(text).unwrap().to_string(), text);
        }
        assert_eq!(owners("uids=0-7-1").unwrap().to_string(), "uids=0-7-1;gids=0-0-65536");
        assert_eq!(owners("gids=0-7-1").unwrap().to_string(), "uids=0-0-65536;gids=0-7-1");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let check = |text: &str, why: &str| {
            assert_eq!(owners(text).unwrap_err().to_string(), format!("invalid idmap {text:?}: {why}"));
        };
        check("root", "\"root\" is not one of owner, uids= and gids=");
        for word in ["", "1", "1-2", "1-2-3-4", "a-1-1", "0-+1-1", "0--1", "0-4294967296-1"] {
            let why = format!("{word:?} is not CONTAINER-HOST-COUNT, three numbers such as 0-1000-1");
            check(&format!("uids={word}"), &why);
        }
        check("uids=0-1-1;uids=0-1-1", "uids is given twice");
        check("uids=0-1-0", "uids: 0-1-0 holds no id");
        check("uids=0-1-65537", "uids: 0-1-65537 goes beyond the ids of a container, 0 to 65535");
        check("gids=4294967295-1-9", "gids: 4294967295-1-9 goes beyond the ids of a container, 0 to 65535");
        check("gids=0-4294967290-9", "gids: 0-4294967290-9 goes beyond the ids of the host");
        check("uids=0-1-5#4-9-1", "uids: two ranges hold the id 4 of the container");
        check("uids=0-1-5#9-5-1", "uids: two ranges hold the id 5 on the disk");
        let many = format!("uids={}", (0..341).map(|n| format!("{n}-{n}-1")).collect::<Vec<_>>().join("#"));
        check(&many, "uids: 341 ranges, the kernel takes 340");
    }
}

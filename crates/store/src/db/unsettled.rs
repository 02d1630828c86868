//! Rows whose content may not be on the disk yet.
//!
//! What was made here (builds, commits, pushes to this host) is synced before its row acknowledges it. What came from elsewhere
//! (pulls, archives) can come again: its rows say that it is complete, which the death of any process leaves true, and are noted
//! here with the boot they belong to until a sync has followed. After a power cut, what is still noted is forgotten: it may be damaged.

use oci::Digest;
use rusqlite::params;

use super::row::parsed;
use super::{DatabaseError, Reader, Writer, build_cache, images};

const TABLE: &str = "unsettled";

/// Notes that the content of an image, complete as it is, was not synced.
pub fn note(writer: &Writer<'_>, image: &Digest) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO unsettled(image, boot, noted_ns) VALUES(?,?,?)";
    writer.execute(TABLE, sql, params![image.to_string(), boot_id(), super::now_ns()]).map(drop)
}

/// Whether an image is noted.
pub fn contains(reader: &Reader<'_>, image: &Digest) -> Result<bool, DatabaseError> {
    let sql = "SELECT 1 FROM unsettled WHERE image = ?";
    Ok(reader.one(TABLE, sql, [image.to_string()], |_| Ok(()))?.is_some())
}

/// Whether anything is noted.
pub fn any(reader: &Reader<'_>) -> Result<bool, DatabaseError> {
    Ok(reader.one(TABLE, "SELECT 1 FROM unsettled LIMIT 1", [], |_| Ok(()))?.is_some())
}

/// Notes that content named before `since_ns` is on the disk: what [`crate::Store::sync`] returned.
pub fn mark_synced(writer: &Writer<'_>, since_ns: i64) -> Result<(), DatabaseError> {
    build_cache::mark_synced(writer, since_ns)?;
    let sql = "DELETE FROM unsettled WHERE boot = ? AND noted_ns < ?";
    writer.execute(TABLE, sql, params![boot_id(), since_ns]).map(drop)
}

/// The images that earlier boots left without a sync.
pub(crate) fn of_other_boots(reader: &Reader<'_>) -> Result<Vec<Digest>, DatabaseError> {
    reader.all(TABLE, "SELECT image FROM unsettled WHERE boot <> ?", [boot_id()], |row| parsed(row, 0))
}

/// Forgets what earlier boots left without a sync.
pub(crate) fn forget_other_boots(writer: &Writer<'_>) -> Result<(), DatabaseError> {
    build_cache::forget_other_boots(writer)?;
    for image in of_other_boots(writer)? {
        images::remove(writer, &image)?;
    }
    writer.execute(TABLE, "DELETE FROM unsettled WHERE boot <> ?", [boot_id()]).map(drop)
}

pub(super) fn boot_id() -> String {
    // Without procfs there is no telling boots apart; an empty mark then never equals a later one.
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

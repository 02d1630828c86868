//! The results of build steps by their cache key.
//!
//! Rows are written before their content is synced, marked with the boot they belong to; see [`super::unsettled`].

use oci::{DiffId, Digest};
use rusqlite::{Row, params};

use super::row::{parsed_option, size, size_column};
use super::unsettled::boot_id;
use super::{DatabaseError, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    pub key: String,
    /// The layer the step made, when it made one.
    pub diff_id: Option<DiffId>,
    /// That layer's blob.
    pub blob: Option<Digest>,
    pub size: u64,
    /// The builder's own document.
    pub config: String,
    pub created_ns: i64,
    pub used_ns: i64,
}

const TABLE: &str = "build_cache";
const COLUMNS: &str = "key, diff_id, blob, size, config, created_ns, used_ns";

fn cached(row: &Row<'_>) -> rusqlite::Result<CacheRecord> {
    Ok(CacheRecord {
        key: row.get(0)?,
        diff_id: parsed_option(row, 1)?,
        blob: parsed_option(row, 2)?,
        size: size(row, 3)?,
        config: row.get(4)?,
        created_ns: row.get(5)?,
        used_ns: row.get(6)?,
    })
}

/// Adds or replaces a row, marked as not synced yet.
pub fn put(writer: &Writer<'_>, record: &CacheRecord) -> Result<(), DatabaseError> {
    let sql =
        "INSERT OR REPLACE INTO build_cache(key, diff_id, blob, size, config, created_ns, used_ns, boot)
        VALUES(?,?,?,?,?,?,?,?)";
    let values = params![
        record.key,
        record.diff_id.map(|id| id.to_string()),
        record.blob.map(|blob| blob.to_string()),
        size_column(record.size),
        record.config,
        record.created_ns,
        record.used_ns,
        boot_id()
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

pub fn get(reader: &Reader<'_>, key: &str) -> Result<Option<CacheRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM build_cache WHERE key = ?"), [key], cached)
}

/// Notes that rows were used now.
pub fn touch(writer: &Writer<'_>, keys: &[impl AsRef<str>]) -> Result<(), DatabaseError> {
    let now = super::now_ns();
    for key in keys {
        let sql = "UPDATE build_cache SET used_ns = ? WHERE key = ?";
        writer.execute(TABLE, sql, params![now, key.as_ref()])?;
    }
    Ok(())
}

/// All rows, least recently used first.
pub fn list(reader: &Reader<'_>) -> Result<Vec<CacheRecord>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM build_cache ORDER BY used_ns"), [], cached)
}

pub fn remove(writer: &Writer<'_>, key: &str) -> Result<bool, DatabaseError> {
    Ok(writer.execute(TABLE, "DELETE FROM build_cache WHERE key = ?", [key])? > 0)
}

/// Forgets everything; the content goes with the next collect.
pub fn clear(writer: &Writer<'_>) -> Result<usize, DatabaseError> {
    writer.execute(TABLE, "DELETE FROM build_cache", [])
}

pub(super) fn mark_synced(writer: &Writer<'_>, since_ns: i64) -> Result<(), DatabaseError> {
    let sql = "UPDATE build_cache SET boot = NULL WHERE boot = ? AND created_ns < ?";
    writer.execute(TABLE, sql, params![boot_id(), since_ns]).map(drop)
}

pub(super) fn forget_other_boots(writer: &Writer<'_>) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM build_cache WHERE boot IS NOT NULL AND boot <> ?";
    writer.execute(TABLE, sql, [boot_id()]).map(drop)
}

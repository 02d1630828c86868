//! What layers that are kept uncompressed become when they are sent: a registry that has that blob needs no bytes.
//!
//! The blobs themselves are not kept. A row goes with its layer's.

use oci::{DiffId, Digest};
use rusqlite::params;

use super::row::{parsed, size, size_column};
use super::{DatabaseError, Reader, Writer};

/// One compressed form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedLayer {
    pub diff_id: DiffId,
    pub media_type: String,
    pub level: i32,
    pub digest: Digest,
    pub size: u64,
}

const TABLE: &str = "compressed_layers";

/// Adds a form, or replaces what another version of the compressor made.
pub fn put(writer: &Writer<'_>, record: &CompressedLayer) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO compressed_layers(diff_id, media_type, level, digest, size) VALUES(?,?,?,?,?)";
    let values = params![
        record.diff_id.to_string(),
        record.media_type,
        record.level,
        record.digest.to_string(),
        size_column(record.size)
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

/// The form that `diff_id` had when it was sent like this before.
pub fn get(
    reader: &Reader<'_>,
    diff_id: &DiffId,
    media_type: &str,
    level: i32,
) -> Result<Option<CompressedLayer>, DatabaseError> {
    let sql = "SELECT diff_id, media_type, level, digest, size FROM compressed_layers
        WHERE diff_id = ? AND media_type = ? AND level = ?";
    reader.one(TABLE, sql, params![diff_id.to_string(), media_type, level], |row| {
        Ok(CompressedLayer {
            diff_id: parsed(row, 0)?,
            media_type: row.get(1)?,
            level: row.get(2)?,
            digest: parsed(row, 3)?,
            size: size(row, 4)?,
        })
    })
}

pub(super) fn remove(writer: &Writer<'_>, diff_id: &DiffId) -> Result<(), DatabaseError> {
    writer.execute(TABLE, "DELETE FROM compressed_layers WHERE diff_id = ?", [diff_id.to_string()]).map(drop)
}

//! What layers that are kept uncompressed become when they are sent: a registry that has that blob needs no bytes.
//!
//! The blobs themselves are not kept. A row goes with its layer's.

use std::collections::BTreeMap;

use oci::{DiffId, Digest};
use rusqlite::params;

use super::row::{json, parsed, size, size_column};
use super::{DatabaseError, Reader, Writer};

/// One compressed form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedLayer {
    pub diff_id: DiffId,
    /// How it was compressed, in the words of who did it.
    pub method: String,
    pub level: i32,
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// What the layer's descriptor says besides.
    pub annotations: BTreeMap<String, String>,
}

const TABLE: &str = "compressed_layers";

/// Adds a form, or replaces what another version of the compressor made.
pub fn put(writer: &Writer<'_>, record: &CompressedLayer) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO compressed_layers(diff_id, method, level, media_type, digest, size, annotations)
        VALUES(?,?,?,?,?,?,?)";
    let values = params![
        record.diff_id.to_string(),
        record.method,
        record.level,
        record.media_type,
        record.digest.to_string(),
        size_column(record.size),
        serde_json::json!(record.annotations).to_string()
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

/// The form that `diff_id` had when it was sent like this before.
pub fn get(
    reader: &Reader<'_>,
    diff_id: &DiffId,
    method: &str,
    level: i32,
) -> Result<Option<CompressedLayer>, DatabaseError> {
    let sql = "SELECT diff_id, method, level, media_type, digest, size, annotations FROM compressed_layers
        WHERE diff_id = ? AND method = ? AND level = ?";
    reader.one(TABLE, sql, params![diff_id.to_string(), method, level], |row| {
        Ok(CompressedLayer {
            diff_id: parsed(row, 0)?,
            method: row.get(1)?,
            level: row.get(2)?,
            media_type: row.get(3)?,
            digest: parsed(row, 4)?,
            size: size(row, 5)?,
            annotations: json(row, 6)?,
        })
    })
}

pub(super) fn remove(writer: &Writer<'_>, diff_id: &DiffId) -> Result<(), DatabaseError> {
    writer.execute(TABLE, "DELETE FROM compressed_layers WHERE diff_id = ?", [diff_id.to_string()]).map(drop)
}

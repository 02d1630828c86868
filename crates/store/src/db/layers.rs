//! What is known of each snapshot: the blob it came from, and its size.
//!
//! A row is written when the layer is made and goes when the layer is collected; it keeps nothing alive by itself.

use oci::{DiffId, Digest};
use rusqlite::{Row, params};

use super::row::{parsed, size, size_column};
use super::{DatabaseError, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRecord {
    pub diff_id: DiffId,
    /// Digest of the layer as it arrived, which may be compressed.
    pub blob: Digest,
    pub media_type: String,
    pub blob_size: u64,
    /// Bytes of the files in it.
    pub size: u64,
}

const TABLE: &str = "layers";
const COLUMNS: &str = "diff_id, blob, media_type, blob_size, size";

fn layer(row: &Row<'_>) -> rusqlite::Result<LayerRecord> {
    Ok(LayerRecord {
        diff_id: parsed(row, 0)?,
        blob: parsed(row, 1)?,
        media_type: row.get(2)?,
        blob_size: size(row, 3)?,
        size: size(row, 4)?,
    })
}

/// Adds a layer, or replaces what was known of it.
pub fn put(writer: &Writer<'_>, record: &LayerRecord) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO layers(diff_id, blob, media_type, blob_size, size) VALUES(?,?,?,?,?)";
    let values = params![
        record.diff_id.to_string(),
        record.blob.to_string(),
        record.media_type,
        size_column(record.blob_size),
        size_column(record.size)
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

pub fn get(reader: &Reader<'_>, diff_id: &DiffId) -> Result<Option<LayerRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM layers WHERE diff_id = ?");
    reader.one(TABLE, &sql, [diff_id.to_string()], layer)
}

/// A layer that came as the blob `blob`.
pub fn by_blob(reader: &Reader<'_>, blob: &Digest) -> Result<Option<LayerRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM layers WHERE blob = ? LIMIT 1");
    reader.one(TABLE, &sql, [blob.to_string()], layer)
}

/// All layers.
pub fn list(reader: &Reader<'_>) -> Result<Vec<LayerRecord>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM layers"), [], layer)
}

pub(crate) fn remove(writer: &Writer<'_>, diff_id: &DiffId) -> Result<(), DatabaseError> {
    super::compressed_layers::remove(writer, diff_id)?;
    writer.execute(TABLE, "DELETE FROM layers WHERE diff_id = ?", [diff_id.to_string()]).map(drop)
}

//! Volumes: identity here, the rest is the engine's own document.

use rusqlite::{Row, params};

use super::{DatabaseError, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    pub name: String,
    pub created_ns: i64,
    /// Made for a container without a name of its own, so that `rm -v` and `prune` take it.
    pub anonymous: bool,
    pub record: String,
}

const TABLE: &str = "volumes";
const COLUMNS: &str = "name, created_ns, anonymous, record";

fn volume(row: &Row<'_>) -> rusqlite::Result<VolumeRecord> {
    Ok(VolumeRecord {
        name: row.get(0)?,
        created_ns: row.get(1)?,
        anonymous: row.get(2)?,
        record: row.get(3)?,
    })
}

/// Adds a volume unless one of this name exists; `false` when it does. Docker's `volume create` is idempotent.
pub fn insert(writer: &Writer<'_>, record: &VolumeRecord) -> Result<bool, DatabaseError> {
    let sql = "INSERT OR IGNORE INTO volumes(name, created_ns, anonymous, record) VALUES(?,?,?,?)";
    let values = params![record.name, record.created_ns, record.anonymous, record.record];
    Ok(writer.execute(TABLE, sql, values)? > 0)
}

/// Removes a volume's row; `false` when it was gone.
pub fn remove(writer: &Writer<'_>, name: &str) -> Result<bool, DatabaseError> {
    Ok(writer.execute(TABLE, "DELETE FROM volumes WHERE name = ?", [name])? > 0)
}

pub fn get(reader: &Reader<'_>, name: &str) -> Result<Option<VolumeRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM volumes WHERE name = ?"), [name], volume)
}

/// All volumes by name.
pub fn list(reader: &Reader<'_>) -> Result<Vec<VolumeRecord>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM volumes ORDER BY name"), [], volume)
}

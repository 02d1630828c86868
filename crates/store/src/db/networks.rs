//! Networks: identity here, the rest is the engine's own document.

use diag::{Class, Diagnose};
use rusqlite::{Row, params};

use super::containers::Found;
use super::{DatabaseError, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRecord {
    pub id: String,
    pub name: String,
    pub created_ns: i64,
    pub record: String,
}

/// Why a network could not be added.
#[derive(Debug, thiserror::Error)]
pub enum NetworkInsertError {
    #[error("network with name {0} already exists")]
    Taken(String),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for NetworkInsertError {
    fn class(&self) -> Class {
        match self {
            Self::Taken(_) => Class::Conflict,
            Self::Database(e) => e.class(),
        }
    }
}

const TABLE: &str = "networks";
const COLUMNS: &str = "id, name, created_ns, record";

fn network(row: &Row<'_>) -> rusqlite::Result<NetworkRecord> {
    Ok(NetworkRecord { id: row.get(0)?, name: row.get(1)?, created_ns: row.get(2)?, record: row.get(3)? })
}

/// Adds a network.
///
/// # Errors
/// [`NetworkInsertError::Taken`] when the name is in use.
pub fn insert(writer: &Writer<'_>, record: &NetworkRecord) -> Result<(), NetworkInsertError> {
    if by_name(writer, &record.name)?.is_some() {
        return Err(NetworkInsertError::Taken(record.name.clone()));
    }
    let sql = "INSERT INTO networks(id, name, created_ns, record) VALUES(?,?,?,?)";
    let values = params![record.id, record.name, record.created_ns, record.record];
    writer.execute(TABLE, sql, values)?;
    Ok(())
}

/// Replaces the engine's document; `false` when the network is gone.
pub fn update(writer: &Writer<'_>, id: &str, record: &str) -> Result<bool, DatabaseError> {
    Ok(writer.execute(TABLE, "UPDATE networks SET record = ? WHERE id = ?", [record, id])? > 0)
}

/// Removes a network and its leases; `false` when it was gone.
pub fn remove(writer: &Writer<'_>, id: &str) -> Result<bool, DatabaseError> {
    writer.execute("leases", "DELETE FROM leases WHERE network = ?", [id])?;
    Ok(writer.execute(TABLE, "DELETE FROM networks WHERE id = ?", [id])? > 0)
}

pub fn by_id(reader: &Reader<'_>, id: &str) -> Result<Option<NetworkRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM networks WHERE id = ?"), [id], network)
}

pub fn by_name(reader: &Reader<'_>, name: &str) -> Result<Option<NetworkRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM networks WHERE name = ?"), [name], network)
}

/// Finds a network by whole id, then by name, then by the beginning of its id.
pub fn find(reader: &Reader<'_>, key: &str) -> Result<Found<NetworkRecord>, DatabaseError> {
    if let Some(record) = by_id(reader, key)? {
        return Ok(Found::One(record));
    }
    if let Some(record) = by_name(reader, key)? {
        return Ok(Found::One(record));
    }
    if key.is_empty() || !key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(Found::None);
    }
    let sql = format!("SELECT {COLUMNS} FROM networks WHERE id >= ? AND id < ? LIMIT 2");
    let mut records = reader.all(TABLE, &sql, [key, &format!("{key}g")], network)?;
    Ok(match (records.pop(), records.is_empty()) {
        (None, _) => Found::None,
        (Some(record), true) => Found::One(record),
        (Some(_), false) => Found::Ambiguous,
    })
}

/// All networks, oldest first.
pub fn list(reader: &Reader<'_>) -> Result<Vec<NetworkRecord>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM networks ORDER BY created_ns"), [], network)
}

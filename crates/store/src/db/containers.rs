//! Containers: what identifies one and keeps its layers alive; the rest is the engine's own document.

use diag::{Class, Diagnose};
use oci::{DiffId, Digest};
use rusqlite::{Row, params};

use super::row::{join, list as values, parsed_option};
use super::{DatabaseError, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// 64 hexadecimal characters.
    pub id: String,
    /// Without Docker's leading slash; unique.
    pub name: String,
    pub created_ns: i64,
    pub image: Option<Digest>,
    /// The snapshots its root is made of, base first; they stay while the row does, whatever happens to the image.
    pub layers: Vec<DiffId>,
    /// The engine's versioned JSON.
    pub record: String,
}

/// Why a container could not be given its name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    Taken { name: String, holder: String },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for NameError {
    fn class(&self) -> Class {
        match self {
            Self::Taken { .. } => Class::Conflict,
            Self::Database(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { .. } => None,
            Self::Database(e) => e.hint(),
        }
    }
}

/// What a name or the beginning of an id leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    None,
    One(T),
    /// Several ids begin like that.
    Ambiguous,
}

const TABLE: &str = "containers";
const COLUMNS: &str = "id, name, created_ns, image, layers, record";

fn container(row: &Row<'_>) -> rusqlite::Result<ContainerRecord> {
    Ok(ContainerRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        created_ns: row.get(2)?,
        image: parsed_option(row, 3)?,
        layers: values(row, 4)?,
        record: row.get(5)?,
    })
}

/// Adds a container.
///
/// # Errors
/// [`NameError::Taken`] with the holder's id.
pub fn insert(writer: &Writer<'_>, record: &ContainerRecord) -> Result<(), NameError> {
    check_name(writer, &record.name)?;
    let sql = "INSERT INTO containers(id, name, created_ns, image, layers, record) VALUES(?,?,?,?,?,?)";
    let values = params![
        record.id,
        record.name,
        record.created_ns,
        record.image.map(|id| id.to_string()),
        join(&record.layers),
        record.record
    ];
    writer.execute(TABLE, sql, values)?;
    Ok(())
}

/// Replaces the engine's document; `false` when the container is gone.
pub fn update(writer: &Writer<'_>, id: &str, record: &str) -> Result<bool, DatabaseError> {
    Ok(writer.execute(TABLE, "UPDATE containers SET record = ? WHERE id = ?", [record, id])? > 0)
}

/// Gives a container another name.
///
/// # Errors
/// [`NameError::Taken`] with the holder's id.
pub fn rename(writer: &Writer<'_>, id: &str, name: &str) -> Result<(), NameError> {
    check_name(writer, name)?;
    writer.execute(TABLE, "UPDATE containers SET name = ? WHERE id = ?", [name, id])?;
    Ok(())
}

fn check_name(reader: &Reader<'_>, name: &str) -> Result<(), NameError> {
    match reader.one(TABLE, "SELECT id FROM containers WHERE name = ?", [name], |row| row.get(0))? {
        None => Ok(()),
        Some(holder) => Err(NameError::Taken { name: name.to_owned(), holder }),
    }
}

/// Removes a container and its leases; `false` when it was gone.
pub fn remove(writer: &Writer<'_>, id: &str) -> Result<bool, DatabaseError> {
    super::leases::release_all(writer, id)?;
    Ok(writer.execute(TABLE, "DELETE FROM containers WHERE id = ?", [id])? > 0)
}

pub fn by_id(reader: &Reader<'_>, id: &str) -> Result<Option<ContainerRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM containers WHERE id = ?"), [id], container)
}

pub fn by_name(reader: &Reader<'_>, name: &str) -> Result<Option<ContainerRecord>, DatabaseError> {
    reader.one(TABLE, &format!("SELECT {COLUMNS} FROM containers WHERE name = ?"), [name], container)
}

/// Finds a container as Docker does: by whole id, then by name (with or without a slash), then by the beginning of its id.
pub fn find(reader: &Reader<'_>, key: &str) -> Result<Found<ContainerRecord>, DatabaseError> {
    if let Some(record) = by_id(reader, key)? {
        return Ok(Found::One(record));
    }
    if let Some(record) = by_name(reader, key.strip_prefix('/').unwrap_or(key))? {
        return Ok(Found::One(record));
    }
    if key.is_empty() || !key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(Found::None);
    }
    let sql = format!("SELECT {COLUMNS} FROM containers WHERE id >= ? AND id < ? LIMIT 2");
    let mut records = reader.all(TABLE, &sql, [key, &format!("{key}g")], container)?;
    Ok(match (records.pop(), records.is_empty()) {
        (None, _) => Found::None,
        (Some(record), true) => Found::One(record),
        (Some(_), false) => Found::Ambiguous,
    })
}

/// All containers, newest first.
pub fn list(reader: &Reader<'_>) -> Result<Vec<ContainerRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM containers ORDER BY created_ns DESC");
    reader.all(TABLE, &sql, [], container)
}

/// Ids of the containers made from an image.
pub fn using_image(reader: &Reader<'_>, image: &Digest) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT id FROM containers WHERE image = ? ORDER BY created_ns";
    reader.all(TABLE, sql, [image.to_string()], |row| row.get(0))
}

/// The snapshots that containers stand on.
pub fn layers_in_use(reader: &Reader<'_>) -> Result<Vec<DiffId>, DatabaseError> {
    let rows = reader.all(TABLE, "SELECT DISTINCT layers FROM containers", [], |row| values(row, 0))?;
    Ok(rows.into_iter().flatten().collect())
}

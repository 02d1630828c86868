//! Images and the references that name them.

use oci::{DiffId, Digest, Reference};
use rusqlite::{Row, params};

use super::row::{join, list as values, parsed, size, size_column};
use super::{DatabaseError, Reader, Writer, manifests};

/// One image; its config and manifest are blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Digest of the config: what Docker calls the image id.
    pub id: Digest,
    /// The manifest it has under the name it was found by, or else the one it came by last.
    pub manifest: Digest,
    /// When the image says it was made.
    pub created_ns: i64,
    /// When it came here.
    pub stored_ns: i64,
    /// Bytes of all layers, uncompressed.
    pub size: u64,
    /// Base first.
    pub layers: Vec<DiffId>,
}

const TABLE: &str = "images";
const REFERENCES: &str = "image_references";
const COLUMNS: &str = "id, manifest, created_ns, stored_ns, size, layers";

fn image(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    Ok(ImageRecord {
        id: parsed(row, 0)?,
        manifest: parsed(row, 1)?,
        created_ns: row.get(2)?,
        stored_ns: row.get(3)?,
        size: size(row, 4)?,
        layers: values(row, 5)?,
    })
}

/// Adds an image, or replaces what was known of it.
pub fn put(writer: &Writer<'_>, record: &ImageRecord) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO images(id, manifest, created_ns, stored_ns, size, layers) VALUES(?,?,?,?,?,?)
        ON CONFLICT(id) DO UPDATE SET manifest=excluded.manifest, size=excluded.size";
    let values = params![
        record.id.to_string(),
        record.manifest.to_string(),
        record.created_ns,
        record.stored_ns,
        size_column(record.size),
        join(&record.layers)
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

pub fn get(reader: &Reader<'_>, id: &Digest) -> Result<Option<ImageRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM images WHERE id = ?");
    reader.one(TABLE, &sql, [id.to_string()], image)
}

/// The images whose id begins with `hex`; two are enough to know that it is ambiguous.
pub fn by_prefix(reader: &Reader<'_>, hex: &str) -> Result<Vec<ImageRecord>, DatabaseError> {
    let (from, to) = (format!("sha256:{hex}"), format!("sha256:{hex}g"));
    let sql = format!("SELECT {COLUMNS} FROM images WHERE id >= ? AND id < ? LIMIT 2");
    reader.all(TABLE, &sql, [from, to], image)
}

/// All images, newest first.
pub fn list(reader: &Reader<'_>) -> Result<Vec<ImageRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM images ORDER BY created_ns DESC, id");
    reader.all(TABLE, &sql, [], image)
}

/// Removes the image, every reference to it, and the manifests it came by.
pub fn remove(writer: &Writer<'_>, id: &Digest) -> Result<(), DatabaseError> {
    for reference in references_of(writer, id)? {
        manifests::untag(writer, &reference)?;
    }
    writer.execute("manifests", "DELETE FROM manifests WHERE image = ?", [id.to_string()])?;
    writer.execute(REFERENCES, "DELETE FROM image_references WHERE image = ?", [id.to_string()])?;
    writer.execute(TABLE, "DELETE FROM images WHERE id = ?", [id.to_string()]).map(drop)
}

/// Points `reference` at `id` and one of its manifests, away from whatever it named before.
pub fn tag(
    writer: &Writer<'_>,
    reference: &Reference,
    id: &Digest,
    manifest: &Digest,
) -> Result<(), DatabaseError> {
    manifests::untag(writer, reference)?;
    let sql = "INSERT OR REPLACE INTO image_references(name, image, manifest, tagged_ns) VALUES(?,?,?,?)";
    let values = params![reference.canonical(), id.to_string(), manifest.to_string(), super::now_ns()];
    writer.execute(REFERENCES, sql, values).map(drop)
}

/// Removes a reference; `false` when there was none.
pub fn untag(writer: &Writer<'_>, reference: &Reference) -> Result<bool, DatabaseError> {
    manifests::untag(writer, reference)?;
    let sql = "DELETE FROM image_references WHERE name = ?";
    Ok(writer.execute(REFERENCES, sql, [reference.canonical()])? > 0)
}

/// The image a reference names, with the manifest it has there.
pub fn by_reference(
    reader: &Reader<'_>,
    reference: &Reference,
) -> Result<Option<ImageRecord>, DatabaseError> {
    let sql = "SELECT id, image_references.manifest, created_ns, stored_ns, size, layers
        FROM image_references JOIN images ON id = image WHERE name = ?";
    reader.one(TABLE, sql, [reference.canonical()], image)
}

/// The references that name one image, sorted.
pub fn references_of(reader: &Reader<'_>, id: &Digest) -> Result<Vec<Reference>, DatabaseError> {
    let sql = "SELECT name FROM image_references WHERE image = ? ORDER BY name";
    reader.all(REFERENCES, sql, [id.to_string()], |row| parsed(row, 0))
}

/// The manifests that an image has under its names, each once.
pub fn manifests_of(reader: &Reader<'_>, id: &Digest) -> Result<Vec<Digest>, DatabaseError> {
    let sql = "SELECT DISTINCT manifest FROM image_references WHERE image = ? ORDER BY manifest";
    reader.all(REFERENCES, sql, [id.to_string()], |row| parsed(row, 0))
}

/// The tags of `repository` (its whole name) that name images, each with its image and the manifest it has there.
pub fn tags_in(
    reader: &Reader<'_>,
    repository: &str,
) -> Result<Vec<(Reference, Digest, Digest)>, DatabaseError> {
    let (from, to) = manifests::tag_range(repository);
    let sql = "SELECT name, image, manifest FROM image_references WHERE name >= ? AND name < ? ORDER BY name";
    reader.all(REFERENCES, sql, [from, to], |row| Ok((parsed(row, 0)?, parsed(row, 1)?, parsed(row, 2)?)))
}

/// Every reference with the image it names, sorted by name.
pub fn references(reader: &Reader<'_>) -> Result<Vec<(Reference, Digest)>, DatabaseError> {
    let sql = "SELECT name, image FROM image_references ORDER BY name";
    reader.all(REFERENCES, sql, [], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))
}

//! Manifests by repository: what a registry answers for a name, beside the images this host can run.
//!
//! A reference that an image has needs no row here: its own row says which manifest it names. A row of `tags` says that it names
//! more, an index of several platforms, or something that is no image of this host's at all.

use oci::{Digest, Reference};
use rusqlite::{Row, params};

use super::row::{parsed, parsed_option, size, size_column};
use super::{DatabaseError, Reader, Writer};

/// A manifest or an index that is kept for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// The repository's whole name: `docker.io/library/busybox`.
    pub repository: String,
    pub digest: Digest,
    pub media_type: String,
    pub size: u64,
    /// What a signature, an SBOM or another artifact is about.
    pub subject: Option<Digest>,
    pub artifact_type: Option<String>,
    /// The image it is, or the one of this host's platform in it.
    pub image: Option<Digest>,
}

const TABLE: &str = "manifests";
const TAGS: &str = "tags";
const HOLDS: &str = "blob_holds";
const COLUMNS: &str = "repository, digest, media_type, size, subject, artifact_type, image";

fn manifest(row: &Row<'_>) -> rusqlite::Result<ManifestRecord> {
    Ok(ManifestRecord {
        repository: row.get(0)?,
        digest: parsed(row, 1)?,
        media_type: row.get(2)?,
        size: size(row, 3)?,
        subject: parsed_option(row, 4)?,
        artifact_type: row.get(5)?,
        image: parsed_option(row, 6)?,
    })
}

/// Adds a manifest, or replaces what was known of it; an image once known stays known.
pub fn put(writer: &Writer<'_>, record: &ManifestRecord) -> Result<(), DatabaseError> {
    let sql =
        "INSERT INTO manifests(repository, digest, media_type, size, subject, artifact_type, image, stored_ns)
        VALUES(?,?,?,?,?,?,?,?)
        ON CONFLICT(repository, digest) DO UPDATE SET image=coalesce(excluded.image, image)";
    let values = params![
        record.repository,
        record.digest.to_string(),
        record.media_type,
        size_column(record.size),
        record.subject.map(|subject| subject.to_string()),
        record.artifact_type,
        record.image.map(|image| image.to_string()),
        super::now_ns()
    ];
    writer.execute(TABLE, sql, values).map(drop)
}

pub fn get(
    reader: &Reader<'_>,
    repository: &str,
    digest: &Digest,
) -> Result<Option<ManifestRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE repository = ? AND digest = ?");
    reader.one(TABLE, &sql, [repository, &digest.to_string()], manifest)
}

/// All manifests of all repositories.
pub fn list(reader: &Reader<'_>) -> Result<Vec<ManifestRecord>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM manifests ORDER BY repository, digest"), [], manifest)
}

/// The manifests of one repository.
pub fn in_repository(reader: &Reader<'_>, repository: &str) -> Result<Vec<ManifestRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE repository = ? ORDER BY digest");
    reader.all(TABLE, &sql, [repository], manifest)
}

/// The manifests under which repositories have an image, such as `RepoDigests` lists them.
pub fn of_image(reader: &Reader<'_>, image: &Digest) -> Result<Vec<ManifestRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE image = ? ORDER BY repository, digest");
    reader.all(TABLE, &sql, [image.to_string()], manifest)
}

/// The manifests of `repository` whose subject is `subject`.
pub fn referrers(
    reader: &Reader<'_>,
    repository: &str,
    subject: &Digest,
) -> Result<Vec<ManifestRecord>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE repository = ? AND subject = ? ORDER BY digest");
    reader.all(TABLE, &sql, [repository, &subject.to_string()], manifest)
}

/// Forgets a manifest of a repository, with the tags that name it; `false` when there was none.
pub fn remove(writer: &Writer<'_>, repository: &str, digest: &Digest) -> Result<bool, DatabaseError> {
    let digest = digest.to_string();
    let (from, to) = tag_range(repository);
    let sql = "DELETE FROM tags WHERE digest = ? AND name >= ? AND name < ?";
    writer.execute(TAGS, sql, [&*digest, &from, &to])?;
    let sql = "DELETE FROM manifests WHERE repository = ? AND digest = ?";
    Ok(writer.execute(TABLE, sql, [repository, &digest])? > 0)
}

/// Lets `reference` name the manifest `digest`, whatever image it names besides.
pub fn tag(writer: &Writer<'_>, reference: &Reference, digest: &Digest) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO tags(name, digest) VALUES(?,?)";
    writer.execute(TAGS, sql, [reference.canonical(), digest.to_string()]).map(drop)
}

/// The manifest a reference names when that is not simply its image's.
pub fn tagged(reader: &Reader<'_>, reference: &Reference) -> Result<Option<Digest>, DatabaseError> {
    let sql = "SELECT digest FROM tags WHERE name = ?";
    reader.one(TAGS, sql, [reference.canonical()], |row| parsed(row, 0))
}

/// The references of `repository` that [`tagged`] knows, sorted.
pub fn tags(reader: &Reader<'_>, repository: &str) -> Result<Vec<(Reference, Digest)>, DatabaseError> {
    let (from, to) = tag_range(repository);
    let sql = "SELECT name, digest FROM tags WHERE name >= ? AND name < ? ORDER BY name";
    reader.all(TAGS, sql, [from, to], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))
}

/// Forgets what [`tag`] said of a reference; `false` when there was nothing.
pub fn untag(writer: &Writer<'_>, reference: &Reference) -> Result<bool, DatabaseError> {
    Ok(writer.execute(TAGS, "DELETE FROM tags WHERE name = ?", [reference.canonical()])? > 0)
}

/// Keeps a blob that nothing names yet from the collector until `until_ns`: somebody uploads an image piece by piece.
pub fn hold_blob(writer: &Writer<'_>, digest: &Digest, until_ns: i64) -> Result<(), DatabaseError> {
    let sql = "INSERT OR REPLACE INTO blob_holds(digest, until_ns) VALUES(?,?)";
    writer.execute(HOLDS, sql, params![digest.to_string(), until_ns]).map(drop)
}

/// The blobs that are held at `now_ns`.
pub fn held_blobs(reader: &Reader<'_>, now_ns: i64) -> Result<Vec<Digest>, DatabaseError> {
    let sql = "SELECT digest FROM blob_holds WHERE until_ns > ?";
    reader.all(HOLDS, sql, [now_ns], |row| parsed(row, 0))
}

/// Ends the hold on a blob that has found its manifest, or is not wanted any more.
pub fn forget_hold(writer: &Writer<'_>, digest: &Digest) -> Result<(), DatabaseError> {
    writer.execute(HOLDS, "DELETE FROM blob_holds WHERE digest = ?", [digest.to_string()]).map(drop)
}

/// Forgets the holds that ended before `now_ns`; whether there were any.
pub fn forget_ended_holds(writer: &Writer<'_>, now_ns: i64) -> Result<bool, DatabaseError> {
    Ok(writer.execute(HOLDS, "DELETE FROM blob_holds WHERE until_ns <= ?", [now_ns])? > 0)
}

/// Ends all holds: after a boot, because a held blob was never synced.
pub fn forget_holds(writer: &Writer<'_>) -> Result<(), DatabaseError> {
    writer.execute(HOLDS, "DELETE FROM blob_holds", []).map(drop)
}

/// All names `repository:tag`; `;` follows `:`.
pub(super) fn tag_range(repository: &str) -> (String, String) {
    (format!("{repository}:"), format!("{repository};"))
}

//! Tables and their migrations; `user_version` counts the migrations that were applied.

use std::path::Path;

use rusqlite::Connection;

use super::DatabaseError;

/// Applied in order, each in its own transaction; one that was released is never edited.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE images(
        id TEXT PRIMARY KEY, manifest TEXT NOT NULL, created_ns INTEGER NOT NULL, stored_ns INTEGER NOT NULL,
        size INTEGER NOT NULL, layers TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE image_references(
        name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id), tagged_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX image_references_by_image ON image_references(image);
    CREATE TABLE layers(
        diff_id TEXT PRIMARY KEY, blob TEXT NOT NULL, media_type TEXT NOT NULL, blob_size INTEGER NOT NULL,
        size INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE containers(
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ns INTEGER NOT NULL,
        image TEXT, layers TEXT NOT NULL, record TEXT NOT NULL
    );
    CREATE TABLE networks(
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ns INTEGER NOT NULL, record TEXT NOT NULL
    );
    CREATE TABLE leases(
        network TEXT NOT NULL, address INTEGER NOT NULL, container TEXT NOT NULL, mac TEXT NOT NULL,
        PRIMARY KEY(network, address)
    ) WITHOUT ROWID;
    CREATE INDEX leases_by_container ON leases(container);
    CREATE TABLE volumes(
        name TEXT PRIMARY KEY, created_ns INTEGER NOT NULL, anonymous INTEGER NOT NULL, record TEXT NOT NULL
    );
    CREATE TABLE build_cache(
        key TEXT PRIMARY KEY, diff_id TEXT, blob TEXT, size INTEGER NOT NULL, config TEXT NOT NULL,
        created_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL, boot TEXT
    );
",
    "
    CREATE TABLE manifests(
        repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
        subject TEXT, artifact_type TEXT, image TEXT, stored_ns INTEGER NOT NULL,
        PRIMARY KEY(repository, digest)
    ) WITHOUT ROWID;
    CREATE INDEX manifests_by_subject ON manifests(subject);
    CREATE INDEX manifests_by_image ON manifests(image);
    CREATE TABLE tags(name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE blob_holds(digest TEXT PRIMARY KEY, until_ns INTEGER NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE compressed_layers(
        diff_id TEXT NOT NULL, method TEXT NOT NULL, level INTEGER NOT NULL, media_type TEXT NOT NULL,
        digest TEXT NOT NULL, size INTEGER NOT NULL, annotations TEXT NOT NULL,
        PRIMARY KEY(diff_id, method, level)
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE unsettled(image TEXT PRIMARY KEY, boot TEXT NOT NULL, noted_ns INTEGER NOT NULL) WITHOUT ROWID;
",
    "
    ALTER TABLE image_references ADD COLUMN manifest TEXT;
    UPDATE image_references SET manifest = (SELECT manifest FROM images WHERE id = image);
",
];

pub const CURRENT: i64 = MIGRATIONS.len() as i64;

pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the database up to [`CURRENT`]; the caller holds the write lock.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DatabaseError> {
    let error = |source| DatabaseError::file("migrate", path.to_owned(), source);
    // Changes the file for good and cannot be part of a transaction.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(error)?;
    let found = version(connection).map_err(error)?;
    if found > CURRENT {
        return Err(DatabaseError::TooNew { path: path.to_owned(), found, known: CURRENT });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction().map_err(error)?;
        transaction.execute_batch(migration).map_err(error)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1).map_err(error)?;
        transaction.commit().map_err(error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_older_databases_have_the_manifest_of_their_image() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..4] {
            connection.execute_batch(migration).unwrap();
        }
        let rows = "
            PRAGMA user_version = 4;
            INSERT INTO images VALUES('image', 'manifest', 0, 0, 0, '');
            INSERT INTO image_references VALUES('name', 'image', 0);
        ";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, Path::new("test")).unwrap();
        let manifest = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let found = connection.query_row("SELECT manifest FROM image_references", [], manifest);
        assert_eq!(found.unwrap(), "manifest");
        assert_eq!(version(&connection).unwrap(), CURRENT);
    }
}

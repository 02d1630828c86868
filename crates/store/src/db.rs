//! Durable intent: one SQLite database in WAL mode, one transaction per user-visible change.
//!
//! Writers of all processes queue on the flock `db.lock`, whose waiters the kernel wakes at once, instead of on SQLite's own
//! lock, which is polled with growing sleeps. Readers never wait.
//!
//! The WAL is folded back when it has grown to [`WAL_LIMIT_BYTES`], not when the last process closes it: each command is
//! such a last process, and would pay for it. It must stay short for the same reason, because a process that opens the
//! database alone reads all of it. SQLite's own automatic checkpoint does not do: it only marks the WAL as copied, in
//! shared memory that is gone with the process, so that the WAL would grow and be copied again by every command.
//!
//! One file per table group below; each has its record type and functions over a [`Reader`] or a [`Writer`].

pub mod build_cache;
pub mod compressed_layers;
pub mod containers;
mod error;
pub mod images;
pub mod layers;
pub mod leases;
pub mod manifests;
pub mod networks;
mod row;
mod schema;
pub mod unsettled;
pub mod volumes;

use std::error::Error;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use sys::fs::{FileLock, LockKind, OFlags};

pub use error::DatabaseError;

use crate::reserve::Reserve;

const WAL_LIMIT_BYTES: u64 = 64 * 4096;

/// Only ever waited for while another process reads the WAL at its first opening.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a committed change must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the transaction returns: what is acknowledged to the user.
    Full,
    /// Survives the death of the process, and of the machine a little later: `--rm` containers, caches.
    Relaxed,
}

/// The database of one data root; a connection is made by the first transaction.
pub struct Database {
    data: PathBuf,
    pub(crate) reserve: Reserve,
    state: Mutex<Option<Open>>,
}

struct Open {
    connection: Connection,
    /// `db.lock`, open but not held between transactions.
    lock: Option<OwnedFd>,
    durability: Durability,
}

/// A consistent view of the database.
pub struct Reader<'a>(&'a Connection);

/// The right to change the database, and a [`Reader`] of what was changed.
pub struct Writer<'a>(Reader<'a>);

impl<'a> Deref for Writer<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.0
    }
}

impl Database {
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), reserve: Reserve::new(data), state: Mutex::new(None) }
    }

    /// The database file, for error texts.
    pub fn path(&self) -> PathBuf {
        self.data.join("hull.db")
    }

    /// Runs `body` on one consistent view.
    ///
    /// # Errors
    /// [`DatabaseError`] as `E`, or the error of `body`.
    pub fn read<T, E: From<DatabaseError>>(
        &self,
        body: impl FnOnce(&Reader<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state();
        let open = self.opened(&mut state)?;
        let transaction = open.connection.unchecked_transaction().map_err(|e| self.error("begin", e))?;
        let value = body(&Reader(&transaction))?;
        transaction.finish().map_err(|e| self.error("end", e))?;
        Ok(value)
    }

    /// Runs `body` as the only writer of all processes and commits; nothing is changed when it fails.
    ///
    /// `body` must not wait for anything: every other writer of the host waits for it.
    ///
    /// # Errors
    /// [`DatabaseError`] as `E`, or the error of `body`.
    pub fn write<T, E: From<DatabaseError>>(
        &self,
        durability: Durability,
        body: impl FnOnce(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state();
        let open = self.opened(&mut state)?;
        let lock = self.lock(open.lock.take())?;
        let result = self.write_locked(open, durability, body);
        open.lock = lock.release().ok();
        result
    }

    /// As [`Database::write`], for a change by which something is removed: it works on a full disk, too.
    ///
    /// # Errors
    /// [`DatabaseError`] as `E`, or the error of `body`.
    pub fn write_removal<T, E: From<DatabaseError> + Error + 'static>(
        &self,
        durability: Durability,
        body: impl Fn(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let value = self.reserve.spend(|| self.write(durability, &body))?;
        self.reserve.keep();
        Ok(value)
    }

    fn write_locked<T, E: From<DatabaseError>>(
        &self,
        open: &mut Open,
        durability: Durability,
        body: impl FnOnce(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if open.durability != durability {
            let value = if durability == Durability::Full { "FULL" } else { "NORMAL" };
            open.connection
                .pragma_update(None, "synchronous", value)
                .map_err(|e| self.error("configure", e))?;
            open.durability = durability;
        }
        let transaction = open
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|e| self.error("begin", e))?;
        let value = body(&Writer(Reader(&transaction)))?;
        transaction.commit().map_err(|e| self.error("commit to", e))?;
        if std::fs::metadata(self.data.join("hull.db-wal")).is_ok_and(|wal| wal.len() > WAL_LIMIT_BYTES) {
            // The change is committed whatever becomes of this; a reader in the way leaves it to the next writer.
            let _ = fold_wal(&open.connection, Duration::ZERO);
        }
        Ok(value)
    }

    /// Folds the whole WAL back into the database; part of `prune`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn checkpoint(&self) -> Result<(), DatabaseError> {
        let mut state = self.state();
        let open = self.opened(&mut state)?;
        let lock = self.lock(open.lock.take())?;
        let result = fold_wal(&open.connection, BUSY_TIMEOUT).map_err(|e| self.error("checkpoint", e));
        open.lock = lock.release().ok();
        result
    }

    fn state(&self) -> MutexGuard<'_, Option<Open>> {
        // A transaction that panicked was rolled back by its guard; the connection is as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, open: Option<OwnedFd>) -> Result<FileLock, DatabaseError> {
        let path = self.data.join("db.lock");
        let lock = match open {
            Some(fd) => FileLock::wait(fd, LockKind::Exclusive),
            None => sys::fs::open(&path, OFlags::RDWR | OFlags::CREATE, 0o600)
                .and_then(|fd| FileLock::wait(fd, LockKind::Exclusive)),
        };
        lock.map_err(|source| DatabaseError::Lock { path, source })
    }

    fn error(&self, action: &'static str, source: rusqlite::Error) -> DatabaseError {
        DatabaseError::file(action, self.path(), source)
    }

    fn opened<'s>(&self, state: &'s mut Option<Open>) -> Result<&'s mut Open, DatabaseError> {
        if state.is_none() {
            *state = Some(self.open()?);
        }
        Ok(state.as_mut().expect("it was just filled"))
    }

    fn open(&self) -> Result<Open, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (connection, lock) = match Connection::open_with_flags(self.path(), flags) {
            Ok(connection) => (connection, None),
            // Most likely it does not exist; no look tells, as another first command may make it meanwhile. The lock makes one
            // of them the founder, and for the others this is a second attempt.
            Err(_) => {
                let lock = self.lock(None)?;
                let connection =
                    Connection::open_with_flags(self.path(), flags | OpenFlags::SQLITE_OPEN_CREATE)
                        .map_err(|e| self.error("open", e))?;
                (connection, Some(lock))
            }
        };
        let configure = |connection: &Connection| -> rusqlite::Result<()> {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection.pragma_update(None, "wal_autocheckpoint", 0)
        };
        configure(&connection).map_err(|e| self.error("configure", e))?;
        let mut open = Open { connection, lock: None, durability: Durability::Full };
        if schema::version(&open.connection).map_err(|e| self.error("read", e))? != schema::CURRENT {
            let lock = match lock {
                Some(lock) => lock,
                None => self.lock(None)?,
            };
            schema::migrate(&mut open.connection, &self.path())?;
            self.reserve.keep();
            open.lock = lock.release().ok();
        }
        Ok(open)
    }
}

impl Reader<'_> {
    pub(crate) fn one<T>(
        &self,
        table: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DatabaseError> {
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, row).optional())
            .map_err(DatabaseError::table(table))
    }

    pub(crate) fn all<T>(
        &self,
        table: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(values, row)?.collect())
            .map_err(DatabaseError::table(table))
    }
}

impl Writer<'_> {
    pub(crate) fn execute(
        &self,
        table: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, DatabaseError> {
        self.0
            .0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(DatabaseError::table(table))
    }
}

fn fold_wal(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(patience)?;
    let result = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    result
}

/// Nanoseconds since 1970, as all `*_ns` columns hold them.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

//! Opening the database, making it where there is none, and refusing what is not ours.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::StoreError;
use crate::lock::{self, Mode};

/// The format that the schema describes, kept as the database's `user_version`.
const FORMAT: i32 = 4;
/// `LNKS`, by which file(1) and we tell the database from another application's.
const APPLICATION: i32 = 0x4c4e_4b53;
/// Bytes per page. A command changes a few dozen bytes on each of some fifteen pages, and the log holds whole
/// ones: this size was the best of 512 to 4096 on tmpfs and disk alike (`examples/cost.rs`).
const PAGE: u32 = 2048;
const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    include_str!("named.sql"),
    include_str!("access.sql"),
    include_str!("reservation.sql"),
    include_str!("runtime.sql")
);
/// What leads from each earlier format to the next, from 1 on.
const UPGRADES: [&str; FORMAT as usize - 1] = [
    concat!(
        include_str!("access.sql"),
        "INSERT INTO access SELECT network, 0, count(*) FROM endpoint GROUP BY network;"
    ),
    concat!(include_str!("reservation.sql"), include_str!("runtime.sql")),
    concat!(
        "DROP INDEX sandbox_joined;
         ALTER TABLE network RENAME TO former_network; ALTER TABLE sandbox RENAME TO former_sandbox;",
        include_str!("named.sql"),
        "INSERT INTO network SELECT name, id, doc FROM former_network; DROP TABLE former_network;
         INSERT INTO sandbox SELECT name, id, joined, doc FROM former_sandbox; DROP TABLE former_sandbox;"
    ),
];

/// How long to wait for other processes to lay out the tables.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between attempts to lock the database the pause grows by the first of these, up to the second.
const PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Some 30 s of attempts; other processes' transactions take milliseconds.
const ATTEMPTS: i32 = 1600;

/// The database at `path` in `dir`, whole and of our format; made, under a lock in `lock_file`, if there is none.
pub(crate) fn database(dir: &Path, path: &Path, lock_file: &Path) -> Result<Connection, StoreError> {
    let failed = |cause| StoreError::from_sql(path, cause);
    let connection = connect(dir, path)?;
    configure(&connection).map_err(failed)?;
    if look(&connection, path)? != Found::Current {
        lay_out(&connection, path, lock_file)?;
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
    Ok(connection)
}

fn connect(dir: &Path, path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || Connection::open_with_flags(path, flags);
    let connection = match open() {
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|cause| StoreError::Open { path: dir.to_owned(), cause: cause.into() })?;
            open().map_err(|cause| unopened(dir, path, cause))
        }
        outcome => outcome.map_err(|cause| StoreError::from_sql(path, cause)),
    }?;
    // Where the directory is missing, SQLite tries to read it at least, and another process may have made both meanwhile.
    match connection.is_readonly("main") {
        Ok(true) => open().map_err(|cause| StoreError::from_sql(path, cause)),
        _ => Ok(connection),
    }
}

/// SQLite does not say why a file cannot be opened; the system does, where it is a matter of permission.
///
/// Not by opening the file: closing it again would drop this process's locks on the database (fcntl(2)).
fn unopened(dir: &Path, path: &Path, cause: rusqlite::Error) -> StoreError {
    let asked = if path.exists() { path } else { dir };
    match access(asked, AccessFlags::R_OK | AccessFlags::W_OK) {
        Err(errno) => StoreError::Open { path: path.to_owned(), cause: Box::new(errno) },
        Ok(()) => StoreError::from_sql(path, cause),
    }
}

/// Settings that cost no statement.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_handler(Some(wait_for_others))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Waits before another attempt to lock the database, the `attempt`-th; whether to make it.
///
/// SQLite's own pauses grow to 100 ms, so the last of a crowd would sleep long after its turn has come. That they
/// grow at all matters on a slow machine, where a crowd that asks too often leaves nothing to the one at work.
fn wait_for_others(attempt: i32) -> bool {
    sleep(LONGEST_PAUSE.min(PAUSE * (attempt + 1).unsigned_abs()));
    attempt < ATTEMPTS
}

/// What a database is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Of our format.
    Current,
    /// Of an earlier format: what leads from it to ours.
    Former(&'static [&'static str]),
    /// Empty still.
    Nothing,
}

/// What the database is; an error if it is of another's making, or a newer format.
fn look(connection: &Connection, path: &Path) -> Result<Found, StoreError> {
    let failed = |cause| StoreError::from_sql(path, cause);
    // One snapshot, or another process might lay out the tables between the questions.
    let snapshot = connection.unchecked_transaction().map_err(failed)?;
    let number = |sql: &str| snapshot.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(failed);
    let path = path.to_owned();
    match (number("PRAGMA application_id")?, number("PRAGMA user_version")?) {
        (APPLICATION, FORMAT) => Ok(Found::Current),
        (APPLICATION, former @ 1..FORMAT) => Ok(Found::Former(&UPGRADES[former as usize - 1..])),
        (APPLICATION, found) if found > FORMAT => Err(StoreError::Newer { path, found, known: FORMAT }),
        (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(Found::Nothing),
        _ => Err(StoreError::Foreign { path }),
    }
}

/// Lays out the tables, or those that came later, unless another process did while we waited for it.
fn lay_out(connection: &Connection, path: &Path, lock_file: &Path) -> Result<(), StoreError> {
    let failed = |cause| StoreError::from_sql(path, cause);
    let Some(_lock) = lock::lock(lock_file, "format", Mode::Exclusive, PATIENCE)? else {
        return Err(failed(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)));
    };
    let pragmas =
        format!("PRAGMA page_size = {PAGE}; PRAGMA synchronous = NORMAL; PRAGMA journal_mode = WAL;");
    let (before, tables) = match look(connection, path)? {
        Found::Current => return Ok(()),
        Found::Former(upgrades) => (String::new(), upgrades.concat()),
        Found::Nothing => (pragmas, SCHEMA.to_owned()),
    };
    let change = format!(
        "{before} BEGIN IMMEDIATE; {tables} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT"
    );
    connection.execute_batch(&change).map_err(failed)
}

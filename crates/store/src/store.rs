//! The store of one host: a connection, transactions on it, and the locks beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

use crate::{Lock, Mode, Object, StoreError, Tx, boot, lock, open};

/// The log length, in bytes, from which whoever closes the database writes it back.
///
/// The first process to open the database, when no other has it open, reads the whole log; yet to write it back
/// takes two fsyncs. At this length the mean command was cheapest, on tmpfs and disk together (`examples/cost.rs`).
const LONG_LOG: u64 = 512 << 10;

/// For how long after a deletion in the firewall the kernel makes those wait who close a socket to it.
const KERNEL_SETTLES: Duration = Duration::from_millis(50);

/// The state of one host, open.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    log: PathBuf,
    lock_file: PathBuf,
    is_new_boot: bool,
}

impl Store {
    /// Opens the store in `dir`, making the directory (mode 0700) and the store if they are missing.
    ///
    /// `boot_id` is the kernel's (/proc/sys/kernel/random/boot_id). If the store was last opened under another
    /// one, everything but the networks is emptied.
    ///
    /// # Errors
    /// If the store cannot be opened or made, is damaged, another application's or a newer Linkspan's; it is
    /// left untouched then.
    pub fn open(dir: &Path, boot_id: &str) -> Result<Self, StoreError> {
        let path = dir.join("linkspan.db");
        let log = dir.join("linkspan.db-wal");
        let lock_file = dir.join("lock");
        let mut connection = open::database(dir, &path, &lock_file)?;
        let is_new_boot =
            boot::enter(&mut connection, boot_id).map_err(|cause| StoreError::from_sql(&path, cause))?;
        Ok(Self { connection, path, log, lock_file, is_new_boot })
    }

    /// Whether this is the first opening of the store since the host booted.
    pub const fn is_new_boot(&self) -> bool {
        self.is_new_boot
    }

    /// Runs `work` in a transaction that nobody else writes beside; commits if it succeeds, else undoes it all.
    ///
    /// # Errors
    /// Those of `work`, and if the transaction cannot be begun (after waiting 10 s for others) or committed.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |cause| StoreError::from_sql(&self.path, cause);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let value = work(&Tx::new(&transaction, &self.path, true))?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }

    /// Runs `work` on one consistent state, which it cannot change; neither waits for writers nor holds them up.
    ///
    /// # Errors
    /// Those of `work`, and if the transaction cannot be begun.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |cause| StoreError::from_sql(&self.path, cause);
        let transaction = self.connection.transaction().map_err(failed)?;
        work(&Tx::new(&transaction, &self.path, false))
    }

    /// Locks `object`, waiting for others up to `patience`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if others held it all the time; others if the lock file cannot be used.
    pub fn lock(&self, object: &Object, mode: Mode, patience: Duration) -> Result<Lock, StoreError> {
        lock::lock(&self.lock_file, &object.to_string(), mode, patience)?
            .ok_or_else(|| StoreError::Busy { object: object.clone(), waited: patience })
    }

    /// Locks `object` if nobody is in the way, in this process or another.
    ///
    /// # Errors
    /// If the lock file cannot be used.
    pub fn try_lock(&self, object: &Object, mode: Mode) -> Result<Option<Lock>, StoreError> {
        lock::lock(&self.lock_file, &object.to_string(), mode, Duration::ZERO)
    }

    /// Notes that elements of the host's firewall were deleted just now.
    ///
    /// The note is the time of the lock file: one call to make, one to read, and lost without harm.
    pub fn note_deletion(&self) {
        let _ = fs::File::options()
            .write(true)
            .open(&self.lock_file)
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Whether they were in the last 50 ms: for that long the kernel may be at work on it (KERNEL_SETTLES).
    pub fn deleted_lately(&self) -> bool {
        let noted = fs::metadata(&self.lock_file).and_then(|file| file.modified());
        noted.is_ok_and(|noted| noted.elapsed().is_ok_and(|since| since < KERNEL_SETTLES))
    }

    /// Writes the log back and empties it, unless others are using it: then one of them will.
    fn shorten_log(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() >= LONG_LOG) {
            // The log is valid at any length; a failure only leaves it to the next.
            let _ = self.shorten_log();
        }
    }
}

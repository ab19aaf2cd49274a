//! What can go wrong with stored state, and the way out.

use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkspan_model::{Id, Published};
use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

use crate::Object;

/// Why stored state could not be read or changed; the message says what, the source why, [`Self::hint`] what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory, the database or the lock file could not be opened or created.
    #[error("cannot open {}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A later Linkspan wrote the database.
    #[error(
        "{} was written by a newer Linkspan: its format is {found}, this one knows up to {known}",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The latest format known here.
        known: i32,
    },
    /// The file is a database of another application.
    #[error("{} is a database, but not one of Linkspan's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database, or one that is damaged.
    #[error("{} is damaged", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What does not fit.
        #[source]
        cause: rusqlite::Error,
    },
    /// The disk has no room for the change.
    #[error("{} cannot grow: the disk is full", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
    /// The file or its file system takes no change.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
    /// Other processes kept the database to themselves for too long.
    #[error("{} is in use by other processes and did not become free", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
    /// The name or identity is in use.
    #[error("{kind} {name} exists already")]
    Exists {
        /// `network`, `sandbox` or `endpoint`.
        kind: &'static str,
        /// The name, or the short identity of an endpoint.
        name: String,
    },
    /// What was to be changed is not there.
    #[error("{kind} {name} does not exist")]
    Missing {
        /// `network` or `endpoint`.
        kind: &'static str,
        /// The name, or the short identity of an endpoint.
        name: String,
    },
    /// The beginning of an identity fits several.
    #[error("'{key}' is the beginning of more than one {kind}'s identity: {}", names.join(", "))]
    Ambiguous {
        /// `network` or `sandbox`.
        kind: &'static str,
        /// What was looked for.
        key: String,
        /// Everything it fits.
        names: Vec<String>,
    },
    /// Another endpoint of the network holds the address.
    #[error("address {address} is held by endpoint {holder:?}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Its holder.
        holder: Id,
    },
    /// A published port conflicts with one that is there.
    #[error("port {published} conflicts with one that endpoint {holder:?} publishes")]
    PortTaken {
        /// What was to be published.
        published: Published,
        /// The endpoint in the way.
        holder: Id,
    },
    /// Another process works on the object.
    #[error("{object} is busy: another process has been working on it for {} s", waited.as_secs_f32())]
    Busy {
        /// The object.
        object: Object,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A change was tried in a transaction that only reads.
    #[error("the stored state cannot be changed while it is only read")]
    Reading,
    /// Anything else that SQLite reports.
    #[error("{} cannot be used", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
}

impl StoreError {
    /// The error that `cause`, met while using the database at `path`, stands for.
    pub(crate) fn from_sql(path: &Path, cause: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, cause },
            Some(ErrorCode::DiskFull) => Self::Full { path, cause },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path, cause },
            Some(ErrorCode::DatabaseBusy) => Self::Locked { path, cause },
            Some(ErrorCode::CannotOpen) => Self::Open { path, cause: cause.into() },
            // The file of the log's index could not grow.
            _ if cause
                .sqlite_error()
                .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE) =>
            {
                Self::Full { path, cause }
            }
            _ if is_not_as_laid_out(&cause) => Self::Corrupt { path, cause },
            _ => Self::Sql { path, cause },
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        let aside = |path: &Path| {
            let path = path.display();
            format!(
                "move it out of the way (mv {path} {path}.old) to start afresh, or choose another --state-dir"
            )
        };
        Some(match self {
            Self::Open { .. } => "run as root, or choose another --state-dir".to_owned(),
            Self::Newer { path, .. } => format!("use the Linkspan that wrote it, or {}", aside(path)),
            Self::Foreign { .. } => "choose another --state-dir".to_owned(),
            Self::Corrupt { path, .. } => format!("restore it from a backup, or {}", aside(path)),
            Self::Full { path, .. } => format!("make room on the file system of {}", path.display()),
            Self::ReadOnly { path, .. } => {
                format!("make {} writable, or choose another --state-dir", path.display())
            }
            Self::Locked { path, .. } => format!("see who holds it: fuser -v {}", path.display()),
            Self::Ambiguous { .. } => "give more digits, or the name".to_owned(),
            Self::Busy { .. } => "try again when the other process is done".to_owned(),
            Self::AddressTaken { .. } => "choose another address".to_owned(),
            Self::PortTaken { .. } => "choose another host port or host address".to_owned(),
            Self::Exists { .. } => "choose another name, or remove the other first".to_owned(),
            Self::Missing { .. } | Self::Reading | Self::Sql { .. } => return None,
        })
    }
}

/// Whether a table, a row or a value is not as `schema.sql` has it: our own statements fit it.
fn is_not_as_laid_out(cause: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        cause,
        Error::SqliteFailure(ffi::Error { extended_code: ffi::SQLITE_ERROR, .. }, _)
            | Error::SqlInputError { .. }
            | Error::QueryReturnedNoRows
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::StoreError;

    fn failure(batch: &str) -> StoreError {
        let connection = Connection::open_in_memory().unwrap();
        StoreError::from_sql(Path::new("/s/linkspan.db"), connection.execute_batch(batch).unwrap_err())
    }

    #[test]
    fn a_full_disk_and_a_read_only_file_are_called_so() {
        let full = failure("PRAGMA max_page_count = 1; CREATE TABLE t (a)");
        assert_eq!(full.to_string(), "/s/linkspan.db cannot grow: the disk is full");
        assert!(full.hint().unwrap().contains("make room"));
        let read_only = failure("PRAGMA query_only = 1; CREATE TABLE t (a)");
        assert_eq!(read_only.to_string(), "/s/linkspan.db is read-only");
        assert!(read_only.hint().unwrap().contains("--state-dir"));
    }

    #[test]
    fn a_hint_to_start_afresh_gives_the_command() {
        let error = StoreError::Newer { path: "/s/linkspan.db".into(), found: 7, known: 1 };
        assert!(error.hint().unwrap().contains("mv /s/linkspan.db /s/linkspan.db.old"));
    }
}

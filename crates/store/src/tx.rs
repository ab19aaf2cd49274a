//! A transaction: the statements common to every kind of object.

use std::path::Path;
use std::str::FromStr;

use linkspan_model::{Id, Invalid};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{CachedStatement, Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// One transaction on the store; see [`crate::Store::write`] and [`crate::Store::read`].
///
/// Unless it says otherwise, a method fails only if the database does: it is full, damaged, or not writable.
pub struct Tx<'a> {
    connection: &'a Connection,
    path: &'a Path,
    is_writing: bool,
}

impl<'a> Tx<'a> {
    pub(crate) const fn new(connection: &'a Connection, path: &'a Path, is_writing: bool) -> Self {
        Self { connection, path, is_writing }
    }

    /// Runs a statement that changes rows; how many it changed.
    pub(crate) fn change(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.changing(sql)?.execute(params).map_err(|cause| self.failed(cause))
    }

    /// Runs a statement that inserts a row; the row's number.
    pub(crate) fn insert(&self, sql: &str, params: impl Params) -> Result<i64, StoreError> {
        self.changing(sql)?.insert(params).map_err(|cause| self.failed(cause))
    }

    /// Runs a statement that removes at most one document; that document.
    pub(crate) fn take<T: DeserializeOwned>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.changing(sql)?;
        let rows = statement.query_and_then(params, document).map_err(|cause| self.failed(cause))?;
        // A DELETE ... RETURNING is done only when all its rows are read.
        rows.last().transpose().map_err(|cause| self.failed(cause))
    }

    /// The first row of a query, read by `read`.
    pub(crate) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params).map_err(|cause| self.failed(cause))?;
        let row = rows.next().map_err(|cause| self.failed(cause))?;
        row.map(read).transpose().map_err(|cause| self.failed(cause))
    }

    /// Every row of a query, read by `read`.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(params, read).map_err(|cause| self.failed(cause))?;
        rows.collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }

    fn changing(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        if self.is_writing { self.statement(sql) } else { Err(StoreError::Reading) }
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        self.connection.prepare_cached(sql).map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::from_sql(self.path, cause)
    }

    /// `value` as a document.
    pub(crate) fn to_document(&self, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value)
            .map_err(|cause| self.failed(rusqlite::Error::ToSqlConversionFailure(cause.into())))
    }
}

/// Reads the document in a row's first column.
pub(crate) fn document<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    document_at(row, 0)
}

/// Reads the document in column `index`.
pub(crate) fn document_at<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let wrong = |cause| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, cause);
    let text = row.get_ref(index)?.as_str().map_err(|cause: FromSqlError| wrong(cause.into()))?;
    serde_json::from_str(text).map_err(|cause| wrong(cause.into()))
}

/// Reads the identity in a row's first column.
pub(crate) fn identity(row: &Row<'_>) -> rusqlite::Result<Id> {
    parsed_at(row, 0)
}

/// Reads the value whose text is in column `index`.
pub(crate) fn parsed_at<T: FromStr<Err = Invalid>>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let wrong = |cause| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(cause));
    row.get::<_, String>(index)?.parse().map_err(wrong)
}

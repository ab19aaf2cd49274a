//! Addresses as columns: 4 or 16 bytes in network order, so that they compare as numbers do.

use std::net::IpAddr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// An address on its way to or from a column.
#[derive(Clone, Copy)]
pub(crate) struct Column(pub(crate) IpAddr);

impl ToSql for Column {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }))
    }
}

impl FromSql for Column {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let wrong = || FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() };
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            return Ok(Self(v4.into()));
        }
        <[u8; 16]>::try_from(bytes).map(|v6| Self(v6.into())).map_err(|_| wrong())
    }
}

//! The host's sysctls that were changed, so that they can be named and put back.

use crate::{StoreError, Tx};

impl Tx<'_> {
    /// Notes that the host sysctl `key` was changed; of several changes the first `before` and the last `after`
    /// are kept, until the host boots.
    pub fn record_sysctl(&self, key: &str, before: &str, after: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO sysctl (key, before, after) VALUES (?1, ?2, ?3)
            ON CONFLICT (key) DO UPDATE SET after = excluded.after";
        self.change(sql, [key, before, after]).map(drop)
    }

    /// The host sysctls changed since it booted, by key: key, value before, value after.
    pub fn sysctls(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        self.all("SELECT key, before, after FROM sysctl ORDER BY key", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }
}

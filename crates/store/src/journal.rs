//! The journal: what is being done to which object, written before the kernel is touched.

use crate::tx::parsed_at;
use crate::{Object, StoreError, Tx};

/// An intent that was begun and not yet ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalEntry {
    /// Its number; never used again.
    pub id: i64,
    /// What is worked on. Whoever can lock it knows that the process that began the work is dead.
    pub object: Object,
    /// What is done, such as `create`.
    pub verb: String,
    /// What it takes to finish or undo the work, in the words of whoever began it.
    pub detail: String,
}

impl Tx<'_> {
    /// Notes that `verb` is about to be done to `object`; the entry's number.
    pub fn begin(&self, object: &Object, verb: &str, detail: &str) -> Result<i64, StoreError> {
        let sql = "INSERT INTO journal (object, verb, detail) VALUES (?1, ?2, ?3)";
        self.insert(sql, (object.to_string(), verb, detail))
    }

    /// Notes that the work of entry `id` is done or undone.
    pub fn end(&self, id: i64) -> Result<(), StoreError> {
        self.change("DELETE FROM journal WHERE id = ?1", [id]).map(drop)
    }

    /// What was begun and not ended, oldest first.
    pub fn journal(&self) -> Result<Vec<JournalEntry>, StoreError> {
        self.all("SELECT id, object, verb, detail FROM journal ORDER BY id", [], |row| {
            Ok(JournalEntry {
                id: row.get(0)?,
                object: parsed_at(row, 1)?,
                verb: row.get(2)?,
                detail: row.get(3)?,
            })
        })
    }
}

//! What does not outlive the boot it was made in.

use rusqlite::{Connection, TransactionBehavior};

const BOOT: &str = "SELECT boot FROM host";
const RECORD: &str = "UPDATE host SET boot = ?1, port_cursor = NULL WHERE boot <> ?1";
/// What a network card had is to be looked at anew; a network that was never confirmed does not come back. Reservations
/// are files too, in directories of others: their rows go when the files are gone.
const EMPTY: &str = "DELETE FROM network WHERE json_extract(doc, '$.card.undone_at') IS NOT NULL;
    UPDATE network SET doc = json_remove(doc, '$.card') WHERE json_extract(doc, '$.card') IS NOT NULL;
    DELETE FROM sandbox; DELETE FROM endpoint; DELETE FROM lease; DELETE FROM access; DELETE FROM fresh;
    DELETE FROM publish; DELETE FROM journal; DELETE FROM sysctl; DELETE FROM attachment;
    UPDATE reservation SET former = 1; DELETE FROM last_reserved;";

/// Empties what belongs to another boot than `boot_id`; whether there was another.
pub(crate) fn enter(connection: &mut Connection, boot_id: &str) -> rusqlite::Result<bool> {
    let known: String = connection.query_row(BOOT, [], |row| row.get(0))?;
    if known == boot_id {
        return Ok(false);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_first = tx.execute(RECORD, [boot_id])? == 1;
    if is_first {
        tx.execute_batch(EMPTY)?;
    }
    tx.commit()?;
    Ok(is_first)
}

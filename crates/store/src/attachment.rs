//! How runtimes call endpoints.

use linkspan_model::{Attachment, Id, Name};
use rusqlite::Row;

use crate::named::one;
use crate::tx::{identity, parsed_at};
use crate::{StoreError, Tx};

const COLUMNS: &str = "network, container, ifname";

impl Tx<'_> {
    /// Writes down how a runtime calls an endpoint.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if it calls another one so.
    pub fn insert_attachment(&self, attachment: &Attachment, endpoint: Id) -> Result<(), StoreError> {
        let Attachment { network, container, ifname } = attachment;
        let added = self.change(
            "INSERT INTO attachment VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            (network.as_str(), container, ifname.as_str(), endpoint.to_string()),
        )?;
        one(added, || StoreError::Exists { kind: "attachment", name: attachment.to_string() })
    }

    /// The endpoint that a runtime calls so.
    pub fn attachment(&self, attachment: &Attachment) -> Result<Option<Id>, StoreError> {
        let Attachment { network, container, ifname } = attachment;
        let sql = "SELECT endpoint FROM attachment WHERE network = ?1 AND container = ?2 AND ifname = ?3";
        self.first(sql, (network.as_str(), container, ifname.as_str()), identity)
    }

    /// How a runtime calls an endpoint, if it does.
    pub fn attachment_of(&self, endpoint: Id) -> Result<Option<Attachment>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM attachment WHERE endpoint = ?1");
        self.first(&sql, [endpoint.to_string()], read)
    }

    /// What runtimes have attached to what they call `network`.
    pub fn attachments_on(&self, network: &Name) -> Result<Vec<Attachment>, StoreError> {
        self.all(&format!("SELECT {COLUMNS} FROM attachment WHERE network = ?1"), [network.as_str()], read)
    }

    /// The endpoints of what a runtime calls `container`.
    pub fn endpoints_of_container(&self, container: &str) -> Result<Vec<Id>, StoreError> {
        self.all("SELECT endpoint FROM attachment WHERE container = ?1", [container], identity)
    }

    /// Nobody calls an endpoint anything any more.
    pub(crate) fn forget_attachment(&self, endpoint: Id) -> Result<(), StoreError> {
        self.change("DELETE FROM attachment WHERE endpoint = ?1", [endpoint.to_string()]).map(drop)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment { network: parsed_at(row, 0)?, container: row.get(1)?, ifname: parsed_at(row, 2)? })
}

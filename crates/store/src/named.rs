//! Networks and sandboxes: objects that have a name and an identity.

use linkspan_model::{Id, Name, NamespaceSource, Network, Sandbox};
use serde::de::DeserializeOwned;

use crate::tx::{document, document_at};
use crate::{StoreError, Tx};

/// The statements by which objects of one kind are found.
struct Kind {
    noun: &'static str,
    by_name: &'static str,
    by_prefix: &'static str,
}

const NETWORK: Kind = Kind {
    noun: "network",
    by_name: "SELECT doc FROM network WHERE name = ?1",
    by_prefix: "SELECT name, doc FROM network WHERE id >= ?1 AND id < ?2 ORDER BY name",
};
const SANDBOX: Kind = Kind {
    noun: "sandbox",
    by_name: "SELECT doc FROM sandbox WHERE name = ?1",
    by_prefix: "SELECT name, doc FROM sandbox WHERE id >= ?1 AND id < ?2 ORDER BY name",
};

/// Fewest digits that stand for an identity; fewer would be hit by accident.
const PREFIX_MIN: usize = 4;

/// The identities that begin with `key`, as a half-open span of text, if it can be the beginning of one.
fn identity_span(key: &str) -> Option<(String, String)> {
    let is_prefix = key.len() >= PREFIX_MIN && key.bytes().all(|digit| digit.is_ascii_hexdigit());
    let first = key.to_ascii_lowercase();
    // 'g' follows the last digit.
    is_prefix.then(|| (first.clone(), first + "g"))
}

impl Tx<'_> {
    fn named<T: DeserializeOwned>(&self, kind: &Kind, key: &str) -> Result<Option<T>, StoreError> {
        if let Some(value) = self.first(kind.by_name, [key], document)? {
            return Ok(Some(value));
        }
        let Some((first, end)) = identity_span(key) else { return Ok(None) };
        let mut found = self.all(kind.by_prefix, [first, end], |row| {
            Ok((row.get::<_, String>(0)?, document_at::<T>(row, 1)?))
        })?;
        if found.len() > 1 {
            let names = found.into_iter().map(|(name, _)| name).collect();
            return Err(StoreError::Ambiguous { kind: kind.noun, key: key.to_owned(), names });
        }
        Ok(found.pop().map(|(_, value)| value))
    }

    /// Adds a network.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its name or identity is in use.
    pub fn insert_network(&self, network: &Network) -> Result<(), StoreError> {
        let added = self.change(
            "INSERT INTO network (name, id, doc) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            (network.name.as_str(), network.id.to_string(), self.to_document(network)?),
        )?;
        one(added, || StoreError::Exists { kind: "network", name: network.name.to_string() })
    }

    /// The network with the name `key`, or whose identity `key` is or begins (4 digits at least).
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] if `key` begins several identities and is nobody's name.
    pub fn network(&self, key: &str) -> Result<Option<Network>, StoreError> {
        self.named(&NETWORK, key)
    }

    /// The network with this identity.
    pub fn network_by_id(&self, id: Id) -> Result<Option<Network>, StoreError> {
        self.first("SELECT doc FROM network WHERE id = ?1", [id.to_string()], document)
    }

    /// Every network, by name.
    pub fn networks(&self) -> Result<Vec<Network>, StoreError> {
        self.all("SELECT doc FROM network ORDER BY name", [], document)
    }

    /// Replaces what is stored of the network with the same identity and name.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none.
    pub fn update_network(&self, network: &Network) -> Result<(), StoreError> {
        let changed = self.change(
            "UPDATE network SET doc = ?3 WHERE name = ?1 AND id = ?2",
            (network.name.as_str(), network.id.to_string(), self.to_document(network)?),
        )?;
        one(changed, || StoreError::Missing { kind: "network", name: network.name.to_string() })
    }

    /// Removes a network, if it is there, with the memory of its addresses. Its endpoints are the caller's.
    pub fn delete_network(&self, id: Id) -> Result<(), StoreError> {
        let id = id.to_string();
        self.change("DELETE FROM network WHERE id = ?1", [&id])?;
        self.change("DELETE FROM lease WHERE network = ?1", [&id])?;
        self.change("DELETE FROM fresh WHERE network = ?1", [&id])?;
        self.change("DELETE FROM access WHERE network = ?1", [&id])?;
        Ok(())
    }

    /// Adds a sandbox.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its name or identity is in use.
    pub fn insert_sandbox(&self, sandbox: &Sandbox) -> Result<(), StoreError> {
        let joined = match &sandbox.namespace {
            NamespaceSource::Sandbox(name) => Some(name.as_str()),
            _ => None,
        };
        let added = self.change(
            "INSERT INTO sandbox (name, id, joined, doc) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            (sandbox.name.as_str(), sandbox.id.to_string(), joined, self.to_document(sandbox)?),
        )?;
        one(added, || StoreError::Exists { kind: "sandbox", name: sandbox.name.to_string() })
    }

    /// Replaces what is stored of the sandbox with the same identity and name. Whose namespace it has stays.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none.
    pub fn update_sandbox(&self, sandbox: &Sandbox) -> Result<(), StoreError> {
        let changed = self.change(
            "UPDATE sandbox SET doc = ?3 WHERE name = ?1 AND id = ?2",
            (sandbox.name.as_str(), sandbox.id.to_string(), self.to_document(sandbox)?),
        )?;
        one(changed, || StoreError::Missing { kind: "sandbox", name: sandbox.name.to_string() })
    }

    /// The sandbox with the name `key`, or whose identity `key` is or begins (4 digits at least).
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] if `key` begins several identities and is nobody's name.
    pub fn sandbox(&self, key: &str) -> Result<Option<Sandbox>, StoreError> {
        self.named(&SANDBOX, key)
    }

    /// The sandbox with this identity.
    pub fn sandbox_by_id(&self, id: Id) -> Result<Option<Sandbox>, StoreError> {
        self.first("SELECT doc FROM sandbox WHERE id = ?1", [id.to_string()], document)
    }

    /// Every sandbox, by name.
    pub fn sandboxes(&self) -> Result<Vec<Sandbox>, StoreError> {
        self.all("SELECT doc FROM sandbox ORDER BY name", [], document)
    }

    /// The sandboxes that share the namespace of the sandbox `host`, by name.
    pub fn sandboxes_in(&self, host: &Name) -> Result<Vec<Sandbox>, StoreError> {
        self.all("SELECT doc FROM sandbox WHERE joined = ?1 ORDER BY name", [host.as_str()], document)
    }

    /// Removes a sandbox, if it is there. Its endpoints are the caller's.
    pub fn delete_sandbox(&self, id: Id) -> Result<(), StoreError> {
        self.change("DELETE FROM sandbox WHERE id = ?1", [id.to_string()]).map(drop)
    }
}

/// Whether a statement met its one row, else `error`.
pub(crate) fn one(rows: usize, error: impl FnOnce() -> StoreError) -> Result<(), StoreError> {
    if rows == 0 { Err(error()) } else { Ok(()) }
}

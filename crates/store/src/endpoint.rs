//! Endpoints, with the leases they hold and the ports published through them.

use linkspan_model::{Endpoint, Id, Lease};

use crate::named::one;
use crate::tx::document;
use crate::{StoreError, Tx};

const KIND: &str = "endpoint";

impl Tx<'_> {
    /// Adds an endpoint, takes its leases and its published ports.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its identity is in use, [`StoreError::AddressTaken`] or
    /// [`StoreError::PortTaken`] if another holds what it wants.
    pub fn insert_endpoint(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let added = self.change(
            "INSERT INTO endpoint (id, network, sandbox, doc) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            (
                endpoint.id.to_string(),
                endpoint.network.to_string(),
                endpoint.sandbox.to_string(),
                self.to_document(endpoint)?,
            ),
        )?;
        one(added, || StoreError::Exists { kind: KIND, name: endpoint.id.short() })?;
        self.enter_bridge(endpoint)?;
        for lease in leased(endpoint) {
            self.take_lease(endpoint.address_space(), lease.address, endpoint.id)?;
        }
        endpoint.published.iter().try_for_each(|published| self.publish(published, endpoint.id))
    }

    /// The endpoint with this identity.
    pub fn endpoint(&self, id: Id) -> Result<Option<Endpoint>, StoreError> {
        self.first("SELECT doc FROM endpoint WHERE id = ?1", [id.to_string()], document)
    }

    /// The endpoints of a sandbox, in the order they were added.
    pub fn endpoints_of_sandbox(&self, sandbox: Id) -> Result<Vec<Endpoint>, StoreError> {
        let sql = "SELECT doc FROM endpoint WHERE sandbox = ?1 ORDER BY seq";
        self.all(sql, [sandbox.to_string()], document)
    }

    /// The endpoints of a network, in the order they were added.
    pub fn endpoints_of_network(&self, network: Id) -> Result<Vec<Endpoint>, StoreError> {
        let sql = "SELECT doc FROM endpoint WHERE network = ?1 ORDER BY seq";
        self.all(sql, [network.to_string()], document)
    }

    /// Every endpoint, in the order they were added.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        self.all("SELECT doc FROM endpoint ORDER BY seq", [], document)
    }

    /// How many endpoints a network has; takes time in proportion to them.
    pub fn endpoint_count(&self, network: Id) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM endpoint WHERE network = ?1";
        self.first(sql, [network.to_string()], |row| row.get(0)).map(Option::unwrap_or_default)
    }

    /// Whether a network has any endpoint.
    pub fn network_in_use(&self, network: Id) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM endpoint WHERE network = ?1 LIMIT 1";
        self.first(sql, [network.to_string()], |_| Ok(())).map(|found| found.is_some())
    }

    /// Replaces what is stored of an endpoint; leases and published ports follow. Network, bridge and sandbox
    /// stay.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if it is not there, [`StoreError::AddressTaken`] or [`StoreError::PortTaken`] if
    /// another holds what it wants now.
    pub fn update_endpoint(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { kind: KIND, name: endpoint.id.short() };
        let before = self.endpoint(endpoint.id)?.ok_or_else(missing)?;
        self.change(
            "UPDATE endpoint SET doc = ?2 WHERE id = ?1",
            (endpoint.id.to_string(), self.to_document(endpoint)?),
        )?;
        for lease in missing_from(leased(endpoint), leased(&before)) {
            self.release_lease(before.address_space(), lease.address, endpoint.id)?;
        }
        for lease in missing_from(leased(&before), leased(endpoint)) {
            self.take_lease(before.address_space(), lease.address, endpoint.id)?;
        }
        if before.published != endpoint.published {
            before.published.iter().try_for_each(|published| self.unpublish(published))?;
            endpoint.published.iter().try_for_each(|published| self.publish(published, endpoint.id))?;
        }
        Ok(())
    }

    /// Removes an endpoint, if it is there: its addresses become released, its ports free.
    pub fn delete_endpoint(&self, id: Id) -> Result<(), StoreError> {
        let sql = "DELETE FROM endpoint WHERE id = ?1 RETURNING doc";
        let Some(endpoint) = self.take::<Endpoint>(sql, [id.to_string()])? else { return Ok(()) };
        self.leave_bridge(&endpoint)?;
        self.forget_attachment(id)?;
        for lease in leased(&endpoint) {
            self.release_lease(endpoint.address_space(), lease.address, id)?;
        }
        endpoint.published.iter().try_for_each(|published| self.unpublish(published))
    }
}

/// The addresses that are of its network's pools: those of an endpoint that plugins made are somebody else's to give.
fn leased(endpoint: &Endpoint) -> &[Lease] {
    if endpoint.is_fitted() { &[] } else { &endpoint.leases }
}

/// Those of `leases` whose address is not among `others`.
fn missing_from<'a>(others: &'a [Lease], leases: &'a [Lease]) -> impl Iterator<Item = &'a Lease> {
    leases.iter().filter(|lease| others.iter().all(|other| other.address != lease.address))
}

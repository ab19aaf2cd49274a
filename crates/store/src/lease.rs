//! Addresses in use and once used, and where the untried ones of a subnet begin.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::Id;

use crate::address::Column;
use crate::tx::identity;
use crate::{StoreError, Tx};

const TAKE: &str = "INSERT INTO lease (network, address, endpoint) VALUES (?1, ?2, ?3)
    ON CONFLICT (network, address) DO UPDATE SET endpoint = excluded.endpoint, released = NULL
    WHERE lease.endpoint IS NULL";

/// The number after the highest that is in use keeps the order: whatever was released before has a lower one.
const RELEASE: &str = "UPDATE lease SET endpoint = NULL, released = 1 + coalesce((
        SELECT released FROM lease INDEXED BY lease_released
        WHERE network = ?1 AND length(address) = length(?2) AND released IS NOT NULL
        ORDER BY released DESC LIMIT 1), 0)
    WHERE network = ?1 AND address = ?2 AND endpoint = ?3";

const TAKEN: &str = "INSERT INTO lease (network, address, released) VALUES (?1, ?2, 1 + coalesce((
        SELECT released FROM lease INDEXED BY lease_released
        WHERE network = ?1 AND length(address) = length(?2) AND released IS NOT NULL
        ORDER BY released DESC LIMIT 1), 0))
    ON CONFLICT (network, address) DO UPDATE SET released = excluded.released WHERE lease.endpoint IS NULL";

/// In the order of release up to the first in the span, which is the very first unless the span is a small part.
const OLDEST: &str = "SELECT address FROM lease INDEXED BY lease_released
    WHERE network = ?1 AND length(address) = length(?2) AND released IS NOT NULL AND address BETWEEN ?2 AND ?3
    ORDER BY released LIMIT 1";

impl Tx<'_> {
    pub(crate) fn take_lease(&self, network: Id, address: IpAddr, endpoint: Id) -> Result<(), StoreError> {
        let taken = self.change(TAKE, (network.to_string(), Column(address), endpoint.to_string()))?;
        let holder = if taken == 0 { self.lease_holder(network, address)? } else { None };
        holder.map_or(Ok(()), |holder| Err(StoreError::AddressTaken { address, holder }))
    }

    pub(crate) fn release_lease(&self, network: Id, address: IpAddr, endpoint: Id) -> Result<(), StoreError> {
        self.change(RELEASE, (network.to_string(), Column(address), endpoint.to_string())).map(drop)
    }

    /// Notes that somebody whom we do not know has `address` on `network`: as if it had been given back just now, it is the
    /// last to be chosen.
    pub fn note_taken(&self, network: Id, address: IpAddr) -> Result<(), StoreError> {
        self.change(TAKEN, (network.to_string(), Column(address))).map(drop)
    }

    /// The endpoint that holds `address` on `network`.
    pub fn lease_holder(&self, network: Id, address: IpAddr) -> Result<Option<Id>, StoreError> {
        let sql = "SELECT endpoint FROM lease WHERE network = ?1 AND address = ?2 AND endpoint IS NOT NULL";
        self.first(sql, (network.to_string(), Column(address)), identity)
    }

    /// Whether an endpoint holds `address` on `network` or has held it since the host booted.
    pub fn was_used(&self, network: Id, address: IpAddr) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM lease WHERE network = ?1 AND address = ?2";
        self.first(sql, (network.to_string(), Column(address)), |_| Ok(())).map(|found| found.is_some())
    }

    /// The address from which on those of `subnet` are untried, if it was ever set.
    pub fn fresh_cursor(&self, network: Id, subnet: &IpNet) -> Result<Option<IpAddr>, StoreError> {
        let sql = "SELECT address FROM fresh WHERE network = ?1 AND subnet = ?2";
        self.first(sql, (network.to_string(), subnet.to_string()), |row| Ok(row.get::<_, Column>(0)?.0))
    }

    /// Sets the address from which on those of `subnet` are untried.
    pub fn set_fresh_cursor(&self, network: Id, subnet: &IpNet, address: IpAddr) -> Result<(), StoreError> {
        let sql = "INSERT INTO fresh (network, subnet, address) VALUES (?1, ?2, ?3)
            ON CONFLICT (network, subnet) DO UPDATE SET address = excluded.address";
        self.change(sql, (network.to_string(), subnet.to_string(), Column(address))).map(drop)
    }

    /// The address released longest ago among those of `network` from `first` to `last`, which have one family.
    pub fn oldest_released(
        &self,
        network: Id,
        first: IpAddr,
        last: IpAddr,
    ) -> Result<Option<IpAddr>, StoreError> {
        let span = (network.to_string(), Column(first), Column(last));
        self.first(OLDEST, span, |row| Ok(row.get::<_, Column>(0)?.0))
    }
}

//! Published ports: who is in the way of whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linkspan_model::{Family, Id, Published};

use crate::address::Column;
use crate::tx::identity;
use crate::{StoreError, Tx};

/// Two overlap if the one begins within the other or the other within it: what begins at the only port, ...
const AT: &str = "SELECT endpoint FROM publish
    WHERE protocol = ?1 AND family = ?2 AND first = ?3 AND address BETWEEN ?5 AND ?6 LIMIT 1";
/// ... what begins within several ...
const WITHIN: &str = "SELECT endpoint FROM publish
    WHERE protocol = ?1 AND family = ?2 AND first BETWEEN ?3 AND ?4 AND address BETWEEN ?5 AND ?6 LIMIT 1";
/// ... and what begins before and reaches in, which only ranges do. They are few and apart.
const ACROSS: &str = "SELECT endpoint FROM publish INDEXED BY publish_range
    WHERE protocol = ?1 AND family = ?2 AND last > first AND first < ?3 AND last >= ?3
    AND address BETWEEN ?5 AND ?6 LIMIT 1";

impl Tx<'_> {
    /// An endpoint that publishes what conflicts with `wanted` (see [`Published::conflicts`]).
    pub fn publish_conflict(&self, wanted: &Published) -> Result<Option<Id>, StoreError> {
        let starting = if wanted.host.count() == 1 { AT } else { WITHIN };
        for (low, high) in rivals(wanted.host_ip) {
            for sql in [starting, ACROSS] {
                let params = (
                    wanted.protocol.number(),
                    family_number(wanted.host_ip),
                    wanted.host.first,
                    wanted.host.last,
                    Column(low),
                    Column(high),
                );
                if let Some(endpoint) = self.first(sql, params, identity)? {
                    return Ok(Some(endpoint));
                }
            }
        }
        Ok(None)
    }

    pub(crate) fn publish(&self, published: &Published, endpoint: Id) -> Result<(), StoreError> {
        if let Some(holder) = self.publish_conflict(published)? {
            return Err(StoreError::PortTaken { published: published.clone(), holder });
        }
        self.change(
            "INSERT INTO publish (protocol, family, first, address, last, endpoint)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                published.protocol.number(),
                family_number(published.host_ip),
                published.host.first,
                Column(published.host_ip),
                published.host.last,
                endpoint.to_string(),
            ),
        )
        .map(drop)
    }

    pub(crate) fn unpublish(&self, published: &Published) -> Result<(), StoreError> {
        self.change(
            "DELETE FROM publish WHERE protocol = ?1 AND family = ?2 AND first = ?3 AND address = ?4",
            (
                published.protocol.number(),
                family_number(published.host_ip),
                published.host.first,
                Column(published.host_ip),
            ),
        )
        .map(drop)
    }

    /// The host port from which on the next free one is looked for, if it was set since the host booted.
    pub fn port_cursor(&self) -> Result<Option<u16>, StoreError> {
        self.first("SELECT port_cursor FROM host", [], |row| row.get(0)).map(Option::flatten)
    }

    /// Sets the host port from which on the next free one is looked for.
    pub fn set_port_cursor(&self, port: u16) -> Result<(), StoreError> {
        self.change("UPDATE host SET port_cursor = ?1", [port]).map(drop)
    }
}

/// The spans of host addresses that conflict with `address`: all of its family, or itself and the wildcard.
fn rivals(address: IpAddr) -> Vec<(IpAddr, IpAddr)> {
    let (any, highest): (IpAddr, IpAddr) = match Family::of(address) {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()),
    };
    if address.is_unspecified() { vec![(any, highest)] } else { vec![(address, address), (any, any)] }
}

const fn family_number(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    }
}

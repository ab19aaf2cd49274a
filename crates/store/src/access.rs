//! The bridges of a network, and how many endpoints each has: kept, so that nobody has to count.

use linkspan_model::{Endpoint, Id};

use crate::{StoreError, Tx};

const ENTER: &str = "INSERT INTO access (network, number, endpoints) VALUES (?1, ?2, 1)
    ON CONFLICT (network, number) DO UPDATE SET endpoints = endpoints + 1";
const LEAVE: &str = "UPDATE access SET endpoints = endpoints - 1 WHERE network = ?1 AND number = ?2";
const WITH_ROOM: &str =
    "SELECT number FROM access WHERE network = ?1 AND endpoints < ?2 ORDER BY number LIMIT 1";
const LAST: &str = "SELECT number FROM access WHERE network = ?1 ORDER BY number DESC LIMIT 1";

impl Tx<'_> {
    pub(crate) fn enter_bridge(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.change(ENTER, (endpoint.network.to_string(), endpoint.access)).map(drop)
    }

    pub(crate) fn leave_bridge(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.change(LEAVE, (endpoint.network.to_string(), endpoint.access)).map(drop)
    }

    /// The number of the bridge of `network` that the next endpoint goes to: the first with fewer than `capacity`, or
    /// a new one.
    pub fn bridge_with_room(&self, network: Id, capacity: u32) -> Result<u16, StoreError> {
        let network = network.to_string();
        let with_room = self.first(WITH_ROOM, (&network, capacity), |row| row.get::<_, u16>(0))?;
        if let Some(number) = with_room {
            return Ok(number);
        }
        let last = self.first(LAST, [&network], |row| row.get::<_, u16>(0))?;
        Ok(last.map_or(0, |last| last.saturating_add(1)))
    }

    /// The access bridges that `network` ever had, each with how many endpoints it has.
    pub fn access_bridges(&self, network: Id) -> Result<Vec<(u16, u32)>, StoreError> {
        let sql = "SELECT number, endpoints FROM access WHERE network = ?1 AND number > 0 ORDER BY number";
        self.all(sql, [network.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Forgets access bridge `number` of `network`, unless an endpoint is on it.
    pub fn forget_bridge(&self, network: Id, number: u16) -> Result<(), StoreError> {
        let sql = "DELETE FROM access WHERE network = ?1 AND number = ?2 AND endpoints = 0";
        self.change(sql, (network.to_string(), number)).map(drop)
    }
}

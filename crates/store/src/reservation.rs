//! Addresses put aside in directories: rows beside the files that bear them.

use std::net::IpAddr;

use linkspan_model::{Holder, Reservation};
use rusqlite::Row;

use crate::address::Column;
use crate::{StoreError, Tx};

const RESERVE: &str =
    "INSERT INTO reservation (directory, address, container, ifname, \"foreign\") VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (directory, address) DO UPDATE SET container = excluded.container,
        ifname = excluded.ifname, former = 0, \"foreign\" = excluded.\"foreign\"";
const HELD: &str = "SELECT address, container, ifname FROM reservation
    WHERE directory = ?1 AND container = ?2 AND ifname IN (?3, '')";
const SEEN: &str = "SELECT 1 FROM reservation
    WHERE directory = ?1 AND container = ?2 AND ifname IN (?3, '') AND \"foreign\" = 1";

impl Tx<'_> {
    /// Notes that an address is put aside in `directory`, whatever was known of it before.
    pub fn reserve(&self, directory: &str, reservation: &Reservation) -> Result<(), StoreError> {
        self.note_reserved(directory, reservation, false)
    }

    /// Notes that another program was seen to have put an address aside in `directory`.
    pub fn reserved_by_another(&self, directory: &str, reservation: &Reservation) -> Result<(), StoreError> {
        self.note_reserved(directory, reservation, true)
    }

    fn note_reserved(
        &self,
        directory: &str,
        reservation: &Reservation,
        foreign: bool,
    ) -> Result<(), StoreError> {
        let Reservation { address, holder } = reservation;
        let row = (directory, Column(*address), &holder.container, &holder.ifname, foreign);
        self.change(RESERVE, row).map(drop)
    }

    /// Notes that `address` is put aside in `directory` no more.
    pub fn unreserve(&self, directory: &str, address: IpAddr) -> Result<(), StoreError> {
        let sql = "DELETE FROM reservation WHERE directory = ?1 AND address = ?2";
        self.change(sql, (directory, Column(address))).map(drop)
    }

    /// What is put aside in `directory` for `holder`.
    pub fn reserved_for(&self, directory: &str, holder: &Holder) -> Result<Vec<Reservation>, StoreError> {
        self.all(HELD, (directory, &holder.container, &holder.ifname), reservation)
    }

    /// Whether another program was seen to have put something aside in `directory` for `holder`; there may be more.
    pub fn was_served_by_another(&self, directory: &str, holder: &Holder) -> Result<bool, StoreError> {
        let seen = self.first(SEEN, (directory, &holder.container, &holder.ifname), |_| Ok(()))?;
        Ok(seen.is_some())
    }

    /// All that is put aside in `directory`.
    pub fn reserved_in(&self, directory: &str) -> Result<Vec<Reservation>, StoreError> {
        let sql = "SELECT address, container, ifname FROM reservation WHERE directory = ?1";
        self.all(sql, [directory], reservation)
    }

    /// What was put aside in `directory` before the host booted, as far as it is still there.
    pub fn formerly_reserved(&self, directory: &str) -> Result<Vec<Reservation>, StoreError> {
        let sql = "SELECT address, container, ifname FROM reservation WHERE directory = ?1 AND former = 1";
        self.all(sql, [directory], reservation)
    }

    /// The directories of which [`Self::formerly_reserved`] finds something.
    pub fn former_directories(&self) -> Result<Vec<String>, StoreError> {
        self.all("SELECT DISTINCT directory FROM reservation WHERE former = 1", [], |row| row.get(0))
    }

    /// Which address Linkspan has put aside last in `directory`, of its range set `number`.
    pub fn last_reserved(&self, directory: &str, number: u32) -> Result<Option<IpAddr>, StoreError> {
        let sql = "SELECT address FROM last_reserved WHERE directory = ?1 AND number = ?2";
        self.first(sql, (directory, number), |row| Ok(row.get::<_, Column>(0)?.0))
    }

    /// Notes which address Linkspan has put aside last in `directory`, of its range set `number`.
    pub fn set_last_reserved(&self, directory: &str, number: u32, address: IpAddr) -> Result<(), StoreError> {
        let sql = "INSERT INTO last_reserved (directory, number, address) VALUES (?1, ?2, ?3)
            ON CONFLICT (directory, number) DO UPDATE SET address = excluded.address";
        self.change(sql, (directory, number, Column(address))).map(drop)
    }
}

fn reservation(row: &Row<'_>) -> rusqlite::Result<Reservation> {
    let holder = Holder { container: row.get(1)?, ifname: row.get(2)? };
    Ok(Reservation { address: row.get::<_, Column>(0)?.0, holder })
}

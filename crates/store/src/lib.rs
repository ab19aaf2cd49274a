//! Linkspan's stored state: one SQLite database per host, and locks that die with their owner.
//!
//! Every command opens the [`Store`] once. It is made for many short-lived processes at a time: opening costs a
//! few hundred microseconds, transactions are short, and no process ever waits for a checkpoint of a long log.
//! What lives only as long as the boot (sandboxes, endpoints, leases, published ports, journal) is emptied by
//! the first opening after one; networks stay.

mod access;
mod address;
mod attachment;
mod boot;
mod endpoint;
mod error;
mod journal;
mod lease;
mod lock;
mod named;
mod object;
mod open;
mod port;
mod reservation;
mod store;
mod sysctl;
mod tx;

#[cfg(test)]
mod plans;

pub use error::StoreError;
pub use journal::JournalEntry;
pub use lock::{Lock, Mode};
pub use object::Object;
pub use store::Store;
pub use tx::Tx;

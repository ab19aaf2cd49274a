//! Addresses leased from a DHCP server for interfaces of containers, kept as long as those are there.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod ask;
mod client;
mod file;
mod frame;
mod keeper;
mod lease;
mod leases;
mod message;
mod proxy;
mod wire;

pub use ask::{Leased, NoLease, SOCKET, Wanted, setup, socket, teardown};
pub use proxy::proxy;

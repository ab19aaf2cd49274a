//! Addresses leased from a DHCP server for interfaces of containers, kept as long as those are there.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod ask;
mod client;
mod daemon;
mod file;
mod frame;
mod keeper;
mod lease;
mod leases;
mod message;
mod order;
mod podman;
mod proxy;
mod wire;

pub use ask::{Leased, NoLease, SOCKET, Wanted, setup, socket, teardown};
pub use daemon::daemon;
pub use order::{Allocated, Applicant, Attached, DAEMON_SOCKET, Order, order};
pub use proxy::proxy;

//! Addresses leased from a DHCP server for interfaces of containers, kept as long as those are there.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

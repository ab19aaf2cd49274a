//! The DNS server of Podman's networks: its files, its process, its command line.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

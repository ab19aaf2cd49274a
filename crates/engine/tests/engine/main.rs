//! The engine over a kernel in memory and a store in a directory: it dies everywhere, meets leftovers and rivals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod answers;
mod attached;
mod attachments;
mod crash;
mod flat;
mod foreign;
mod ground;
mod machine;
mod names;
mod ovs;
mod parents;
mod patched;
mod ports;
mod races;
mod reload;
mod repair;
mod reservations;
mod site;
mod stale;
mod taps;

//! The program killed, raced, sabotaged and starved: whatever happens to it, the host comes out whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cni;
mod crowd;
mod disk;
mod dns;
mod fuzz;
mod growth;
mod host;
mod kills;
mod reuse;
mod sabotage;
mod signals;
mod snapshot;

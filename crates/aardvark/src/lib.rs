//! The DNS server of Podman's networks: its files, its process, its command line.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod directory;
mod entry;
mod error;
pub mod file;
mod process;

pub use entry::{Entry, enter, leave, update};
pub use error::Error;
pub use process::Start;

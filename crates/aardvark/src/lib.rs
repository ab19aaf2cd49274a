//! The DNS server of Podman's networks: its files, its process, its command line.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod args;
mod command;
mod directory;
mod entry;
mod error;
mod file;
mod log;
mod names;
mod process;
mod serve;

pub use command::{NAME, main, run};
pub use entry::{Entry, enter, leave, update};
pub use error::Error;
pub use process::Start;

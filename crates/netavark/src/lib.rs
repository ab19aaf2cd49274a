//! The frontend for Podman: networks set up and torn down as its backend is asked to.
//!
//! A process per command: flags and a command as arguments, JSON on standard input, JSON on standard output.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod args;
mod entry;
mod error;
mod input;
mod status;

pub use args::{Args, Command, Global};
pub use entry::{main, run};
pub use error::Error;
pub use input::{
    CreateOptions, CreateRequest, LeaseRange, Network, NetworkOptions, PerNetwork, PluginRequest,
    PortMapping, Route, Subnet, SubnetPool, Used,
};
pub use status::{Address, Interface, Status};

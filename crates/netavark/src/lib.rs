//! The frontend for Podman: networks set up and torn down as its backend is asked to.
//!
//! A process per command: flags and a command as arguments, JSON on standard input, JSON on standard output.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod addresses;
mod args;
mod drivers;
mod entry;
mod error;
mod host;
mod input;
mod setup;
mod status;
mod teardown;

pub use addresses::{Addresses, StaticRoute, Way};
pub use args::{Args, Command, Global};
pub use drivers::{Driver, Job, Made, OWNER, Plan};
pub use entry::{main, run};
pub use error::Error;
pub use host::Host;
pub use input::{
    CreateOptions, CreateRequest, LeaseRange, Network, NetworkOptions, PerNetwork, PluginRequest,
    PortMapping, Route, Subnet, SubnetPool, Used,
};
pub use status::{Address, Interface, Status};

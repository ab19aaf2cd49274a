//! The frontend for Podman: networks set up and torn down as its backend is asked to.
//!
//! A process per command: flags and a command as arguments, JSON on standard input, JSON on standard output.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod addresses;
mod args;
mod create;
mod drivers;
mod entry;
mod error;
mod firewall;
mod host;
mod input;
mod leases;
mod options;
mod plugin;
mod ports;
mod reload;
mod setup;
mod status;
mod teardown;
mod update;
mod version;

pub use addresses::{Addresses, StaticRoute, Way};
pub use args::{Args, Command, Global};
pub use create::{Facts, create};
pub use drivers::{Driver, Job, Made, OWNER, Plan};
pub use entry::{NAMES, main, run};
pub use error::Error;
pub use firewall::{Firewall, Segment};
pub use host::Host;
pub use input::{
    CreateOptions, CreateRequest, LeaseRange, Network, NetworkOptions, PerNetwork, PluginRequest,
    PortMapping, Route, Subnet, SubnetPool, Used,
};
pub use options::{BridgeMode, BridgeOptions, DeviceOptions, host_interface_name};
pub use status::{Address, Interface, Status};

//! Linkspan as the plugin that container runtimes call.

mod bandwidth;
mod bridge;
mod calling;
mod chain;
mod devices;
mod dhcp;
mod firewall;
mod ipam;
mod loopback;
mod migrate;
mod mixed;
mod names;
mod protocol;
mod ptp;
mod routing;
mod runtimes;
mod tuning;

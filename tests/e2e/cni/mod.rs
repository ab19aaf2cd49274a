//! Linkspan as the plugin that container runtimes call.

mod calling;
mod chain;
mod devices;
mod ipam;
mod loopback;
mod protocol;
mod routing;
mod tuning;

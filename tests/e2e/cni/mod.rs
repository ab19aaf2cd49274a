//! Linkspan as the plugin that container runtimes call.

mod calling;
mod chain;
mod ipam;
mod loopback;
mod protocol;
mod tuning;

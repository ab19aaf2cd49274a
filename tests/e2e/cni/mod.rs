//! Linkspan as the plugin that container runtimes call.

mod calling;
mod chain;
mod loopback;
mod protocol;

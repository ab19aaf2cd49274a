//! Linkspan as the plugin that container runtimes call.

mod chain;

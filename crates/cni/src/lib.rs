//! The CNI frontend: one program under the names of many plugins.
//!
//! A plugin is a process per operation: parameters in the environment, the configuration on standard input, a result or
//! an error on standard output (the CNI specification, versions 0.1.0 to 1.1.0).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod args;
mod behind;
mod call;
mod entry;
mod error;
mod host;
pub mod ipam;
mod json;
mod migrate;
mod part;
mod plugins;
mod ports;
mod print;
mod result;
mod run;
mod version;

pub use args::{Args, Pairs};
pub use call::{Attachment, Call, Environment, Verb};
pub use entry::main;
pub use error::{CniError, Code};
pub use host::{Found, Host};
pub use json::{Json, Object, Whole};
pub use migrate::{CACHE, Fate, Migrated, migrate};
pub use plugins::{ALL, find};
pub use result::{CniResult, Dns, Interface, Ip, Route};
pub use run::{Answer, answer};
pub use version::Version;

/// What one name does.
pub trait Plugin: Sync {
    /// The name that runtimes call it by: `type` in a configuration.
    fn name(&self) -> &'static str;

    /// The versions that it supports, the oldest first.
    fn versions(&self) -> &'static [Version] {
        Version::ALL
    }

    /// Attaches the container, and gives the result of the whole chain up to here.
    ///
    /// # Errors
    /// Nothing of it is left then.
    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError>;

    /// Detaches it. What is gone already is no error.
    ///
    /// # Errors
    /// If something is left that the runtime should try again to remove.
    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError>;

    /// Compares what is there with what ADD made, and changes nothing.
    ///
    /// # Errors
    /// Naming what differs.
    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError>;

    /// Frees what belongs to none of [`Call::valid_attachments`].
    ///
    /// # Errors
    /// After everything was tried.
    fn gc(&self, _call: &Call, _host: &mut Host) -> Result<(), CniError> {
        Ok(())
    }

    /// Tells whether ADD would work.
    ///
    /// # Errors
    /// Codes 50 and 51.
    fn status(&self, _call: &Call, _host: &mut Host) -> Result<(), CniError> {
        Ok(())
    }
}

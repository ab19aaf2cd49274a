//! Errors as runtimes read them.

use std::fmt;

use linkspan_engine::Error;
use linkspan_model::Invalid;
use linkspan_plan::KernelError;
use serde::Serialize;

use crate::Version;

/// The codes that the specification and its reference library give a meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The version of the configuration is not supported, or does not have this verb.
    pub const VERSION: Self = Self(1);
    /// A key of the configuration is not supported; the message names the key and its value.
    pub const FIELD: Self = Self(2);
    /// The container is not known or gone; the runtime need not clean up.
    pub const CONTAINER: Self = Self(3);
    /// An environment variable is missing or wrong.
    pub const ENVIRONMENT: Self = Self(4);
    /// Input or output failed.
    pub const IO: Self = Self(5);
    /// Something could not be decoded.
    pub const DECODING: Self = Self(6);
    /// The configuration makes no sense.
    pub const CONFIG: Self = Self(7);
    /// The network namespace cannot be used.
    pub const NETNS: Self = Self(8);
    /// It may work later.
    pub const LATER: Self = Self(11);
    /// STATUS: no ADD can be served.
    pub const UNAVAILABLE: Self = Self(50);
    /// STATUS: no ADD can be served, and containers that are there may have lost what they had.
    pub const LIMITED: Self = Self(51);
    /// Everything else.
    pub const OTHER: Self = Self(999);
}

/// Why a verb was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CniError {
    /// What kind of failure.
    pub code: Code,
    /// What failed, in one line.
    pub msg: String,
    /// Why, and what to do; empty if there is no more to say.
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// An error that has no code of its own.
    pub fn other(msg: impl Into<String>) -> Self {
        Self::new(Code::OTHER, msg)
    }

    /// An error in the configuration.
    pub fn config(msg: impl Into<String>) -> Self {
        Self::new(Code::CONFIG, msg)
    }

    /// Adds a reason, or what to do.
    #[must_use]
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        let separator = if self.details.is_empty() { "" } else { "; " };
        self.details += &format!("{separator}{reason}");
        self
    }

    /// As it goes to the runtime.
    pub fn print(&self, version: Version) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Printed<'a> {
            cni_version: &'a str,
            code: Code,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        let printed = Printed {
            cni_version: version.as_str(),
            code: self.code,
            msg: &self.msg,
            details: &self.details,
        };
        crate::print::pretty(&printed)
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details) }
    }
}

impl std::error::Error for CniError {}

impl From<Error> for CniError {
    fn from(error: Error) -> Self {
        let code = if error.is_passing() { Code::LATER } else { Code::OTHER };
        let new = error.causes().into_iter().fold(Self::new(code, error.to_string()), Self::because);
        error.hint().into_iter().fold(new, Self::because)
    }
}

impl From<KernelError> for CniError {
    fn from(error: KernelError) -> Self {
        Error::from(error).into()
    }
}

impl From<Invalid> for CniError {
    fn from(invalid: Invalid) -> Self {
        let new = Self::config(invalid.what);
        invalid.cause.into_iter().chain(invalid.hint).fold(new, Self::because)
    }
}

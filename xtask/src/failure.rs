//! How a command fails: what, why, what to do.

use std::error::Error;
use std::fmt;

/// The result of anything here.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command stopped.
#[derive(Debug)]
pub struct Failure {
    what: String,
    cause: Option<String>,
    hint: Option<String>,
    status: u8,
}

impl Failure {
    /// Something did not work.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None, hint: None, status: 1 }
    }

    /// The command was called wrongly.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { status: 2, ..Self::new(what) }.hint("see `cargo xtask help`")
    }

    /// Adds what was behind it.
    pub fn cause(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// Says where it happened.
    pub fn context(self, place: &str) -> Self {
        Self { what: format!("{place}: {}", self.what), ..self }
    }

    /// Adds what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The exit status to end with.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {}", cause.trim_end().replace('\n', "\ncause: "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// Says what was being done when an error came.
pub trait Doing<T> {
    /// Turns the error into the cause of `what`.
    fn doing(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| Failure::new(what).cause(error))
    }
}

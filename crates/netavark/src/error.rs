//! What Podman is told when something does not work.

use std::{fmt, io};

use serde::Serialize;

/// An error in words. Podman takes nothing else, and reads the words of some.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(String);

impl Error {
    /// An error that says `what`.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// That the system refused `what`.
    pub fn io(what: &str, cause: &io::Error) -> Self {
        Self(format!("{what}: IO error: {cause}"))
    }

    /// Several of one command, each on a line of its own; a single one is as it was.
    pub fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => {
                let lines = errors.iter().map(|error| format!("\n\t- {error}")).collect::<String>();
                Err(Self(format!("netavark encountered multiple errors:{lines}")))
            }
        }
    }

    /// The JSON on standard output: an object with the one key `error`.
    pub fn print(&self) -> String {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a str,
        }
        serde_json::to_string(&Told { error: &self.0 }).unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<linkspan_engine::Error> for Error {
    fn from(error: linkspan_engine::Error) -> Self {
        let causes = error.causes();
        Self(causes.into_iter().fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }
}

impl From<linkspan_plan::KernelError> for Error {
    fn from(error: linkspan_plan::KernelError) -> Self {
        linkspan_engine::Error::from(error).into()
    }
}

impl From<linkspan_model::Invalid> for Error {
    fn from(invalid: linkspan_model::Invalid) -> Self {
        Self(invalid.cause.into_iter().fold(invalid.what, |text, cause| format!("{text}: {cause}")))
    }
}

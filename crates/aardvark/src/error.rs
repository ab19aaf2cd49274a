//! What went wrong, in one line.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;

/// An error as people read it: what failed, then its causes behind colons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(String);

impl Error {
    /// One without a cause.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// That `what` failed, since `cause` did.
    pub fn because(what: impl Display, cause: impl Display) -> Self {
        Self(format!("{what}: {cause}"))
    }

    /// That a file could not be treated as `verb` says.
    pub(crate) fn file<'a>(verb: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |error| Self::because(format_args!("cannot {verb} {}", path.display()), error)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Error {}

//! The command line, as netavark writes it.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use crate::Error;

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Serve the names of a directory's files.
    Run(Run),
    /// Say what this is, in detail.
    Version,
    /// Say what this is, in one line.
    ShortVersion,
    /// Say how it is used.
    Help,
}

/// How to serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The directory.
    pub config: PathBuf,
    /// The port to listen on.
    pub port: u16,
    /// What may follow every name.
    pub domain: String,
}

impl Command {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    /// Naming the flag or command that is missing or unknown.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let mut words = lexopt::Parser::from_args(args);
        let mut config = None;
        let (mut port, mut domain) = (5533, ".dns.podman".to_owned());
        let mut command = None;
        while let Some(word) = words.next()? {
            match word {
                Short('c') | Long("config") => config = Some(PathBuf::from(words.value()?)),
                Short('p') | Long("port") => port = words.value()?.parse()?,
                Short('f') | Long("filter-search-domain") => domain = words.value()?.string()?,
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::ShortVersion),
                Value(name) if command.is_none() => command = Some(name.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        match command.as_deref() {
            Some("run") => {
                let config =
                    config.ok_or_else(|| Error::new("required arguments were not provided: --config"))?;
                Ok(Self::Run(Run { config, port, domain }))
            }
            Some("version") => Ok(Self::Version),
            Some("help") => Ok(Self::Help),
            Some(other) => Err(Error::new(format!("unrecognized subcommand '{other}'"))),
            None => Err(Error::new("required arguments were not provided: <COMMAND>")),
        }
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Error> {
        Command::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn netavarks_line_is_understood() {
        let run = |port, domain: &str| {
            Command::Run(Run { config: "/run/x".into(), port, domain: domain.to_owned() })
        };
        assert_eq!(parse("--config /run/x -p 53 run").unwrap(), run(53, ".dns.podman"));
        assert_eq!(parse("-c /run/x -f .lan run").unwrap(), run(5533, ".lan"));
        assert_eq!(parse("--version").unwrap(), Command::ShortVersion);
        assert_eq!(parse("version").unwrap(), Command::Version);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["run", "-c /x", "-c /x walk", "-c /x -p 99999 run", "-c /x run more", "--what"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

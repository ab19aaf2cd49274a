//! Flags of the form `--name value` and `--name`, and a command behind `--`.

use std::str::FromStr;

use crate::failure::{Failure, Result};

/// What was given on the command line.
pub struct Flags {
    given: Vec<(String, Option<String>)>,
    /// What stands behind `--`.
    pub command: Vec<String>,
}

impl Flags {
    /// Reads flags: `valued` take a value, `bare` take none.
    pub fn parse(arguments: &[String], valued: &[&str], bare: &[&str]) -> Result<Self> {
        let mut flags = Self { given: Vec::new(), command: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument.strip_prefix("--").unwrap_or_default();
            if argument == "--" {
                flags.command = rest.cloned().collect();
                break;
            } else if bare.contains(&name) {
                flags.given.push((name.to_owned(), None));
            } else if valued.contains(&name) {
                let value = rest.next().ok_or_else(|| Failure::usage(format!("--{name} needs a value")))?;
                flags.given.push((name.to_owned(), Some(value.clone())));
            } else {
                return Err(Failure::usage(format!("unknown argument `{argument}`")));
            }
        }
        Ok(flags)
    }

    /// Whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| given == name)
    }

    /// A flag's value as given last.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| given == name).and_then(|(_, value)| value.as_deref())
    }

    /// A flag's value as a number.
    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| Failure::usage(format!("--{name} takes a number, not `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&arguments, &["count"], &["check"])
    }

    #[test]
    fn reads_flags_and_the_command() {
        let flags = parse("--count 3 --check -- ls --count").unwrap();
        assert_eq!(flags.number("count", 7).unwrap(), 3);
        assert!(flags.has("check"));
        assert_eq!(flags.command, ["ls", "--count"]);
        assert_eq!(parse("").unwrap().number("count", 7).unwrap(), 7);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parse("--other").is_err());
        assert!(parse("--count").is_err());
        assert!(parse("--count many").unwrap().number("count", 7_u32).is_err());
    }
}

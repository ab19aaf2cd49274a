//! Which plugin this process is, by the name that it was started by.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use crate::run::{Answer, answer};
use crate::{Environment, Plugin, find};

/// The plugin that has no name of its own to be started by: the program has it.
const NATIVE: &str = "linkspan";

/// Does what this process was started for, if it was started as a plugin; otherwise nothing.
pub fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let name = args.next()?;
    let environment = Environment::of_process();
    let plugin = plugin(&name, args.next().is_none() && environment.command().is_some())?;
    let answer = answer(plugin, &environment, io::stdin().lock());
    Some(match tell(&answer) {
        Ok(()) if answer.is_success => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The plugin that a process called `name` is. The native one is meant only if the process `is_called` as one: without
/// arguments, and with a verb.
fn plugin(name: &OsString, is_called: bool) -> Option<&'static dyn Plugin> {
    match Path::new(name).file_name()?.to_str() {
        Some(name) if name != NATIVE && find(name).is_some() => find(name),
        _ if is_called => find(NATIVE),
        _ => None,
    }
}

/// Prints it, the result in one piece.
fn tell(answer: &Answer) -> io::Result<()> {
    eprint!("{}", answer.err);
    if answer.out.is_empty() {
        return Ok(());
    }
    File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(answer.out.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::plugin;

    #[test]
    fn a_plugin_is_known_by_its_name_in_any_directory() {
        let named = |name: &str| plugin(&name.into(), false).map(|plugin| plugin.name());
        assert_eq!(named("loopback"), Some("loopback"));
        assert_eq!(named("/opt/cni/bin/loopback"), Some("loopback"));
        for other in ["linkspan", "/usr/bin/linkspan", "lo", "Loopback", "loopback.old", "", "/"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}

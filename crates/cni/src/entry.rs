//! Which plugin this process is, by the name that it was started by.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use crate::run::{Answer, answer};
use crate::{CniError, Environment, Plugin, Version, find};

/// The plugin that has no name of its own to be started by: the program has it.
const NATIVE: &str = "linkspan";
/// The plugin that has a daemon, and the word that starts it.
const DHCP: &str = "dhcp";
const DAEMON: &str = "daemon";

/// Does what this process was started for, if it was started as a plugin; otherwise nothing.
pub fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let name = args.next()?;
    let first = args.next();
    if called(&name) == Some(DHCP) && first.as_ref().is_some_and(|word| word == DAEMON) {
        return Some(keep_leases(args));
    }
    let environment = Environment::of_process();
    let is_called = first.is_none() && environment.command().is_some();
    let answer = match plugin(&name, is_called) {
        Some(plugin) => answer(plugin, &environment, io::stdin().lock()),
        None if is_called => unknown(&name),
        None => return None,
    };
    Some(match tell(&answer) {
        Ok(()) if answer.is_success => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What a process is called, wherever it is.
fn called(name: &OsString) -> Option<&str> {
    Path::new(name).file_name()?.to_str()
}

/// Runs the daemon of the plugin `dhcp`, whose words are `args`.
fn keep_leases(args: impl Iterator<Item = OsString>) -> ExitCode {
    match linkspan_dhcp::daemon(args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dhcp daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The plugin that a process called `name` is. The native one is meant only if the process `is_called` as one: without
/// arguments, and with a verb.
fn plugin(name: &OsString, is_called: bool) -> Option<&'static dyn Plugin> {
    match called(name)? {
        NATIVE if !is_called => None,
        name => find(name),
    }
}

/// What a link says whose name is that of no plugin here.
fn unknown(name: &OsString) -> Answer {
    let name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    let error = CniError::other(format!("linkspan is no CNI plugin called {name:?}"))
        .because("`linkspan cni install DIR` makes links under the names that it serves");
    Answer { out: error.print(Version::NEWEST), err: String::new(), is_success: false }
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
        let called = |name: &str| plugin(&name.into(), true).map(|plugin| plugin.name());
        assert_eq!(called("/opt/cni/bin/linkspan"), Some("linkspan"));
        assert_eq!((called("portmap"), called("port-map")), (Some("portmap"), None));
    }
}

//! What starts when the program is called by the server's name.

use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use linkspan_kernel::daemon;

use crate::args::Command;
use crate::{Error, serve};

/// The name that runtimes know it by.
pub const NAME: &str = "aardvark-dns";
/// The version of the reference whose contract is served, which is what others look for.
const CONTRACT: &str = "2.1.0";
const HELP: &str = "\
Usage: aardvark-dns [OPTIONS] <COMMAND>

Answers the names of Podman's containers.

Commands:
  run      serve the names in a directory, in the background
  version  say what this is, as JSON

Options:
  -c, --config DIR                   the directory, with a file for each network
  -p, --port PORT                    the port to listen on [5533]
  -f, --filter-search-domain DOMAIN  what may follow every name [.dns.podman]
  -h, --help
  -V, --version

AARDVARK_NO_PROXY in the environment: no other server is ever asked.
";

/// Does what this process was started for, if it was started under the server's name; otherwise nothing.
pub fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let called = args.next()?;
    (Path::new(&called).file_name()? == NAME).then(|| run(args))
}

/// Carries out a command line without the program's name. To be called before anything is opened.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    daemon::close_inherited();
    match Command::parse(args).and_then(answer) {
        Ok(Some(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is printed. None if it was done by another process that has told itself why it failed.
fn answer(command: Command) -> Result<Option<String>, Error> {
    Ok(match command {
        Command::Run(run) => serve::serve(run)?.then(String::new),
        Command::Version => Some(version()),
        Command::ShortVersion => Some(format!("{NAME} {CONTRACT}\n")),
        Command::Help => Some(HELP.to_owned()),
    })
}

fn version() -> String {
    let own = concat!("linkspan ", env!("CARGO_PKG_VERSION"));
    format!(
        "{{\n  \"version\": \"{CONTRACT}\",\n  \"commit\": \"{own}\",\n  \"target\": \"{ARCH}-{OS}\"\n}}\n"
    )
}

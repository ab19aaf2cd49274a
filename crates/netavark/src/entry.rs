//! What starts when the program is called by this backend's name.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::reload;
use crate::setup::setup;
use crate::teardown::teardown;
use crate::update::update;
use crate::{Args, Command, Error, create, version};

/// The name that runtimes know it by.
const NAME: &str = "netavark";

/// Does what this process was started for, if it was started under the backend's name; otherwise nothing.
pub fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let called = args.next()?;
    (Path::new(&called).file_name()? == NAME).then(|| run(args))
}

/// Carries out a command line without the program's name. Standard output has the answer in one piece, or the error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Args::parse(args).and_then(|args| answer(&args)) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            println!("{}", error.print());
            ExitCode::FAILURE
        }
    }
}

fn answer(args: &Args) -> Result<String, Error> {
    match &args.command {
        Command::ShortVersion => Ok(version::line()),
        Command::Version => version::json(),
        Command::Update { network, servers } => {
            update(&args.global, network, servers.as_deref()).map(|()| String::new())
        }
        Command::Create => create::answer(&args.global),
        Command::Setup(netns) => setup(&args.global, netns),
        Command::FirewallReload => reload::once(&args.global).map(|()| String::new()),
        Command::FirewalldReload => reload::forever(&args.global).map(|()| String::new()),
        Command::Teardown(netns) => teardown(&args.global, netns).map(|()| String::new()),
        Command::DhcpProxy(words) => linkspan_dhcp::proxy(words.iter().cloned()).map_err(Error::new),
        other => Err(Error::new(format!("{other:?} is not there yet"))),
    }
}

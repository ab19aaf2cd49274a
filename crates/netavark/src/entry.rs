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

/// All names that it has in Podman's directory of helpers: its own, and the DNS server's.
pub const NAMES: [&str; 2] = [NAME, linkspan_aardvark::NAME];

const HELP: &str = "\
Usage: netavark [OPTIONS] <COMMAND>

Gives Podman's containers their networks. What setup, teardown and create are about is JSON on standard input.

Commands:
  setup NETNS           attach a container to its networks
  teardown NETNS        detach it
  create                complete a network's definition
  update NETWORK --network-dns-servers LIST
                        change the name servers of a network
  firewall-reload       put the firewall back
  firewalld-reload      put it back whenever firewalld has reloaded
  dhcp-proxy            keep the leases of networks whose addresses come by DHCP
  version               say what this is, as JSON

Options:
  -f, --file FILE             read this instead of standard input
  -c, --config DIR            Podman's run directory for networks
  -r, --rootless BOOL         whether Podman is a user's [false]
  -a, --aardvark-binary FILE  the DNS server's program
      --firewall-driver NAME  nftables, firewalld or none; NETAVARK_FW in the environment
      --plugin-directory DIR  where drivers of third parties are; may be given again
  -h, --help
  -V, --version

NETAVARK_DNS_PORT in the environment: the port that the DNS server listens on, if not 53.
";

/// What stands behind the backend's name for people alone, who have flags of their own.
const FOR_PEOPLE: [&str; 4] = ["install", "help", "--help", "-h"];

/// Does what this process was started for, if it was started under the backend's name, or has that for its first argument;
/// otherwise nothing.
pub fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os().peekable();
    let called = args.next()?;
    if Path::new(&called).file_name()? == NAME {
        return Some(run(args));
    }
    args.next_if(|first| first == NAME)?;
    let is_for_people = args.peek().is_none_or(|next| FOR_PEOPLE.iter().any(|word| next == word));
    (!is_for_people).then(|| run(args))
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
        Command::Help => Ok(HELP.to_owned()),
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
    }
}

//! The command line, as Podman writes it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use crate::Error;

/// Flags for every command.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Global {
    /// `--file`: read instead of standard input.
    pub file: Option<PathBuf>,
    /// `--firewall-driver`, or `NETAVARK_FW`.
    pub firewall: Option<String>,
    /// `--config`: the run directory.
    pub config: Option<PathBuf>,
    /// `--rootless`.
    pub rootless: bool,
    /// `--aardvark-binary`.
    pub aardvark: Option<PathBuf>,
    /// `--plugin-directory`.
    pub plugins: Vec<PathBuf>,
}

impl Global {
    /// The run directory, without which `command` cannot be carried out.
    ///
    /// # Errors
    /// If it is not given.
    pub fn required_config(&self, command: &str) -> Result<&Path, Error> {
        let missing = || Error::new(format!("--config not specified but required for netavark {command}"));
        self.config.as_deref().ok_or_else(missing)
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Attach a container whose namespace the file stands for.
    Setup(PathBuf),
    /// Detach it.
    Teardown(PathBuf),
    /// Change a network's name servers.
    Update {
        /// The network.
        network: String,
        /// With commas; none takes them all away.
        servers: Option<String>,
    },
    /// Complete a network's definition.
    Create,
    /// What this is, for people.
    Version,
    /// What this is, in one line.
    ShortVersion,
    /// Keep leases.
    DhcpProxy(Vec<OsString>),
    /// Put the firewall back once.
    FirewallReload,
    /// Put the firewall back whenever firewalld has reloaded.
    FirewalldReload,
    /// Say how it is used.
    Help,
}

/// A whole command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// Flags for every command.
    pub global: Global,
    /// The command.
    pub command: Command,
}

impl Args {
    /// Reads what stands behind the program's name, and the environment.
    ///
    /// # Errors
    /// Naming the flag or command that is missing or unknown.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let mut words = lexopt::Parser::from_args(args);
        let firewall = std::env::var("NETAVARK_FW").ok().filter(|name| !name.is_empty());
        let mut global = Global { firewall, ..Global::default() };
        let mut command: Option<String> = None;
        let mut operand = None;
        let mut servers = None;
        while let Some(word) = words.next()? {
            match word {
                Short('f') | Long("file") => global.file = Some(words.value()?.into()),
                Long("firewall-driver") => global.firewall = Some(words.value()?.string()?),
                Short('c') | Long("config") => global.config = Some(words.value()?.into()),
                Short('r') | Long("rootless") => global.rootless = words.value()?.parse()?,
                Short('a') | Long("aardvark-binary") => global.aardvark = Some(words.value()?.into()),
                Long("plugin-directory") => global.plugins.push(words.value()?.into()),
                Long("network-dns-servers") => {
                    let before = servers.map(|before: String| before + ",").unwrap_or_default();
                    servers = Some(before + &words.value()?.string()?);
                }
                Short('h') | Long("help") => return Ok(Self { global, command: Command::Help }),
                Short('V') | Long("version") => return Ok(Self { global, command: Command::ShortVersion }),
                Value(name) if command.is_none() && name == "dhcp-proxy" => {
                    return Ok(Self { global, command: Command::DhcpProxy(words.raw_args()?.collect()) });
                }
                Value(name) if command.is_none() => command = Some(name.string()?),
                Value(value) if operand.is_none() => operand = Some(value),
                other => return Err(other.unexpected().into()),
            }
        }
        let command = Self::command(command.as_deref(), operand, servers)?;
        Ok(Self { global, command })
    }

    fn command(
        name: Option<&str>,
        operand: Option<OsString>,
        servers: Option<String>,
    ) -> Result<Command, Error> {
        let needed = |what: &str| Error::new(format!("required arguments were not provided: <{what}>"));
        let namespace = || operand.clone().map(PathBuf::from).ok_or_else(|| needed("NETWORK_NAMESPACE_PATH"));
        Ok(match name {
            Some("setup") => Command::Setup(namespace()?),
            Some("teardown") => Command::Teardown(namespace()?),
            Some("update") => {
                let network = operand.ok_or_else(|| needed("NETWORK_NAME"))?.string()?;
                Command::Update { network, servers }
            }
            Some("create") => Command::Create,
            Some("version") => Command::Version,
            Some("firewall-reload") => Command::FirewallReload,
            Some("firewalld-reload") => Command::FirewalldReload,
            Some("help") => Command::Help,
            Some(other) => return Err(Error::new(format!("unrecognized subcommand '{other}'"))),
            None => return Err(needed("COMMAND")),
        })
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

    fn parse(line: &str) -> Result<Args, Error> {
        Args::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn podmans_lines_are_understood() {
        let args = parse(
            "--config /run/x --rootless=true --aardvark-binary= --plugin-directory /a --plugin-directory /b \
             setup /run/netns/y",
        )
        .unwrap();
        assert_eq!(args.command, Command::Setup("/run/netns/y".into()));
        assert!(args.global.rootless);
        assert_eq!(args.global.aardvark, Some(PathBuf::new()));
        assert_eq!(args.global.plugins, [PathBuf::from("/a"), PathBuf::from("/b")]);
        let update = parse("--config /x update net1 --network-dns-servers 1.1.1.1,8.8.8.8").unwrap();
        let servers = Some("1.1.1.1,8.8.8.8".to_owned());
        assert_eq!(update.command, Command::Update { network: "net1".to_owned(), servers });
        assert_eq!(parse("--version").unwrap().command, Command::ShortVersion);
        let proxy = Command::DhcpProxy(vec!["--uds".into(), "/x".into()]);
        assert_eq!(parse("dhcp-proxy --uds /x").unwrap().command, proxy);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |line: &str| parse(line).unwrap_err().to_string();
        assert!(message("setup").contains("NETWORK_NAMESPACE_PATH"));
        assert!(message("nftables-reload").contains("nftables-reload"));
        assert!(message("--what").contains("--what"));
        assert!(message("--rootless=perhaps setup /x").contains("perhaps"));
        assert!(message("setup /x /y").contains("/y"));
    }
}

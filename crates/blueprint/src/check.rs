//! What must hold, as a file says it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use linkspan_model::{Name, nearest};

use crate::file::{CheckTable, Command};
use crate::text::Text;

/// How long what must hold may fail at first: programs take a while to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer that must not come is waited for.
const SILENCE: Duration = Duration::from_secs(1);
const HOST: &str = "host";
const HTTP: u16 = 80;

/// Where something is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The host itself.
    Host,
    /// A sandbox of the lab.
    Sandbox(Name),
    /// An address.
    Address(IpAddr),
}

/// What is tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// An echo request.
    Ping(Place),
    /// A connection.
    Tcp(Place, u16),
    /// A page.
    Http(Place, u16, String),
    /// A command.
    Run(Command),
}

/// Something that must hold.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where it is tried from: the host, or a sandbox.
    pub from: Place,
    /// What is tried.
    pub attempt: Attempt,
    /// Whether it must fail.
    pub fails: bool,
    /// What the answer must contain.
    pub contains: Option<String>,
    /// For how long it may be tried.
    pub within: Duration,
}

impl Check {
    /// Reads a check, which may name the `known` sandboxes.
    pub fn read(table: CheckTable, known: &BTreeSet<Name>) -> Result<Self, String> {
        let place = |text: &str| place(text, known);
        let attempt = match (table.ping, table.tcp, table.http, table.run) {
            (Some(target), None, None, None) => Attempt::Ping(place(&target)?),
            (None, Some(target), None, None) => {
                let (target, port) = split(&target)?;
                let port = port.ok_or_else(|| format!("'{target}' needs a port, as in {target}:80"))?;
                Attempt::Tcp(place(target)?, port)
            }
            (None, None, Some(target), None) => {
                let (target, path) = target.split_at(target.find('/').unwrap_or(target.len()));
                let (target, port) = split(target)?;
                let path = if path.is_empty() { "/" } else { path };
                Attempt::Http(place(target)?, port.unwrap_or(HTTP), path.to_owned())
            }
            (None, None, None, Some(command)) => Attempt::Run(command),
            _ => return Err("a check is one of ping, tcp, http and run".to_owned()),
        };
        if table.contains.is_some() && matches!(attempt, Attempt::Ping(_) | Attempt::Tcp(..)) {
            return Err("contains is for http and run: nothing else has an answer to look into".to_owned());
        }
        let usual = if table.fails { SILENCE } else { PATIENCE };
        Ok(Self {
            from: table.from.map_or(Ok(Place::Host), |Text(name)| place(name.as_str()))?,
            attempt,
            fails: table.fails,
            contains: table.contains,
            within: table.within.map_or(usual, |seconds| Duration::from_secs(seconds.clamp(1, 600).into())),
        })
    }
}

fn place(text: &str, known: &BTreeSet<Name>) -> Result<Place, String> {
    if text == HOST {
        return Ok(Place::Host);
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Ok(Place::Address(address));
    }
    let found = known.iter().find(|name| name.as_str() == text);
    found.map(|name| Place::Sandbox(name.clone())).ok_or_else(|| {
        let like = nearest(text, known.iter().map(Name::as_str));
        let like = like.map(|like| format!(": did you mean {like}?")).unwrap_or_default();
        format!("there is no sandbox '{text}' in this file{like}")
    })
}

/// Splits a port off. The colons of an IPv6 address are in brackets.
fn split(text: &str) -> Result<(&str, Option<u16>), String> {
    let bracket = text.rfind(']').map_or(0, |at| at + 1);
    match text[bracket..].rfind(':') {
        None => Ok((text, None)),
        Some(colon) => {
            let (target, port) = (&text[..bracket + colon], &text[bracket + colon + 1..]);
            let port = port.parse().map_err(|_| format!("'{port}' is no port"))?;
            Ok((target, Some(port)))
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad(HOST),
            Self::Sandbox(name) => f.pad(name.as_str()),
            Self::Address(IpAddr::V6(address)) => f.pad(&format!("[{address}]")),
            Self::Address(address) => f.pad(&address.to_string()),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping(place) => write!(f, "ping {place}"),
            Self::Tcp(place, port) => write!(f, "tcp {place}:{port}"),
            Self::Http(place, port, path) => write!(f, "http {place}:{port}{path}"),
            Self::Run(command) => write!(f, "run {command}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<String, String> {
        let known = ["web", "pc1"].map(|name| name.parse().unwrap()).into();
        let check = Check::read(toml::from_str(table).unwrap(), &known)?;
        Ok(format!("{} from {}", check.attempt, check.from))
    }

    #[test]
    fn reads_what_is_tried_and_from_where() {
        assert_eq!(read("from = 'pc1'\nping = 'web'").unwrap(), "ping web from pc1");
        assert_eq!(read("tcp = '[fd00::5]:80'").unwrap(), "tcp [fd00::5]:80 from host");
        assert_eq!(read("ping = 'fd00::5'").unwrap(), "ping [fd00::5] from host");
        assert_eq!(read("http = 'host:8080/a:b'").unwrap(), "http host:8080/a:b from host");
        assert_eq!(read("http = 'web'").unwrap(), "http web:80/ from host");
        assert_eq!(read("from = 'web'\nrun = ['true']").unwrap(), "run true from web");
    }

    #[test]
    fn refuses_what_cannot_be_tried() {
        assert_eq!(
            read("ping = 'wbe'").unwrap_err(),
            "there is no sandbox 'wbe' in this file: did you mean web?"
        );
        for bad in [
            "",
            "ping = 'web'\ntcp = 'web:80'",
            "tcp = 'web'",
            "tcp = 'web:x'",
            "ping = 'web'\ncontains = 'x'",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

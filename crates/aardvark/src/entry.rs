//! What a container's set-up and its end mean for the DNS server.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::Error;
use crate::directory::Directory;
use crate::file::{Head, Member};
use crate::process::{self, Start};

/// A container on a network.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The network's name.
    pub network: String,
    /// Whether the network leads nowhere else.
    pub internal: bool,
    /// Where the server is asked from this network: the addresses of its gateways.
    pub listen: Vec<IpAddr>,
    /// The network's name servers.
    pub servers: Vec<IpAddr>,
    /// The container's identity.
    pub container: String,
    /// Its addresses on this network.
    pub addresses: Vec<IpAddr>,
    /// Its names on this network, its own before its aliases.
    pub names: Vec<String>,
    /// Its own name servers.
    pub dns: Vec<IpAddr>,
}

/// Has the server know a container by its names, all of its networks at once; starts it if it does not run.
///
/// `directory` is made if it is missing. When this returns, the names are answered, if the server is Linkspan's own;
/// another one has been told to look. Gives what the user should be told, such as names that were left out.
/// A network without an address to be asked at is left out, as is a container without an identity.
///
/// # Errors
/// If a name server would be the server itself; if the server cannot be started, in which case `directory` is as it
/// was; if a file cannot be written.
pub fn enter(directory: &Path, entries: &[Entry], start: &Start<'_>) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    refuse_loops(entries)?;
    let members: Vec<(&Entry, Member)> = entries
        .iter()
        .filter(|entry| !entry.listen.is_empty())
        .filter_map(|entry| Some((entry, member(entry, &mut warnings)?)))
        .collect();
    if members.is_empty() {
        return Ok(warnings);
    }
    let place = Directory(directory);
    place.make()?;
    let networks: Vec<&str> = members.iter().map(|(entry, _)| entry.network.as_str()).collect();
    let turn = place.turn()?;
    let written = members.iter().try_for_each(|(entry, member)| {
        let head = Head { listen: entry.listen.clone(), servers: entry.servers.clone() };
        place.enter(&entry.network, entry.internal, &head, member)
    });
    match written.and_then(|()| process::tell_or_start(place, turn, &networks, start)) {
        Ok(warning) => {
            warnings.extend(warning);
            Ok(warnings)
        }
        Err(error) => {
            for (entry, member) in &members {
                _ = remove(place, &member.id, &[&entry.network]);
            }
            Err(error)
        }
    }
}

/// Has the server forget a container on `networks`. What is not there is no error.
///
/// # Errors
/// If a file cannot be written.
pub fn leave(directory: &Path, container: &str, networks: &[&str]) -> Result<(), Error> {
    let place = Directory(directory);
    if !directory.is_dir() {
        return Ok(());
    }
    // Told in any case: whoever took it out before may have died before telling.
    let removed = remove(place, container, networks);
    process::tell(place, networks)?;
    removed
}

/// Gives a network other name servers, none for those of the host. Nothing is to be done for a network that nobody is on.
///
/// # Errors
/// If a file cannot be written, or a name server would be the server itself.
pub fn update(directory: &Path, network: &str, servers: &[IpAddr]) -> Result<(), Error> {
    let place = Directory(directory);
    if !directory.is_dir() {
        return Ok(());
    }
    let turn = place.turn()?;
    let changed = place.update(network, servers)?;
    drop(turn);
    if changed {
        process::tell(place, &[network])?;
    }
    Ok(())
}

fn remove(place: Directory<'_>, container: &str, networks: &[&str]) -> Result<(), Error> {
    let _turn = place.turn()?;
    let mut failed = None;
    for network in networks {
        failed = place.leave(network, container).err().or(failed);
    }
    failed.map_or(Ok(()), Err)
}

fn member(entry: &Entry, warnings: &mut Vec<String>) -> Option<Member> {
    if let Some(reason) = unfit(&entry.container) {
        warnings.push(format!("invalid container id {:?}: {reason}", entry.container));
        return None;
    }
    let mut names = Vec::with_capacity(entry.names.len());
    for name in &entry.names {
        match unfit(name) {
            Some(reason) => warnings.push(format!("invalid network alias {name:?}: {reason}, it is ignored")),
            None => names.push(name.clone()),
        }
    }
    let addresses = entry.addresses.clone();
    Some(Member { id: entry.container.clone(), addresses, names, servers: entry.dns.clone() })
}

/// Why a word cannot stand in a line.
fn unfit(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        return Some("it is empty");
    }
    word.contains([',', ' ', '\n']).then_some("a comma, a space or a new line is in it")
}

/// A server that asks itself would never have an answer.
fn refuse_loops(entries: &[Entry]) -> Result<(), Error> {
    let owners: BTreeMap<IpAddr, &str> =
        entries.iter().rev().flat_map(|entry| entry.listen.iter().map(|ip| (*ip, &*entry.network))).collect();
    let own = |what: &str, servers: &[IpAddr]| {
        let found = servers.iter().find_map(|server| Some((server, owners.get(server)?)));
        found.map_or(Ok(()), |(server, owner)| Err(own_server(what, server, owner)))
    };
    entries.iter().try_for_each(|entry| {
        own("DNS server", &entry.dns)?;
        own("network DNS server", &entry.servers)
    })
}

/// That a name server is the server's own address, in words that callers look for.
pub fn own_server(what: &str, server: &IpAddr, network: &str) -> Error {
    Error::because(
        format_args!("{what} {server} is the gateway of network {network:?}"),
        "this would cause aardvark-dns to forward queries to itself",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entry(network: &str, gateway: &str) -> Entry {
        Entry {
            network: network.to_owned(),
            listen: vec![ip(gateway)],
            container: "abc".to_owned(),
            addresses: vec![ip("10.89.0.2")],
            names: vec!["web".to_owned()],
            ..Entry::default()
        }
    }

    #[test]
    fn a_gateway_is_nobodys_name_server() {
        let with_dns = Entry { dns: vec![ip("10.89.1.1")], ..entry("a", "10.89.0.1") };
        let error = refuse_loops(&[with_dns.clone(), entry("b", "10.89.1.1")]).unwrap_err().to_string();
        assert!(error.starts_with("DNS server 10.89.1.1 is the gateway of network \"b\""), "{error}");
        refuse_loops(&[with_dns]).unwrap();
        let with_servers = Entry { servers: vec![ip("10.89.0.1")], ..entry("a", "10.89.0.1") };
        assert!(refuse_loops(&[with_servers]).is_err());
    }

    #[test]
    fn words_that_would_tear_a_line_are_left_out() {
        let names = ["web", "", "space 1", "comma,1", "new\nline", "ok"].map(str::to_owned).to_vec();
        let mut warnings = Vec::new();
        let member = member(&Entry { names, ..entry("a", "10.89.0.1") }, &mut warnings).unwrap();
        assert_eq!(member.names, ["web", "ok"]);
        assert_eq!(warnings.len(), 4);
        assert!(warnings[3].starts_with("invalid network alias \"new\\nline\""), "{}", warnings[3]);
    }
}

//! The lines of a network's file.
//!
//! The first says where to listen and, behind a space, which name servers the network has: `10.89.0.1,fd00::1 9.9.9.9`.
//! Each further one is a container: `ID V4 V6 NAMES` and, if it has name servers of its own, a space and those. Lists
//! are joined by commas, and one without members is nothing, so that two spaces meet.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use crate::Error;

/// What the first line says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Head {
    /// Addresses to be asked at, those of the gateways.
    pub listen: Vec<IpAddr>,
    /// Where the network's containers have other names looked up.
    pub servers: Vec<IpAddr>,
}

/// A container on the network.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its identity.
    pub id: String,
    /// Its addresses on this network, those of IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its names on this network.
    pub names: Vec<String>,
    /// Where it has other names looked up, before the network's servers.
    pub servers: Vec<IpAddr>,
}

impl Head {
    /// Reads a first line.
    ///
    /// # Errors
    /// If there is no address to listen at, or an address cannot be read.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let mut words = line.split(' ');
        let listen = addresses(words.next().unwrap_or_default())?;
        if listen.is_empty() {
            return Err(Error::new("no address to listen at"));
        }
        Ok(Self { listen, servers: addresses(words.next().unwrap_or_default())? })
    }
}

impl Member {
    /// Reads a line behind the first.
    ///
    /// # Errors
    /// If it has too few words, or an address cannot be read.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let (Some(id), Some(v4), Some(v6), Some(names)) = (word(), word(), word(), word()) else {
            return Err(Error::new(format!("line {line:?} has less than four words")));
        };
        let mut all = addresses(v4)?;
        all.extend(addresses(v6)?);
        let servers = addresses(word().unwrap_or_default())?;
        Ok(Self {
            id: id.to_owned(),
            addresses: all,
            names: list(names).map(str::to_owned).collect(),
            servers,
        })
    }
}

/// The identity that a container's line begins with.
pub fn id(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').next().unwrap_or_default()
}

fn list(word: &str) -> impl Iterator<Item = &str> {
    word.split(',').filter(|item| !item.is_empty())
}

fn addresses(word: &str) -> Result<Vec<IpAddr>, Error> {
    let address = |text: &str| text.parse().map_err(|_| Error::new(format!("{text:?} is no address")));
    list(word).map(address).collect()
}

impl Display for Head {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        joined(f, &self.listen)?;
        optional(f, &self.servers)
    }
}

impl Display for Member {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        joined(f, self.addresses.iter().filter(|address| address.is_ipv4()))?;
        f.write_str(" ")?;
        joined(f, self.addresses.iter().filter(|address| address.is_ipv6()))?;
        f.write_str(" ")?;
        joined(f, &self.names)?;
        optional(f, &self.servers)
    }
}

fn joined(f: &mut Formatter<'_>, items: impl IntoIterator<Item = impl Display>) -> fmt::Result {
    for (at, item) in items.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

fn optional(f: &mut Formatter<'_>, servers: &[IpAddr]) -> fmt::Result {
    if servers.is_empty() {
        return Ok(());
    }
    f.write_str(" ")?;
    joined(f, servers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn lines_are_as_others_write_them() {
        let head = Head { listen: ips(&["10.89.0.1", "fd00::1"]), servers: ips(&["9.9.9.9"]) };
        assert_eq!(head.to_string(), "10.89.0.1,fd00::1 9.9.9.9");
        let member = Member {
            id: "abc".to_owned(),
            addresses: ips(&["10.89.0.2"]),
            names: vec!["web".to_owned(), "abc".to_owned()],
            servers: vec![],
        };
        assert_eq!(member.to_string(), "abc 10.89.0.2  web,abc");
        let with_servers = Member { servers: ips(&["8.8.8.8", "1.1.1.1"]), ..member };
        assert_eq!(with_servers.to_string(), "abc 10.89.0.2  web,abc 8.8.8.8,1.1.1.1");
    }

    #[test]
    fn what_is_missing_or_no_address_is_refused() {
        assert_eq!(Head::parse("").unwrap_err().to_string(), "no address to listen at");
        assert_eq!(Head::parse("10.0.0.1,x").unwrap_err().to_string(), "\"x\" is no address");
        assert!(Member::parse("abc 10.0.0.2 ").is_err());
        assert_eq!(Member::parse("abc   ").unwrap(), Member { id: "abc".to_owned(), ..Member::default() });
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            id in "[0-9a-f]{1,64}",
            v4 in proptest::collection::vec(any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4), 0..4),
            v6 in proptest::collection::vec(any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6), 0..4),
            names in proptest::collection::vec("[^ ,\n]{1,20}", 0..5),
            servers in proptest::collection::vec(any::<IpAddr>(), 0..3),
        ) {
            let addresses: Vec<_> = v4.into_iter().chain(v6).collect();
            let member = Member { id, addresses, names, servers };
            prop_assert_eq!(Member::parse(&member.to_string()).unwrap(), member);
        }

        #[test]
        fn no_line_is_too_odd_to_be_read(line in "\\PC*") {
            _ = Head::parse(&line);
            _ = Member::parse(&line);
        }
    }
}

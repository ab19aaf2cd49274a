//! Published ports and Docker's `-p` grammar.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family that `address` belongs to.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::V4 { "IPv4" } else { "IPv6" })
    }
}

/// A transport protocol that ports can be published for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Every protocol, in the order of their IP numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The IP protocol number (IANA).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|p| p.to_string().eq_ignore_ascii_case(text)).ok_or_else(|| {
            Invalid::new(format!("'{text}' is no protocol that ports have")).hint("use tcp, udp or sctp")
        })
    }
}

/// One port or several in a row, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, `first` for a single one.
    pub last: u16,
}

impl PortRange {
    /// The range of just `port`.
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// How many ports it holds, 1 to 65,536.
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Whether the two share a port.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Every port in order.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Invalid::new(format!("'{text}' is no valid port or port range")).because(why);
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain
                .then(|| digits.parse::<u16>().ok())
                .flatten()
                .ok_or_else(|| wrong("a port is a number from 0 to 65535"))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: number(first)?, last: number(last)? };
        if range.last < range.first {
            return Err(wrong("it ends before it begins"));
        }
        if range.first == 0 && range.last > 0 {
            return Err(wrong("port 0 cannot be in a range"));
        }
        Ok(range)
    }
}

/// A port inside a sandbox with its protocol, as `--expose` takes it: `PORT[-END][/PROTO]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TargetPort {
    /// The ports.
    pub ports: PortRange,
    /// Their protocol.
    pub protocol: Protocol,
}

impl fmt::Display for TargetPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ports, self.protocol)
    }
}

impl FromStr for TargetPort {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let ports: PortRange = ports.parse()?;
        if ports.first == 0 {
            return Err(
                Invalid::new(format!("'{text}' is no port of a sandbox")).because("port 0 does not exist")
            );
        }
        Ok(Self { ports, protocol })
    }
}

/// What the user asked to publish: `[HOSTIP:][HOSTPORT[-END]:]PORT[-END][/PROTO]`, IPv6 in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishSpec {
    /// The host address to listen on; none means every address.
    pub host_ip: Option<IpAddr>,
    /// The host ports; none means that free ones are chosen. May be wider than a single target port,
    /// then one of them is chosen.
    pub host: Option<PortRange>,
    /// The sandbox's ports.
    pub target: TargetPort,
}

impl FromStr for PublishSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let in_spec = |e: Invalid| Invalid {
            what: format!("'{text}' cannot be published"),
            hint: e.hint.clone(),
            cause: Some(e.reason()),
        };
        let (host_part, target) = split_target(text);
        let target: TargetPort = target.parse().map_err(in_spec)?;
        let (host_ip, host) = parse_host_part(host_part).map_err(in_spec)?;
        let host = host.filter(|range| range.first != 0);
        if let Some(range) = host
            && range.count() != target.ports.count()
            && target.ports.count() != 1
        {
            return Err(Invalid::new(format!("'{text}' cannot be published")).because(format!(
                "{} host ports ({range}) do not fit {} sandbox ports ({})",
                range.count(),
                target.ports.count(),
                target.ports
            )));
        }
        Ok(Self { host_ip, host, target })
    }
}

impl fmt::Display for PublishSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            None => {}
        }
        match self.host {
            Some(host) => write!(f, "{host}:")?,
            None if self.host_ip.is_some() => f.write_str(":")?,
            None => {}
        }
        match self.target {
            TargetPort { ports, protocol: Protocol::Tcp } => write!(f, "{ports}"),
            target => write!(f, "{target}"),
        }
    }
}

impl PublishSpec {
    /// Whether `published` is what was asked for, where `default_host` is the address for those that name none.
    pub fn is_met_by(&self, published: &Published, default_host: IpAddr) -> bool {
        let host_ip = match self.host_ip {
            Some(wanted) => wanted == published.host_ip,
            // One for every address stands for both families.
            None => {
                published.host_ip == default_host
                    || default_host.is_unspecified() && published.host_ip.is_unspecified()
            }
        };
        let within =
            |range: PortRange| range.first <= published.host.first && published.host.last <= range.last;
        host_ip
            && self.target == (TargetPort { ports: published.target, protocol: published.protocol })
            && self.host.is_none_or(within)
    }
}

/// Splits at the last colon outside brackets.
fn split_target(text: &str) -> (Option<&str>, &str) {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    match text[after_bracket..].rfind(':') {
        Some(colon) => (Some(&text[..after_bracket + colon]), &text[after_bracket + colon + 1..]),
        None => (None, text),
    }
}

fn parse_host_part(part: Option<&str>) -> Result<(Option<IpAddr>, Option<PortRange>), Invalid> {
    let Some(part) = part else { return Ok((None, None)) };
    let (address, ports) = if let Some(bracketed) = part.strip_prefix('[') {
        let (address, rest) = bracketed
            .split_once(']')
            .ok_or_else(|| Invalid::new("the bracket is not closed").because("'[' needs its ']'"))?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| Invalid::new(format!("'{address}' is no IPv6 address")))?;
        (Some(IpAddr::V6(address)), rest.strip_prefix(':').unwrap_or(rest))
    } else if let Some((address, ports)) = part.rsplit_once(':') {
        if address.contains(':') {
            return Err(Invalid::new("an IPv6 host address goes in brackets, as in [::1]:8080:80"));
        }
        (Some(parse_v4(address)?), ports)
    } else if part.contains('.') {
        (Some(parse_v4(part)?), "")
    } else {
        (None, part)
    };
    let ports = if ports.is_empty() { None } else { Some(ports.parse()?) };
    Ok((address, ports))
}

fn parse_v4(text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map(IpAddr::V4).map_err(|_| Invalid::new(format!("'{text}' is no IPv4 address")))
}

impl Invalid {
    fn reason(self) -> String {
        match self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what,
        }
    }
}

/// A published port as it is in force: as many host ports as target ports, every one chosen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The protocol.
    pub protocol: Protocol,
    /// The host address; `0.0.0.0` or `::` for every address of its family.
    pub host_ip: IpAddr,
    /// The ports on the host.
    pub host: PortRange,
    /// The ports in the sandbox, as many as `host` has.
    pub target: PortRange,
}

impl Published {
    /// Whether both could not hold on one host: same family and protocol, a shared port, and the same
    /// address or one that covers it.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && Family::of(self.host_ip) == Family::of(other.host_ip)
            && self.host.overlaps(other.host)
            && (self.host_ip == other.host_ip
                || self.host_ip.is_unspecified()
                || other.host_ip.is_unspecified())
    }

    /// Each host port with the port it leads to.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> {
        self.host.ports().zip(self.target.ports())
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{} -> {}/{}", self.host, self.target, self.protocol),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{} -> {}/{}", self.host, self.target, self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> (Option<String>, Option<String>, String) {
        let s: PublishSpec = text.parse().unwrap();
        (s.host_ip.map(|a| a.to_string()), s.host.map(|r| r.to_string()), s.target.to_string())
    }

    #[test]
    fn reads_the_whole_grammar() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(spec("80"), (None, None, "80/tcp".into()));
        assert_eq!(spec("8080:80"), (None, some("8080"), "80/tcp".into()));
        assert_eq!(spec("8080:80/udp"), (None, some("8080"), "80/udp".into()));
        assert_eq!(spec("127.0.0.1:8080:80"), (some("127.0.0.1"), some("8080"), "80/tcp".into()));
        assert_eq!(spec("127.0.0.1::80"), (some("127.0.0.1"), None, "80/tcp".into()));
        assert_eq!(spec("[::1]:8080:80/sctp"), (some("::1"), some("8080"), "80/sctp".into()));
        assert_eq!(spec("[fd00::5]::80"), (some("fd00::5"), None, "80/tcp".into()));
        assert_eq!(spec("8000-8010:9000-9010"), (None, some("8000-8010"), "9000-9010/tcp".into()));
        assert_eq!(spec("8000-8010:80"), (None, some("8000-8010"), "80/tcp".into()));
        assert_eq!(spec("9000-9002"), (None, None, "9000-9002/tcp".into()));
        assert_eq!(spec("0:80"), (None, None, "80/tcp".into()));
    }

    #[test]
    fn prints_what_it_reads() {
        for text in [
            "80",
            "8080:80",
            "8080:80/udp",
            "127.0.0.1:8080:80",
            "127.0.0.1::80",
            "[::1]:8080:80/sctp",
            "[fd00::5]::80",
            "8000-8010:80",
        ] {
            assert_eq!(text.parse::<PublishSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_published_meets_what_was_asked_for() {
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let published = |host_ip: &str, host: u16, target: u16| Published {
            protocol: Protocol::Tcp,
            host_ip: host_ip.parse().unwrap(),
            host: PortRange::single(host),
            target: PortRange::single(target),
        };
        let meets = |spec: &str, published: &Published| {
            spec.parse::<PublishSpec>().unwrap().is_met_by(published, any)
        };
        assert!(meets("8080:80", &published("0.0.0.0", 8080, 80)));
        assert!(meets("8080:80", &published("::", 8080, 80)));
        assert!(meets("80", &published("0.0.0.0", 49153, 80)));
        assert!(meets("8000-8010:80", &published("0.0.0.0", 8003, 80)));
        assert!(!meets("8080:80", &published("127.0.0.1", 8080, 80)));
        assert!(!meets("127.0.0.1:8080:80", &published("0.0.0.0", 8080, 80)));
        assert!(!meets("8081:80", &published("0.0.0.0", 8080, 80)));
        assert!(!meets("8080:81", &published("0.0.0.0", 8080, 80)));
        assert!(!meets("8080:80/udp", &published("0.0.0.0", 8080, 80)));
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "",
            ":",
            "x:80",
            "80:",
            "8080:0",
            "70000:80",
            "80/icmp",
            "8000-8001:80-82",
            "9-8",
            "::1:80:80",
            "[::1:80:80",
            "1.2.3:80:80",
            "1.2.3.4.5:80:80",
            "-5:80",
            "+1:80",
            "0-5:80",
            "8080:80/",
            "a.b:80",
        ] {
            assert!(bad.parse::<PublishSpec>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn conflicts_follow_the_addresses() {
        let published = |ip: &str, first, last| Published {
            protocol: Protocol::Tcp,
            host_ip: ip.parse().unwrap(),
            host: PortRange { first, last },
            target: PortRange { first, last },
        };
        assert!(published("0.0.0.0", 80, 80).conflicts(&published("127.0.0.1", 70, 90)));
        assert!(!published("127.0.0.2", 80, 80).conflicts(&published("127.0.0.1", 80, 80)));
        assert!(!published("::", 80, 80).conflicts(&published("0.0.0.0", 80, 80)));
        assert!(!published("0.0.0.0", 80, 80).conflicts(&published("0.0.0.0", 81, 90)));
    }
}

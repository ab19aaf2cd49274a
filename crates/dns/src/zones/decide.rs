use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{Seat, Style, Zone, Zones};

/// Record types that names are known for (RFC 1035 3.2.2, RFC 3596 2.1).
const A: u16 = 1;
const PTR: u16 = 12;
const MX: u16 = 15;
const AAAA: u16 = 28;

/// Docker's, in seconds.
const SANDBOXES_TTL: u32 = 600;

/// Who wants to know.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// Whoever has an address; if nobody is known to, a member of the network whose gateway was asked.
    Address {
        /// Where the question came from.
        from: IpAddr,
        /// The network whose gateway was asked.
        network: &'a str,
    },
    /// A container or sandbox known by the socket that it asks at.
    Container(&'a str),
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name in lower case, without the final dot; a dot or backslash within a label has a backslash before it.
    pub name: &'a [u8],
    /// The record type's number.
    pub kind: u16,
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Records.
    Answer(Answer),
    /// The name exists, but has no record of that type.
    Empty,
    /// There is no such name for this asker.
    NxDomain,
    /// The asker is nobody.
    Refused,
    /// Others are asked: these servers, in order, or the host's if there are none.
    Forward(Arc<[SocketAddr]>),
}

/// Records of one type for the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// At least one.
    pub records: Records,
    /// Whether the order is to change from answer to answer.
    pub shuffle: bool,
}

/// The records of an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// A records.
    V4(Vec<Ipv4Addr>),
    /// AAAA records.
    V6(Vec<Ipv6Addr>),
    /// PTR records: names with dots between labels, without the final one.
    Names(Vec<String>),
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::V4(all) => all.len(),
            Self::V6(all) => all.len(),
            Self::Names(all) => all.len(),
        }
    }
}

/// The networks an asker is on, in order.
struct Scope<'a> {
    networks: Vec<(&'a str, &'a Zone)>,
    /// The asker's own memberships; empty if it is unknown.
    seats: Vec<&'a Seat>,
}

impl Zones {
    /// What an asker is told.
    pub fn decide(&self, asker: Asker<'_>, question: Question<'_>) -> Verdict {
        let Some(scope) = self.scope(asker) else { return Verdict::Refused };
        match &self.style {
            Style::Podman { suffixes, forward } => {
                let suffixed = suffixes.iter().find_map(|suffix| without(question.name, suffix.as_bytes()));
                let name = suffixed.unwrap_or(question.name);
                scope
                    .podman(Question { name, ..question })
                    .unwrap_or_else(|| scope.elsewhere(suffixed.is_none() && *forward))
            }
            Style::Sandboxes => scope.sandbox(question).unwrap_or_else(|| scope.elsewhere(true)),
        }
    }

    /// Whether a container or sandbox has this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    fn scope(&self, asker: Asker<'_>) -> Option<Scope<'_>> {
        let mut seats: Vec<&Seat> = Vec::new();
        match asker {
            Asker::Container(container) => seats.extend(self.seats(container)?),
            Asker::Address { from, .. } => {
                for container in self.addresses.get(&from).into_iter().flat_map(|all| all.iter()) {
                    seats.extend(self.seats(container).into_iter().flatten());
                }
            }
        }
        let mut networks: Vec<(&str, &Zone)> = Vec::with_capacity(seats.len());
        for seat in &seats {
            if networks.iter().all(|(name, _)| *name != &*seat.network) {
                networks.extend(self.networks.get(&*seat.network).map(|zone| (&*seat.network, &**zone)));
            }
        }
        if let (Asker::Address { network, .. }, true) = (asker, networks.is_empty()) {
            networks.extend(self.networks.get_key_value(network).map(|(name, zone)| (&**name, &**zone)));
        }
        (!networks.is_empty()).then_some(Scope { networks, seats })
    }

    fn seats(&self, container: &str) -> Option<impl Iterator<Item = &Seat>> {
        self.containers.get(container).map(|seats| seats.iter().map(|seat| &**seat))
    }
}

impl Scope<'_> {
    /// The answer if a name here is meant; otherwise whoever is asked next must know.
    fn podman(&self, question: Question<'_>) -> Option<Verdict> {
        match question.kind {
            A | AAAA => {
                let mut found = Vec::new();
                for (_, zone) in &self.networks {
                    found.extend(zone.holders(question.name).iter().flat_map(|seat| &seat.addresses));
                }
                addresses(question.kind, &found, 0, false)
            }
            PTR if !self.seats.is_empty() => {
                let address = reversed(question.name)?;
                let names = |zone: &Zone| -> Vec<String> {
                    zone.holding(&address).iter().flat_map(|seat| seat.names.iter().cloned()).collect()
                };
                let names = self.networks.iter().map(|(_, zone)| names(zone)).find(|names| !names.is_empty());
                Some(pointers(names?, 0))
            }
            _ => None,
        }
    }

    fn sandbox(&self, question: Question<'_>) -> Option<Verdict> {
        match question.kind {
            A | AAAA => addresses(question.kind, &self.named(question.name)?, SANDBOXES_TTL, true),
            MX => self.named(question.name).map(|_| Verdict::Empty),
            PTR => {
                let address = reversed(question.name)?;
                let (network, name) = self.networks.iter().find_map(|(network, zone)| {
                    let mut holders = zone.holding(&address).iter();
                    Some((network, holders.find_map(|seat| seat.names.first())?))
                })?;
                Some(pointers(vec![format!("{name}.{network}")], SANDBOXES_TTL))
            }
            _ => None,
        }
    }

    /// The addresses that a name has on the first network that knows it: the asker's links, then names.
    fn named(&self, name: &[u8]) -> Option<Vec<&IpAddr>> {
        for (network, zone) in &self.networks {
            let local = without(name, network.to_ascii_lowercase().as_bytes());
            for name in [Some(name), local].into_iter().flatten() {
                let linked = self.linked(network, name).map(|target| zone.holders(target));
                let holders = linked.filter(|all| !all.is_empty()).unwrap_or_else(|| zone.holders(name));
                if !holders.is_empty() {
                    return Some(holders.iter().flat_map(|seat| &seat.addresses).collect());
                }
            }
        }
        None
    }

    fn linked(&self, network: &str, name: &[u8]) -> Option<&[u8]> {
        let mut links =
            self.seats.iter().filter(|seat| &*seat.network == network).flat_map(|seat| &seat.links);
        links.find(|(alias, _)| &**alias == name).map(|(_, target)| &**target)
    }

    /// What becomes of a name that is unknown here.
    fn elsewhere(&self, allowed: bool) -> Verdict {
        if !allowed || self.networks.iter().all(|(_, zone)| zone.internal) {
            return Verdict::NxDomain;
        }
        let mut servers: Vec<SocketAddr> = Vec::new();
        let mut add = |more: &[SocketAddr]| {
            for server in more {
                if !servers.contains(server) {
                    servers.push(*server);
                }
            }
        };
        self.seats.iter().for_each(|seat| add(&seat.servers));
        if self.seats.iter().all(|seat| seat.servers.is_empty()) {
            self.networks.iter().for_each(|(_, zone)| add(&zone.servers));
        }
        Verdict::Forward(servers.into())
    }
}

impl Zone {
    fn holders(&self, name: &[u8]) -> &[Arc<Seat>] {
        self.names.get(name).map_or(&[], |all| all)
    }

    fn holding(&self, address: &IpAddr) -> &[Arc<Seat>] {
        self.addresses.get(address).map_or(&[], |all| all)
    }
}

/// Answers with the addresses of one family; nothing if there are none of either.
fn addresses(kind: u16, found: &[&IpAddr], ttl: u32, shuffle: bool) -> Option<Verdict> {
    if found.is_empty() {
        return None;
    }
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in found {
        match address {
            IpAddr::V4(address) if kind == A && !v4.contains(address) => v4.push(*address),
            IpAddr::V6(address) if kind == AAAA && !v6.contains(address) => v6.push(*address),
            _ => {}
        }
    }
    let records = match (v4.is_empty(), v6.is_empty()) {
        (true, true) => return Some(Verdict::Empty),
        (false, _) => Records::V4(v4),
        (true, false) => Records::V6(v6),
    };
    Some(Verdict::Answer(Answer { ttl, records, shuffle }))
}

fn pointers(names: Vec<String>, ttl: u32) -> Verdict {
    Verdict::Answer(Answer { ttl, records: Records::Names(names), shuffle: false })
}

/// What comes before `.SUFFIX`, if that is how a name ends.
fn without<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    name.strip_suffix(suffix)?.strip_suffix(b".").filter(|rest| !rest.is_empty())
}

/// The address that a name under `in-addr.arpa` (RFC 1035 3.5) or `ip6.arpa` (RFC 3596 2.5) stands for.
fn reversed(name: &[u8]) -> Option<IpAddr> {
    let name = std::str::from_utf8(name).ok()?;
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in name.strip_suffix(".ip6.arpa")?.split('.').rev() {
        let digit = label.chars().next().filter(|_| label.len() == 1)?.to_digit(16)?;
        bits = bits << 4 | u128::from(digit);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(bits).into())
}

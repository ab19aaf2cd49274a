//! Elements of the plan as the entries of sets that the kernel keeps, and back. Numbers from
//! linux/netfilter/nf_tables.h.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use linkspan_model::{IfName, Mac, PortRange, Protocol};
use linkspan_plan::Element;

use crate::netlink::{Attrs, Message};

use super::nft::{Family, LIST_ELEM};
use super::set::Set;
use super::{home, userdata};

const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_USERDATA: u16 = 6;
const DATA_VALUE: u16 = 1;
const INTERVAL_END: u32 = 1;

/// IFNAMSIZ (linux/if.h).
const IFNAME: usize = 16;

/// One entry of a set. Some elements take two, in two sets; a range two, its start and what comes behind its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    /// The set's name.
    pub(super) set: &'static str,
    /// The key, fields padded as in registers.
    pub(super) key: Vec<u8>,
    /// What it leads to; empty in a set and at the end of a range.
    pub(super) data: Vec<u8>,
    /// Whether it ends a range.
    pub(super) end: bool,
    /// Whether it starts a range that goes on to the last key there is, and so has no end.
    pub(super) open: bool,
}

/// The entries that stand for `element`; none if it leads from one address family to the other.
pub(super) fn entries(element: &Element) -> Option<Vec<Entry>> {
    let entry = |set, key, data| Entry { set, key, data, end: false, open: false };
    let set = element.set();
    Some(match element {
        Element::Bridge(name) | Element::Guest(name) => vec![
            entry(set, ifname(name), Vec::new()),
            entry("same_bridge", ifname(name).repeat(2), Vec::new()),
        ],
        Element::Masquerade(name)
        | Element::Internal(name)
        | Element::ForeignGateway(name)
        | Element::Apart(name)
        | Element::Named(name)
        | Element::Sealed(name)
        | Element::Segment(name)
        | Element::Isolated(name)
        | Element::Strict(name) => vec![entry(set, ifname(name), Vec::new())],
        Element::Outbound { bridge, address } => vec![entry(set, ifname(bridge), octets(*address))],
        Element::Closed(name) => vec![
            entry(set, ifname(name), Vec::new()),
            entry("same_closed", ifname(name).repeat(2), Vec::new()),
        ],
        Element::MasqueradeFrom(address) | Element::MasqueradeTo(address) => {
            vec![entry(set, octets(*address), Vec::new())]
        }
        Element::Home(net) => {
            vec![entry(set, [octets(net.network()), octets(net.broadcast())].concat(), Vec::new())]
        }
        Element::Spoof { port, mac } => {
            let mut key = ifname(port);
            key.extend(mac.bytes());
            key.extend([0; 2]);
            vec![entry("guarded", ifname(port), Vec::new()), entry(set, key, Vec::new())]
        }
        Element::Publish { protocol, host, port, to } => {
            if host.is_ipv4() != to.is_ipv4() {
                return None;
            }
            let mut key = if host.is_unspecified() { Vec::new() } else { octets(*host) };
            key.extend([protocol.number(), 0, 0, 0]);
            key.extend(service(*port));
            let mut data = octets(to.ip());
            data.extend(service(to.port()));
            vec![entry(set, key, data)]
        }
        Element::PublishRange { ports, to, .. } => {
            let start = entry(set, ports.first.to_be_bytes().to_vec(), octets(*to));
            match ports.last.checked_add(1) {
                None => vec![Entry { open: true, ..start }],
                Some(behind) => {
                    let end = entry(set, behind.to_be_bytes().to_vec(), Vec::new());
                    vec![start, Entry { end: true, ..end }]
                }
            }
        }
        // Its maps are laid out alike.
        Element::Backend(published) => {
            let entries = entries(published)?.into_iter();
            entries.map(|entry| Entry { set, ..entry }).collect()
        }
    })
}

/// The elements that `entries` stand for. What none of ours looks like is left out.
pub(super) fn elements(entries: &BTreeSet<Entry>) -> BTreeSet<Element> {
    let mut found: BTreeSet<Element> =
        entries.iter().filter(|entry| !entry.set.starts_with("range")).filter_map(single).collect();
    let others: BTreeSet<(&str, &[u8])> =
        entries.iter().map(|entry| (entry.set, entry.key.as_slice())).collect();
    found.retain(|element| match element {
        Element::Bridge(name) | Element::Guest(name) => {
            others.contains(&("same_bridge", ifname(name).repeat(2).as_slice()))
        }
        Element::Closed(name) => others.contains(&("same_closed", ifname(name).repeat(2).as_slice())),
        Element::Spoof { port, .. } => others.contains(&("guarded", ifname(port).as_slice())),
        _ => true,
    });
    if !home::is_whole(entries) {
        found.retain(|element| !matches!(element, Element::Home(_)));
    }
    found.extend(ranges(entries));
    found
}

fn single(entry: &Entry) -> Option<Element> {
    let key = entry.key.as_slice();
    match entry.set {
        "bridges" => ifname_of(key).map(Element::Bridge),
        "masqueraded" => ifname_of(key).map(Element::Masquerade),
        "internal" => ifname_of(key).map(Element::Internal),
        "foreign_gateway" => ifname_of(key).map(Element::ForeignGateway),
        "apart" => ifname_of(key).map(Element::Apart),
        "guests" => ifname_of(key).map(Element::Guest),
        "closed" => ifname_of(key).map(Element::Closed),
        "sealed" => ifname_of(key).map(Element::Sealed),
        "segments" => ifname_of(key).map(Element::Segment),
        "isolated" => ifname_of(key).map(Element::Isolated),
        "strict" => ifname_of(key).map(Element::Strict),
        "outbound4" | "outbound6" => {
            Some(Element::Outbound { bridge: ifname_of(key)?, address: address(&entry.data)? })
        }
        "homes4" | "homes6" => home::subnet(key).map(Element::Home),
        "masquerade4" | "masquerade6" => address(key).map(Element::MasqueradeFrom),
        "masquerade_to4" | "masquerade_to6" => address(key).map(Element::MasqueradeTo),
        "named" => ifname_of(key).map(Element::Named),
        "own_mac" => Some(Element::Spoof {
            port: ifname_of(key.get(..IFNAME)?)?,
            mac: Mac::from_bytes(key.get(IFNAME..IFNAME + 6)?.try_into().ok()?),
        }),
        "publish4" => publish(address(key.get(..4)?)?, key.get(4..)?, &entry.data),
        "publish6" => publish(address(key.get(..16)?)?, key.get(16..)?, &entry.data),
        "publish4_any" => publish(Ipv4Addr::UNSPECIFIED.into(), key, &entry.data),
        "publish6_any" => publish(Ipv6Addr::UNSPECIFIED.into(), key, &entry.data),
        "ports4" => publish(address(key.get(..4)?)?, key.get(4..)?, &entry.data).map(of_backend),
        "ports6" => publish(address(key.get(..16)?)?, key.get(16..)?, &entry.data).map(of_backend),
        "ports4_any" => publish(Ipv4Addr::UNSPECIFIED.into(), key, &entry.data).map(of_backend),
        "ports6_any" => publish(Ipv6Addr::UNSPECIFIED.into(), key, &entry.data).map(of_backend),
        _ => None,
    }
}

fn of_backend(published: Element) -> Element {
    Element::Backend(Box::new(published))
}

fn publish(host: IpAddr, protocol_and_port: &[u8], data: &[u8]) -> Option<Element> {
    let (to, port) = data.split_at_checked(data.len().checked_sub(4)?)?;
    Some(Element::Publish {
        protocol: protocol_of(*protocol_and_port.first()?)?,
        host,
        port: service_of(protocol_and_port.get(4..)?)?,
        to: SocketAddr::new(address(to)?, service_of(port)?),
    })
}

/// Each start with the nearest end behind it.
fn ranges(entries: &BTreeSet<Entry>) -> Vec<Element> {
    let mut starts: BTreeMap<(&str, u16), IpAddr> = BTreeMap::new();
    let mut ends: BTreeSet<(&str, u16)> = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.set.starts_with("range")) {
        let Some(port) = service_of(&entry.key) else { continue };
        if entry.end {
            ends.insert((entry.set, port));
        } else if let Some(to) = address(&entry.data) {
            starts.insert((entry.set, port), to);
        }
    }
    let range = |((set, first), to): (&(&str, u16), &IpAddr)| {
        let protocol = Protocol::ALL.into_iter().find(|p| set.ends_with(&format!("_{p}")))?;
        let behind = ends.range((*set, first.saturating_add(1))..).next().filter(|(of, _)| of == set);
        let last = behind.map_or(u16::MAX, |(_, port)| port - 1);
        let element = Element::PublishRange { protocol, ports: PortRange { first: *first, last }, to: *to };
        Some(if set.starts_with("ranges") { of_backend(element) } else { element })
    };
    starts.iter().filter_map(range).collect()
}

impl Entry {
    /// The family of the table that it is in.
    pub(super) fn family(&self) -> Family {
        Set::named(self.set).map_or(Family::Inet, |set| set.family)
    }

    /// Adds it to a message's list of elements. To delete or ask for it, the key is enough.
    pub(super) fn write(&self, list: &mut Message, with_data: bool) {
        list.nest(LIST_ELEM, |element| {
            if self.end {
                element.attr_be32(ELEM_FLAGS, INTERVAL_END);
            }
            element.nest(ELEM_KEY, |key| _ = key.attr(DATA_VALUE, &self.key));
            if with_data && !self.data.is_empty() {
                element.nest(ELEM_DATA, |data| _ = data.attr(DATA_VALUE, &self.data));
            }
            if with_data && self.open {
                element.attr(ELEM_USERDATA, &userdata::of_open_range());
            }
        });
    }

    /// What [`write`](Self::write) takes at most.
    pub(super) const fn size(&self) -> usize {
        64 + self.key.len() + self.data.len()
    }

    /// Reads the attributes of one element of `set`.
    pub(super) fn read(set: &'static str, attrs: Attrs<'_>) -> Option<Self> {
        let value = |kind| attrs.nested(kind).get(DATA_VALUE).unwrap_or_default().to_vec();
        let key = value(ELEM_KEY);
        let end = attrs.be32(ELEM_FLAGS).unwrap_or_default() & INTERVAL_END != 0;
        let open = attrs.get(ELEM_USERDATA).is_some_and(|data| data == userdata::of_open_range());
        (!key.is_empty()).then(|| Self { set, key, data: value(ELEM_DATA), end, open })
    }
}

fn ifname(name: &IfName) -> Vec<u8> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(IFNAME, 0);
    bytes
}

fn ifname_of(bytes: &[u8]) -> Option<IfName> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A port, padded as a field of a concatenation.
const fn service(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn service_of(bytes: &[u8]) -> Option<u16> {
    bytes.get(..2)?.try_into().ok().map(u16::from_be_bytes)
}

fn protocol_of(number: u8) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use linkspan_model::{Mac, PortRange, Protocol};
    use linkspan_plan::Element;

    use super::{Entry, elements, entries};
    use crate::firewall::set::Set;

    fn range(protocol: Protocol, first: u16, last: u16, to: &str) -> Element {
        Element::PublishRange { protocol, ports: PortRange { first, last }, to: to.parse().unwrap() }
    }

    fn publish(host: &str, port: u16, to: &str) -> Element {
        Element::Publish {
            protocol: Protocol::Udp,
            host: host.parse().unwrap(),
            port,
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn elements_come_back_from_their_entries() {
        let all = BTreeSet::from([
            Element::Bridge("br-1".parse().unwrap()),
            Element::Bridge("fifteen-letters".parse().unwrap()),
            Element::Masquerade("br-1".parse().unwrap()),
            Element::Internal("br-1".parse().unwrap()),
            Element::ForeignGateway("br-1".parse().unwrap()),
            Element::Apart("br-1".parse().unwrap()),
            Element::Guest("br-1".parse().unwrap()),
            Element::Closed("br-1".parse().unwrap()),
            Element::Sealed("br-1".parse().unwrap()),
            Element::Segment("br-1".parse().unwrap()),
            Element::Isolated("br-1".parse().unwrap()),
            Element::Strict("br-1".parse().unwrap()),
            Element::Named("br-1".parse().unwrap()),
            Element::Outbound { bridge: "br-1".parse().unwrap(), address: "192.0.2.1".parse().unwrap() },
            Element::Outbound { bridge: "br-1".parse().unwrap(), address: "2001:db8::1".parse().unwrap() },
            Element::MasqueradeFrom("10.0.0.2".parse().unwrap()),
            Element::MasqueradeFrom("fd00::2".parse().unwrap()),
            Element::MasqueradeTo("10.0.0.2".parse().unwrap()),
            Element::MasqueradeTo("fd00::2".parse().unwrap()),
            Element::Spoof { port: "veth1".parse().unwrap(), mac: Mac::from_bytes([2, 0, 0, 0, 0, 1]) },
            publish("0.0.0.0", 53, "172.18.0.2:5353"),
            publish("192.0.2.1", 53, "172.18.0.2:5353"),
            publish("::", 53, "[fd00::2]:5353"),
            publish("2001:db8::1", 53, "[fd00::2]:5353"),
            range(Protocol::Tcp, 8000, 8010, "172.18.0.2"),
            range(Protocol::Tcp, 8011, 8020, "172.18.0.3"),
            range(Protocol::Tcp, 65535, 65535, "172.18.0.3"),
            range(Protocol::Sctp, 60000, 65535, "fd00::2"),
            range(Protocol::Udp, 1, 1, "fd00::2"),
            super::of_backend(publish("0.0.0.0", 53, "172.18.0.2:5353")),
            super::of_backend(publish("192.0.2.1", 53, "172.18.0.2:5353")),
            super::of_backend(publish("::", 53, "[fd00::2]:5353")),
            super::of_backend(publish("2001:db8::1", 53, "[fd00::2]:5353")),
            super::of_backend(range(Protocol::Tcp, 8000, 8010, "172.18.0.2")),
            super::of_backend(range(Protocol::Sctp, 60000, 65535, "fd00::2")),
        ]);
        let stored: BTreeSet<Entry> = all.iter().flat_map(|element| entries(element).unwrap()).collect();
        assert!(stored.iter().all(|entry| Set::named(entry.set).is_some()));
        assert_eq!(elements(&stored), all);
    }

    #[test]
    fn half_an_element_is_none() {
        let name = || "br-1".parse().unwrap();
        let spoof = Element::Spoof { port: name(), mac: Mac::from_bytes([2, 0, 0, 0, 0, 1]) };
        for element in [Element::Bridge(name()), Element::Guest(name()), Element::Closed(name()), spoof] {
            let both = entries(&element).unwrap();
            assert!(elements(&BTreeSet::from([both[0].clone()])).is_empty(), "{element}");
            assert!(elements(&BTreeSet::from([both[1].clone()])).is_empty(), "{element}");
        }
    }

    #[test]
    fn families_do_not_mix() {
        assert_eq!(entries(&publish("0.0.0.0", 53, "[fd00::2]:53")), None);
    }
}

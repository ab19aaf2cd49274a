//! The sets and maps of the table, with the types that `nft` shows them by.

use crate::netlink::Message;

use super::nft::{Family, Layout, add_set};
use super::userdata;

/// One field of a key or of what it leads to.
#[derive(Clone, Copy)]
enum Field {
    Ifname,
    Ipv4,
    Ipv6,
    Ether,
    Protocol,
    Service,
}

use Field::{Ether, Ifname, Ipv4, Ipv6, Protocol, Service};

/// A set, or where `data` has fields a map.
pub(super) struct Set {
    /// Its name.
    pub(super) name: &'static str,
    /// The family of the table that it is in.
    pub(super) family: Family,
    /// Whether its keys are ranges.
    pub(super) interval: bool,
    key: &'static [Field],
    data: &'static [Field],
    comment: &'static str,
}

const COUNT: usize = 46;

/// Every set, in the order that they are made in.
pub(super) const SETS: [Set; COUNT] = [
    set("bridges", &[Ifname], "bridges of Linkspan"),
    set("same_bridge", &[Ifname, Ifname], "back into the network it came from"),
    set("masqueraded", &[Ifname], "traffic to the outside takes the host's address"),
    set("internal", &[Ifname], "nothing goes out, nothing comes in"),
    set("foreign_gateway", &[Ifname], "replies would leave by another gateway"),
    set("apart", &[Ifname], "its sandboxes meet only where one publishes"),
    set("guests", &[Ifname], "a runtime's containers are behind it"),
    set("homes4", &[Ipv4, Ipv4], "subnets of containers, from the first address to the last"),
    set("homes6", &[Ipv6, Ipv6], "subnets of containers, from the first address to the last"),
    addresses("home4", Ipv4),
    addresses("home6", Ipv6),
    set("masquerade4", &[Ipv4], "what leaves from here takes the host's address"),
    set("masquerade6", &[Ipv6], "what leaves from here takes the host's address"),
    set("masquerade_to4", &[Ipv4], "what is published comes from the host's address"),
    set("masquerade_to6", &[Ipv6], "what is published comes from the host's address"),
    set("closed", &[Ifname], "nothing goes to another of these"),
    set("same_closed", &[Ifname, Ifname], "back into the one it came from"),
    set("sealed", &[Ifname], "nothing goes back in either"),
    set("segments", &[Ifname], "kept from each other, as far as either wants it"),
    set("isolated", &[Ifname], "meets no other of these"),
    set("strict", &[Ifname], "meets no other segment"),
    map("outbound4", &[Ifname], &[Ipv4], "the address of what goes out"),
    map("outbound6", &[Ifname], &[Ipv6], "the address of what goes out"),
    map("publish4", &[Ipv4, Protocol, Service], &[Ipv4, Service], "published on one address of the host"),
    map("publish4_any", &[Protocol, Service], &[Ipv4, Service], "published on every address of the host"),
    map("publish6", &[Ipv6, Protocol, Service], &[Ipv6, Service], "published on one address of the host"),
    map("publish6_any", &[Protocol, Service], &[Ipv6, Service], "published on every address of the host"),
    range("range4_tcp", Ipv4),
    range("range4_udp", Ipv4),
    range("range4_sctp", Ipv4),
    range("range6_tcp", Ipv6),
    range("range6_udp", Ipv6),
    range("range6_sctp", Ipv6),
    Set { family: Family::Bridge, ..set("guarded", &[Ifname], "ports with a MAC of their own") },
    of_backend(map(
        "ports4",
        &[Ipv4, Protocol, Service],
        &[Ipv4, Service],
        "published on one address of the host",
    )),
    of_backend(map(
        "ports4_any",
        &[Protocol, Service],
        &[Ipv4, Service],
        "published on every address of the host",
    )),
    of_backend(map(
        "ports6",
        &[Ipv6, Protocol, Service],
        &[Ipv6, Service],
        "published on one address of the host",
    )),
    of_backend(map(
        "ports6_any",
        &[Protocol, Service],
        &[Ipv6, Service],
        "published on every address of the host",
    )),
    of_backend(range("ranges4_tcp", Ipv4)),
    of_backend(range("ranges4_udp", Ipv4)),
    of_backend(range("ranges4_sctp", Ipv4)),
    of_backend(range("ranges6_tcp", Ipv6)),
    of_backend(range("ranges6_udp", Ipv6)),
    of_backend(range("ranges6_sctp", Ipv6)),
    of_backend(set("named", &[Ifname], "who is on it asks the host for names")),
    Set { family: Family::Bridge, ..set("own_mac", &[Ifname, Ether], "the only one that enters by it") },
];

const fn set(name: &'static str, key: &'static [Field], comment: &'static str) -> Set {
    Set { name, family: Family::Inet, interval: false, key, data: &[], comment }
}

const fn of_backend(set: Set) -> Set {
    Set { family: Family::Backend, ..set }
}

const fn addresses(name: &'static str, field: Field) -> Set {
    let key: &[Field] = if matches!(field, Ipv4) { &[Ipv4] } else { &[Ipv6] };
    Set { interval: true, ..set(name, key, "the same, merged") }
}

const fn map(
    name: &'static str,
    key: &'static [Field],
    data: &'static [Field],
    comment: &'static str,
) -> Set {
    Set { data, ..set(name, key, comment) }
}

const fn range(name: &'static str, to: Field) -> Set {
    let data: &[Field] = if matches!(to, Ipv4) { &[Ipv4] } else { &[Ipv6] };
    Set { interval: true, data, ..set(name, &[Service], "published with the numbers they have inside") }
}

impl Set {
    /// The one that is called `name`.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        static ALL: [Set; COUNT] = SETS;
        ALL.iter().find(|set| set.name == name)
    }

    /// The message that makes it; `id` tells it from the others.
    pub(super) fn create(&self, id: u32) -> Message {
        let data = (!self.data.is_empty()).then(|| layout(self.data));
        let orders = (order(self.key), data.as_ref().map(|_| order(self.data)));
        let userdata = userdata::of_set(orders.0, orders.1, self.comment);
        add_set((self.family, self.name), id, &layout(self.key), data.as_ref(), self.interval, &userdata)
    }
}

impl Field {
    /// The number of the type in `nft` (its src/include/datatype.h), and the length in bytes.
    const fn kind_and_length(self) -> (u32, u32) {
        match self {
            Ifname => (41, 16),
            Ipv4 => (7, 4),
            Ipv6 => (8, 16),
            Ether => (9, 6),
            Protocol => (12, 1),
            Service => (13, 2),
        }
    }
}

/// Concatenated, each field takes whole 32-bit registers; alone, just its own bytes.
fn layout(fields: &[Field]) -> Layout {
    if let [field] = fields {
        let (kind, length) = field.kind_and_length();
        return Layout { kind, length };
    }
    fields.iter().map(|field| field.kind_and_length()).fold(
        Layout { kind: 0, length: 0 },
        |sum, (kind, length)| Layout {
            kind: sum.kind << 6 | kind,
            length: sum.length + length.next_multiple_of(4),
        },
    )
}

/// The byte order that `nft` wants to be told; a concatenation has none of its own.
const fn order(fields: &[Field]) -> u32 {
    const HOST: u32 = 1;
    const NETWORK: u32 = 2;
    match fields {
        [Ifname] => HOST,
        [_] => NETWORK,
        _ => 0,
    }
}

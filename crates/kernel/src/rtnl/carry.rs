//! What a device has, as the kernel gave it, and the messages that give it to another: only the device is another then.

use libc::{
    IFA_CACHEINFO, IFA_F_NODAD, IFA_F_PERMANENT, IFA_FLAGS, IFA_LABEL, NDA_DST, NDA_LLADDR, NUD_FAILED,
    NUD_INCOMPLETE, NUD_NOARP, RTA_CACHEINFO, RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_OIF, RTA_PRIORITY,
    RTA_SRC, RTA_TABLE, RTA_VIA, RTM_DELADDR, RTM_DELNEIGH, RTM_DELROUTE, RTM_GETNEIGH, RTM_GETROUTE,
    RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE, RTPROT_KERNEL,
};
use linkspan_model::IfName;

use super::{NLM_F_CREATE, NLM_F_DUMP};
use crate::netlink::{Attrs, Message};

// linux/netlink.h
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_APPEND: u16 = 0x800;
// linux/rtnetlink.h
const RTA_EXPIRES: u16 = 23;
const RTA_NH_ID: u16 = 30;
const RTPROT_RA: u8 = 9;
const RTNH_F_ONLINK: u8 = 4;
/// linux/neighbour.h: NTF_EXT_LEARNED, NTF_ROUTER.
const NEIGHBOUR_FLAGS: u8 = 0x10 | 0x80;
const NDA_PROTOCOL: u16 = 12;
/// Lengths of `struct ifaddrmsg`, `struct rtmsg`, `struct ndmsg`, `struct rtnexthop`.
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;
const NDMSG: usize = 12;
const RTNEXTHOP: usize = 8;
/// Ticks a second in what the kernel tells of times (USER_HZ).
const TICKS: u32 = 100;
/// Who has made the routes that stand in for a router's own until it speaks again: "L", of nobody else's use.
const STAND_IN: u8 = 0x4c;

/// Two devices: what one has goes to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// Index and name of the one that has it.
    pub(crate) from: (u32, &'a IfName),
    /// Of the one that gets it.
    pub(crate) to: (u32, &'a IfName),
}

/// Asks for the routes of all tables.
pub(crate) fn dump_routes() -> Message {
    Message::new(RTM_GETROUTE, NLM_F_DUMP, &[0; RTMSG])
}

/// Asks for the ARP and NDP entries of every device.
pub(crate) fn dump_neighbours() -> Message {
    Message::new(RTM_GETNEIGH, NLM_F_DUMP, &[0; NDMSG])
}

/// The body of an RTM_NEWADDR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GivenAddress(Vec<u8>);

impl GivenAddress {
    /// Of `body`, if it is complete.
    pub(crate) fn new(body: Vec<u8>) -> Option<Self> {
        (body.len() >= IFADDRMSG).then_some(Self(body))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is an IPv6 one.
    pub(crate) fn is_v6(&self) -> bool {
        i32::from(self.0[0]) == libc::AF_INET6
    }

    /// The device that it was given for.
    pub(crate) fn index(&self) -> u32 {
        self.0[4..8].try_into().map_or(0, u32::from_ne_bytes)
    }

    /// Whether it is an IPv6 one that is in use without a look for duplicates.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_v6() && self.flags() & IFA_F_NODAD != 0
    }

    /// Whether it is an IPv4 one that expires unless somebody renews it.
    pub(crate) fn is_leased(&self) -> bool {
        !self.is_v6() && self.flags() & IFA_F_PERMANENT == 0
    }

    fn flags(&self) -> u32 {
        Attrs::new(&self.0[IFADDRMSG..]).u32(IFA_FLAGS).unwrap_or_else(|| self.0[2].into())
    }

    fn message(&self, kind: u16, flags: u16, way: Way<'_>, address_flags: u32) -> Message {
        let index = if kind == RTM_DELADDR { way.from.0 } else { way.to.0 };
        let mut header = self.0[..IFADDRMSG].to_vec();
        header[2] = 0;
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let mut message = Message::new(kind, flags, &header);
        for (attr, value) in Attrs::new(&self.0[IFADDRMSG..]) {
            match attr {
                IFA_FLAGS => {}
                IFA_LABEL | IFA_CACHEINFO if kind == RTM_DELADDR => {}
                IFA_LABEL => _ = message.attr_str(IFA_LABEL, &relabel(value, way)),
                _ => _ = message.attr(attr, value),
            }
        }
        message.attr_u32(IFA_FLAGS, address_flags);
        message
    }

    /// Gives it to the other device, usable at once.
    pub(crate) fn give(&self, way: Way<'_>) -> Message {
        let sure = if self.is_v6() { IFA_F_NODAD } else { 0 };
        self.message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, way, self.flags() | sure)
    }

    /// Makes its flags what they were, where they had to be others to have it usable at once.
    pub(crate) fn restore_flags(&self, way: Way<'_>) -> Option<Message> {
        let differs = self.is_v6() && self.flags() & IFA_F_NODAD == 0;
        differs.then(|| self.message(RTM_NEWADDR, NLM_F_REPLACE, way, self.flags()))
    }

    /// Takes it from the device that had it.
    pub(crate) fn take(&self, way: Way<'_>) -> Message {
        self.message(RTM_DELADDR, 0, way, 0)
    }
}

/// The label of an address is the device's name, or begins with it; one too long for that is the name alone.
fn relabel(label: &[u8], way: Way<'_>) -> String {
    let end = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
    let label = String::from_utf8_lossy(&label[..end]);
    let name = way.to.1.as_str();
    match label.strip_prefix(way.from.1.as_str()) {
        Some(rest) if name.len() + rest.len() < libc::IFNAMSIZ => format!("{name}{rest}"),
        Some(_) => name.to_owned(),
        None => label.into_owned(),
    }
}

/// The body of an RTM_NEWROUTE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GivenRoute(Vec<u8>);

impl GivenRoute {
    /// Of `body`, if it is complete.
    pub(crate) fn new(body: Vec<u8>) -> Option<Self> {
        (body.len() >= RTMSG).then_some(Self(body))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn attrs(&self) -> Attrs<'_> {
        Attrs::new(&self.0[RTMSG..])
    }

    /// Whether it is an IPv6 one.
    pub(crate) fn is_v6(&self) -> bool {
        i32::from(self.0[0]) == libc::AF_INET6
    }

    /// Whether it leaves by a device, and is not of the kernel's own making: such come and go with the addresses.
    pub(crate) fn moves_with(&self, index: u32) -> bool {
        let by_hops =
            self.attrs().get(RTA_MULTIPATH).is_some_and(|hops| Hops(hops).any(|hop| hop_index(hop) == index));
        self.0[5] != RTPROT_KERNEL && (self.attrs().u32(RTA_OIF) == Some(index) || by_hops)
    }

    /// Whether it is a prefix of a device's link that a router has told: the kernel keeps it when the address goes.
    pub(crate) fn is_told_prefix(&self, index: u32) -> bool {
        let expires = self.attrs().get(RTA_CACHEINFO).and_then(expires).is_some();
        self.is_v6() && self.0[5] == RTPROT_KERNEL && self.attrs().u32(RTA_OIF) == Some(index) && expires
    }

    /// Whether it goes by a nexthop object of the kernel, which is bound to its device.
    pub(crate) fn has_nexthop_object(&self) -> bool {
        self.attrs().get(RTA_NH_ID).is_some()
    }

    /// Whether a router has told it.
    pub(crate) fn is_advertised(&self) -> bool {
        self.is_v6() && self.0[5] == RTPROT_RA
    }

    /// Whether it stands in for an advertised one.
    pub(crate) fn is_stand_in(&self) -> bool {
        self.is_v6() && self.0[5] == STAND_IN
    }

    /// Whether it has a gateway: then it needs the route to that first.
    pub(crate) fn has_gateway(&self) -> bool {
        let attrs = self.attrs();
        [RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH].iter().any(|attr| attrs.get(*attr).is_some())
    }

    /// The same, with a gateway taken to be on the link. The kernel keeps routes whose gateway is not reached any more,
    /// but makes none.
    pub(crate) fn on_link(&self) -> Self {
        let mut same = self.clone();
        same.0[8] |= RTNH_F_ONLINK;
        same
    }

    /// What the kernel tells routes of one table apart by: of those with the same, the first is used.
    pub(crate) fn key(&self) -> impl PartialEq + use<> {
        let attrs = self.attrs();
        let bytes = |attr| attrs.get(attr).map(<[u8]>::to_vec);
        (
            self.0[..4].to_vec(),
            self.table(),
            bytes(RTA_DST),
            bytes(RTA_SRC),
            attrs.u32(RTA_PRIORITY).unwrap_or(0),
        )
    }

    /// The same, in another table.
    pub(crate) fn in_table(&self, table: u32) -> Self {
        let mut bytes = self.0[..RTMSG].to_vec();
        bytes[4] = u8::try_from(table).unwrap_or_default();
        for (attr, value) in self.attrs().filter(|(attr, _)| *attr != RTA_TABLE) {
            push_attr(&mut bytes, attr, value);
        }
        push_attr(&mut bytes, RTA_TABLE, &table.to_ne_bytes());
        Self(bytes)
    }

    /// Its table.
    pub(crate) fn table(&self) -> u32 {
        self.attrs().u32(RTA_TABLE).unwrap_or_else(|| self.0[4].into())
    }

    /// Whether `other` has the same destination and gateway.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        let way =
            |route: &Self| [RTA_DST, RTA_GATEWAY].map(|attr| route.attrs().get(attr).map(<[u8]>::to_vec));
        (self.0[..2] == other.0[..2]) && way(self) == way(other)
    }

    fn message(&self, kind: u16, flags: u16, swap: (u32, u32), stand_in: bool) -> Message {
        let mut header = self.0[..RTMSG].to_vec();
        let onlink = header[8] & RTNH_F_ONLINK;
        header[8..].copy_from_slice(&[onlink, 0, 0, 0]);
        if stand_in {
            header[5] = STAND_IN;
        }
        let swapped = |index: u32| if index == swap.0 { swap.1 } else { index };
        let mut message = Message::new(kind, flags, &header);
        for (attr, value) in self.attrs() {
            match attr {
                RTA_CACHEINFO => {
                    if let Some(seconds) = expires(value).filter(|_| self.is_v6() && kind == RTM_NEWROUTE) {
                        message.attr_u32(RTA_EXPIRES, seconds);
                    }
                }
                RTA_OIF => {
                    let index = value.try_into().map_or(0, u32::from_ne_bytes);
                    message.attr_u32(RTA_OIF, swapped(index));
                }
                RTA_MULTIPATH => _ = message.attr(RTA_MULTIPATH, &with_hops(value, onlink, swapped)),
                RTA_PRIORITY if stand_in => {
                    let metric = value.try_into().map_or(0, u32::from_ne_bytes);
                    message.attr_u32(RTA_PRIORITY, metric.saturating_add(1));
                }
                _ => _ = message.attr(attr, value),
            }
        }
        message
    }

    /// Has it leave by the other device: in the place of the old one if that is the `first` with its key, else behind it.
    /// A route that a router has told is the kernel's to make; until the router speaks again, a worse one stands in.
    pub(crate) fn give(&self, way: Way<'_>, first: bool) -> Message {
        let in_place = first && !self.is_advertised();
        let flags = NLM_F_CREATE | if in_place { NLM_F_REPLACE } else { NLM_F_APPEND };
        self.message(RTM_NEWROUTE, flags, (way.from.0, way.to.0), self.is_advertised())
    }

    /// Takes the old one away.
    pub(crate) fn take(&self, way: Way<'_>) -> Message {
        self.message(RTM_DELROUTE, 0, (way.from.0, way.from.0), false)
    }

    /// Takes away what stands in for it by the other device.
    pub(crate) fn take_stand_in(&self, way: Way<'_>) -> Message {
        self.message(RTM_DELROUTE, 0, (way.from.0, way.to.0), true)
    }
}

fn push_attr(bytes: &mut Vec<u8>, attr: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend([length.to_ne_bytes(), attr.to_ne_bytes()].concat());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct rta_cacheinfo`: when an IPv6 route expires, in seconds from now; none if it does not.
fn expires(cacheinfo: &[u8]) -> Option<u32> {
    let ticks = cacheinfo.get(8..12)?.try_into().map(i32::from_ne_bytes).ok()?;
    u32::try_from(ticks).ok().filter(|ticks| *ticks > 0).map(|ticks| ticks.div_ceil(TICKS))
}

/// The bytes of each `struct rtnexthop` with its attributes.
struct Hops<'a>(&'a [u8]);

impl<'a> Iterator for Hops<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let hop = self.0.get(..length).filter(|_| length >= RTNEXTHOP)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(hop)
    }
}

fn hop_index(hop: &[u8]) -> u32 {
    hop.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Next hops with other devices, without what the kernel has noted about their state.
fn with_hops(hops: &[u8], onlink: u8, swapped: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hops.len());
    for hop in Hops(hops) {
        let mut hop = hop.to_vec();
        hop[2] = hop[2] & RTNH_F_ONLINK | onlink;
        let index = swapped(hop_index(&hop));
        hop[4..8].copy_from_slice(&index.to_ne_bytes());
        hop.resize(hop.len().next_multiple_of(4), 0);
        bytes.extend(hop);
    }
    bytes
}

/// The body of an RTM_NEWNEIGH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GivenNeighbour(Vec<u8>);

impl GivenNeighbour {
    /// Of `body`, if it is an entry of device `index` that tells a MAC.
    pub(crate) fn of_device(body: Vec<u8>, index: u32) -> Option<Self> {
        let number = |at: usize| body.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let of_device = body.get(4..8)? == index.to_ne_bytes();
        let idle = NUD_NOARP | NUD_FAILED | NUD_INCOMPLETE;
        let tells = number(8)? & idle == 0 && Attrs::new(body.get(NDMSG..)?).get(NDA_LLADDR).is_some();
        (of_device && tells).then_some(Self(body))
    }

    fn message(&self, kind: u16, flags: u16, index: u32) -> Message {
        let mut header = self.0[..NDMSG].to_vec();
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[10] &= NEIGHBOUR_FLAGS;
        let mut message = Message::new(kind, flags, &header);
        for (attr, value) in Attrs::new(&self.0[NDMSG..]) {
            if [NDA_DST, NDA_LLADDR, NDA_PROTOCOL].contains(&attr) {
                message.attr(attr, value);
            }
        }
        message
    }

    /// Gives it to the other device.
    pub(crate) fn give(&self, way: Way<'_>) -> Message {
        self.message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, way.to.0)
    }

    /// Takes it from the device that had it.
    pub(crate) fn take(&self, way: Way<'_>) -> Message {
        self.message(RTM_DELNEIGH, 0, way.from.0)
    }
}

//! Devices on devices: 802.1Q, macvlan, ipvlan (linux/if_link.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{
    IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO,
    IFLA_MTU, IFLA_NET_NS_FD, RTM_NEWLINK,
};
use linkspan_model::{ChildKind, IfName, IpvlanFlag, IpvlanMode, Mac, MacvlanMode};

use super::NLM_F_CREATE_EXCLUSIVE;
use super::link::{IFINFOMSG, Link, PORTS, ifinfomsg, per_family};
use crate::netlink::{Attrs, Message};

pub(super) const IFLA_VLAN_ID: u16 = 1;
pub(super) const IFLA_MACVLAN_MODE: u16 = 1;
pub(super) const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
/// MACVLAN_MODE_*, IPVLAN_MODE_* and IPVLAN_F_* (linux/if_link.h).
const MACVLAN_MODES: [(MacvlanMode, u32); 5] = [
    (MacvlanMode::Private, 1),
    (MacvlanMode::Vepa, 2),
    (MacvlanMode::Bridge, 4),
    (MacvlanMode::Passthru, 8),
    (MacvlanMode::Source, 16),
];
const IPVLAN_MODES: [(IpvlanMode, u16); 3] = [(IpvlanMode::L2, 0), (IpvlanMode::L3, 1), (IpvlanMode::L3s, 2)];
const IPVLAN_FLAGS: [(IpvlanFlag, u16); 3] =
    [(IpvlanFlag::Bridge, 0), (IpvlanFlag::Private, 1), (IpvlanFlag::Vepa, 2)];
const IPV4_DEVCONF_ARPFILTER: u16 = 13;

/// The number of a word.
fn number<W: PartialEq, N: Copy + Default>(table: &[(W, N)], word: &W) -> N {
    table.iter().find(|(known, _)| known == word).map(|(_, number)| *number).unwrap_or_default()
}

/// MACVLAN_MODE_* of a mode.
pub(super) fn macvlan_mode(mode: MacvlanMode) -> u32 {
    number(&MACVLAN_MODES, &mode)
}

/// IPVLAN_MODE_* of a mode.
pub(super) fn ipvlan_mode(mode: IpvlanMode) -> u16 {
    number(&IPVLAN_MODES, &mode)
}

/// The word of a number.
fn word<W: Copy, N: PartialEq>(table: &[(W, N)], number: &N) -> Option<W> {
    table.iter().find(|(_, known)| known == number).map(|(word, _)| *word)
}

/// Makes an 802.1Q sub-interface, up. By its group it is told from one of that name that somebody else makes.
pub(crate) fn create_vlan(name: &IfName, parent: u32, id: u16) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_LINK, parent).attr_u32(IFLA_GROUP, PORTS);
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "vlan");
        info.nest(IFLA_INFO_DATA, |data| _ = data.attr_u16(IFLA_VLAN_ID, id));
    });
    message
}

/// A macvlan or ipvlan device to be made.
pub(crate) struct NewChild<'a> {
    /// Its name.
    pub(crate) name: &'a IfName,
    /// Index of the parent here.
    pub(crate) parent: u32,
    /// What it is.
    pub(crate) kind: ChildKind,
    /// Its MTU, if not the parent's.
    pub(crate) mtu: Option<u32>,
    /// Its MAC, if it has one of its own.
    pub(crate) mac: Option<Mac>,
    /// Its group and the namespace that it is made in, if not here.
    pub(crate) inside: Option<(u32, BorrowedFd<'a>)>,
}

/// Makes a macvlan or ipvlan device, down. Without IFLA_LINK_NETNSID the kernel makes it where it belongs and takes
/// the parent from here, so that it need not be moved.
pub(crate) fn create_child(child: &NewChild<'_>) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, child.name.as_str()).attr_u32(IFLA_LINK, child.parent);
    if let Some(mtu) = child.mtu {
        message.attr_u32(IFLA_MTU, mtu);
    }
    if let Some(mac) = child.mac {
        message.attr(IFLA_ADDRESS, &mac.bytes());
    }
    if let Some((mark, namespace)) = child.inside {
        message.attr_u32(IFLA_GROUP, mark);
        message.attr_u32(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, child.kind.name());
        info.nest(IFLA_INFO_DATA, |data| match &child.kind {
            ChildKind::Macvlan(mode) => _ = data.attr_u32(IFLA_MACVLAN_MODE, number(&MACVLAN_MODES, mode)),
            ChildKind::Ipvlan(mode, flag) => {
                data.attr_u16(IFLA_IPVLAN_MODE, number(&IPVLAN_MODES, mode));
                data.attr_u16(IFLA_IPVLAN_FLAGS, number(&IPVLAN_FLAGS, flag));
            }
        });
    });
    message
}

/// Prepares a shim before it goes up: it answers ARP only for whom the host has a route through it, or the LAN would
/// take it for the host's other device.
pub(crate) fn prepare_shim(index: u32, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(index, false));
    per_family(&mut message, Some(IPV4_DEVCONF_ARPFILTER), no_link_local);
    message
}

/// What is known of a device on another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UpperLink {
    /// The device; its `peer` is the index of what it sits on.
    pub(crate) link: Link,
    /// What it is, if it is macvlan or ipvlan in a mode known here.
    pub(crate) kind: Option<ChildKind>,
    /// Its VLAN, if it is a sub-interface.
    pub(crate) vlan: Option<u16>,
}

impl UpperLink {
    /// Reads the body of an RTM_NEWLINK.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let link = Link::parse(body)?;
        let attrs = Attrs::new(body.get(IFINFOMSG..)?);
        let data = attrs.nested(IFLA_LINKINFO).nested(IFLA_INFO_DATA);
        let short = |kind| data.get(kind)?.get(..2)?.try_into().ok().map(u16::from_ne_bytes);
        let kind = match link.kind.as_deref() {
            Some("macvlan") => {
                let mode = data.u32(IFLA_MACVLAN_MODE).and_then(|mode| word(&MACVLAN_MODES, &mode));
                mode.map(ChildKind::Macvlan)
            }
            Some("ipvlan") => {
                let mode = short(IFLA_IPVLAN_MODE).and_then(|mode| word(&IPVLAN_MODES, &mode));
                let flag = short(IFLA_IPVLAN_FLAGS).and_then(|flag| word(&IPVLAN_FLAGS, &flag));
                mode.zip(flag).map(|(mode, flag)| ChildKind::Ipvlan(mode, flag))
            }
            _ => None,
        };
        let vlan = (link.kind.as_deref() == Some("vlan")).then(|| short(IFLA_VLAN_ID)).flatten();
        Some(Self { link, kind, vlan })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Length of `struct nlmsghdr`.
    const HEADER: usize = 16;

    #[test]
    fn devices_read_back() {
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let name: IfName = "eth0".parse().unwrap();
        let ipvlan = ChildKind::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Private);
        for kind in [ChildKind::Macvlan(MacvlanMode::Vepa), ipvlan] {
            let inside = Some((77, file.as_fd()));
            let child = NewChild { name: &name, parent: 5, kind, mtu: Some(1400), mac: None, inside };
            let bytes = create_child(&child).finish(1, 0);
            let read = UpperLink::parse(&bytes[HEADER..]).unwrap();
            assert_eq!((read.kind, read.link.group, read.link.peer), (Some(kind), 77, Some(5)));
        }
        let bytes = create_vlan(&"eth0.7".parse().unwrap(), 5, 7).finish(1, 0);
        let mtu = [8, 0, 4, 0, 220, 5, 0, 0];
        let read = UpperLink::parse(&[&bytes[HEADER..], &mtu[..]].concat()).unwrap();
        assert_eq!((read.vlan, read.link.peer, read.kind), (Some(7), Some(5), None));
    }
}

//! Single devices and their settings, as plugins ask for them (linux/if_link.h, linux/if_bridge.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{
    IFF_ALLMULTI, IFF_PROMISC, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME,
    IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD,
    IFLA_TXQLEN, RTM_DELLINK, RTM_NEWLINK, RTM_SETLINK,
};
use linkspan_model::{IfName, IpvlanMode, Mac, MacvlanMode, Setting};

use super::NLM_F_CREATE_EXCLUSIVE;
use super::link::{
    IFINFOMSG, IPV4_DEVCONF_ARP_NOTIFY, IPV4_DEVCONF_FORWARDING, IPV4_DEVCONF_ROUTE_LOCALNET,
    IPV4_DEVCONF_RP_FILTER, LOOSE, Link, PORTS, VETH_INFO_PEER, ifinfomsg, one_queue, per_family, settings,
};
use super::upper::{IFLA_IPVLAN_MODE, IFLA_MACVLAN_MODE, IFLA_VLAN_ID, ipvlan_mode, macvlan_mode};
use crate::netlink::{Attrs, Message};

const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
const IFLA_MACVLAN_BC_CUTOFF: u16 = 9;
const IFLA_VRF_TABLE: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;
/// The group of every device that stands inside by itself: "LU". What is not in it is not removed.
pub(crate) const FITTED: u32 = 0x4c55;
/// The group of every bridge that a network has made for itself: "LV".
pub(crate) const OWN_BRIDGES: u32 = 0x4c56;

/// A device to be made.
pub(crate) struct NewDevice<'a> {
    /// Its name.
    pub(crate) name: &'a IfName,
    /// What it is.
    pub(crate) kind: NewKind,
    /// Its MTU, if not the kernel's choice.
    pub(crate) mtu: Option<u32>,
    /// Its MAC, if not the kernel's choice.
    pub(crate) mac: Option<Mac>,
    /// Its group.
    pub(crate) group: u32,
    /// The namespace that it is made in, if not that of the socket.
    pub(crate) namespace: Option<BorrowedFd<'a>>,
}

/// What a new device is. A parent is an index where the message is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewKind {
    /// A bridge.
    Bridge,
    /// A device with a MAC of its own on a parent; how many broadcasts may wait.
    Macvlan(u32, MacvlanMode, Option<u32>, Option<i32>),
    /// A device with a parent's MAC.
    Ipvlan(u32, IpvlanMode),
    /// What of a parent bears a VLAN's tag.
    Vlan(u32, u16),
    /// A device that takes everything and gives nothing.
    Dummy,
    /// A routing domain with its table.
    Vrf(u32),
}

impl NewKind {
    /// The kernel's name of it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan(..) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
            Self::Vlan(..) => "vlan",
            Self::Dummy => "dummy",
            Self::Vrf(_) => "vrf",
        }
    }

    const fn parent(self) -> Option<u32> {
        match self {
            Self::Macvlan(parent, ..) | Self::Ipvlan(parent, _) | Self::Vlan(parent, _) => Some(parent),
            Self::Bridge | Self::Dummy | Self::Vrf(_) => None,
        }
    }
}

/// Makes a device, down.
pub(crate) fn create(device: &NewDevice<'_>) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, device.name.as_str()).attr_u32(IFLA_GROUP, device.group);
    if let Some(parent) = device.kind.parent() {
        message.attr_u32(IFLA_LINK, parent);
    }
    if let Some(mtu) = device.mtu {
        message.attr_u32(IFLA_MTU, mtu);
    }
    if let Some(mac) = device.mac {
        message.attr(IFLA_ADDRESS, &mac.bytes());
    }
    if let Some(namespace) = device.namespace {
        message.attr_u32(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, device.kind.name());
        info.nest(IFLA_INFO_DATA, |data| match device.kind {
            NewKind::Macvlan(_, mode, queue, cutoff) => {
                data.attr_u32(IFLA_MACVLAN_MODE, macvlan_mode(mode));
                if let Some(queue) = queue {
                    data.attr_u32(IFLA_MACVLAN_BC_QUEUE_LEN, queue);
                }
                if let Some(cutoff) = cutoff {
                    data.attr_u32(IFLA_MACVLAN_BC_CUTOFF, cutoff.cast_unsigned());
                }
            }
            NewKind::Ipvlan(_, mode) => _ = data.attr_u16(IFLA_IPVLAN_MODE, ipvlan_mode(mode)),
            NewKind::Vlan(_, id) => _ = data.attr_u16(IFLA_VLAN_ID, id),
            NewKind::Vrf(table) => _ = data.attr_u32(IFLA_VRF_TABLE, table),
            NewKind::Bridge | NewKind::Dummy => {}
        });
    });
    message
}

/// Makes a veth pair whose sides are both here and down: one is called `name`, the other is to be a port of a bridge. The
/// kernel numbers the other first, by which people tell that they belong together.
pub(crate) fn create_leg(name: &IfName, mtu: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_MTU, mtu);
    one_queue(&mut message);
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.raw(&ifinfomsg(0, false));
                peer.attr_u32(IFLA_MTU, mtu).attr_u32(IFLA_GROUP, PORTS);
                one_queue(peer);
            });
        });
    });
    message
}

/// Pins a bridge's MAC to the one that it has, lets it route to 127.0.0.0/8 (see
/// [`configure_bridge`](super::link::configure_bridge)), and gives it an MTU of its own.
pub(crate) fn pin_bridge(index: u32, mac: Mac, mtu: Option<u32>) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr(IFLA_ADDRESS, &mac.bytes());
    if let Some(mtu) = mtu {
        message.attr_u32(IFLA_MTU, mtu);
    }
    per_family(&mut message, Some(IPV4_DEVCONF_ROUTE_LOCALNET), false);
    message
}

/// Sets what a network's own bridge needs before it goes up, as [`pin_bridge`]: it takes packets from anywhere, whatever way
/// leads back, and routes them or not. With `no_link_local` it makes no IPv6 address by itself.
pub(crate) fn furnish_bridge(index: u32, mac: Mac, mtu: u32, forwards: bool, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr(IFLA_ADDRESS, &mac.bytes()).attr_u32(IFLA_MTU, mtu);
    let mut conf = vec![(IPV4_DEVCONF_ROUTE_LOCALNET, 1), (IPV4_DEVCONF_RP_FILTER, LOOSE)];
    conf.extend((!forwards).then_some((IPV4_DEVCONF_FORWARDING, 0)));
    settings(&mut message, &conf, no_link_local);
    message
}

/// Has a bridge tell VLANs apart.
pub(crate) fn filter_vlans(index: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(index, false));
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "bridge");
        info.nest(IFLA_INFO_DATA, |data| _ = data.attr_u8(IFLA_BR_VLAN_FILTERING, 1));
    });
    message
}

/// `struct ifinfomsg` for the VLANs of a bridge port.
fn vlans(kind: u16, port: u32, infos: &[(u16, u16)]) -> Message {
    let mut header = ifinfomsg(port, false);
    header[0] = libc::AF_BRIDGE as u8;
    let mut message = Message::new(kind, 0, &header);
    message.nest(IFLA_AF_SPEC, |spec| {
        for (flags, vlan) in infos {
            // `struct bridge_vlan_info`
            spec.attr(IFLA_BRIDGE_VLAN_INFO, &[flags.to_ne_bytes(), vlan.to_ne_bytes()].concat());
        }
    });
    message
}

/// Has frames without a tag be of a VLAN at a bridge port, and leave it without a tag.
pub(crate) fn native_vlan(port: u32, vlan: u16) -> Message {
    vlans(RTM_SETLINK, port, &[(BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, vlan)])
}

/// Lets VLANs from `first` to `last` through a bridge port, with their tags.
pub(crate) fn tagged_vlans(port: u32, first: u16, last: u16) -> Message {
    if first == last {
        return vlans(RTM_SETLINK, port, &[(0, first)]);
    }
    vlans(RTM_SETLINK, port, &[(BRIDGE_VLAN_INFO_RANGE_BEGIN, first), (BRIDGE_VLAN_INFO_RANGE_END, last)])
}

/// Takes a VLAN from a bridge port.
pub(crate) fn delete_vlan(port: u32, vlan: u16) -> Message {
    vlans(RTM_DELLINK, port, &[(0, vlan)])
}

/// Sets up the side on the host of a veth pair that is no bridge port: it routes to 127.0.0.0/8, as ports published
/// there need it.
pub(crate) fn configure_routed(name: &IfName, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, name.as_str());
    per_family(&mut message, Some(IPV4_DEVCONF_ROUTE_LOCALNET), no_link_local);
    message
}

/// Has a device tell its IPv4 addresses to the neighbours whenever its MAC is set.
pub(crate) fn notify(index: u32) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    per_family(&mut message, Some(IPV4_DEVCONF_ARP_NOTIFY), false);
    message
}

/// Changes a device's IFF_ flags.
fn switch(name: &IfName, flag: i32, on: bool) -> Message {
    let flag = flag.cast_unsigned();
    let mut header = ifinfomsg(0, false);
    header[8..12].copy_from_slice(&if on { flag } else { 0 }.to_ne_bytes());
    header[12..16].copy_from_slice(&flag.to_ne_bytes());
    let mut message = Message::new(RTM_SETLINK, 0, &header);
    message.attr_str(IFLA_IFNAME, name.as_str());
    message
}

/// Sets a device up or down.
pub(crate) fn set_up(name: &IfName, up: bool) -> Message {
    switch(name, IFF_UP, up)
}

/// Sets a device as `to` says.
pub(crate) fn set(name: &IfName, to: Setting) -> Message {
    let mut message = match to {
        Setting::Promisc(on) => return switch(name, IFF_PROMISC, on),
        Setting::AllMulti(on) => return switch(name, IFF_ALLMULTI, on),
        _ => switch(name, 0, false),
    };
    match to {
        Setting::Mac(mac) => _ = message.attr(IFLA_ADDRESS, &mac.bytes()),
        Setting::Mtu(mtu) => _ = message.attr_u32(IFLA_MTU, mtu),
        Setting::TxQueue(frames) => _ = message.attr_u32(IFLA_TXQLEN, frames),
        Setting::Promisc(_) | Setting::AllMulti(_) => {}
    }
    message
}

/// Puts a device into a group, and under another by its index if one is given.
pub(crate) fn place(name: &IfName, group: Option<u32>, master: Option<u32>) -> Message {
    let mut message = switch(name, 0, false);
    for (kind, value) in [(IFLA_GROUP, group), (IFLA_MASTER, master)] {
        if let Some(value) = value {
            message.attr_u32(kind, value);
        }
    }
    message
}

/// Moves a device into a namespace, where it has a name and an alias, down.
pub(crate) fn shift(index: u32, namespace: BorrowedFd<'_>, name: &str, alias: &str) -> Message {
    let mut header = ifinfomsg(index, false);
    header[12..16].copy_from_slice(&IFF_UP.cast_unsigned().to_ne_bytes());
    let mut message = Message::new(RTM_SETLINK, 0, &header);
    message.attr_u32(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
    message.attr_str(IFLA_IFNAME, name).attr(IFLA_IFALIAS, alias.as_bytes());
    message
}

/// What is known of a device, as far as fixtures are about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    /// The device.
    pub(crate) link: Link,
    /// Another name, as people gave it.
    pub(crate) alias: Option<String>,
    /// How many frames may wait to be sent.
    pub(crate) tx_queue: u32,
    /// Whether it was told to take every frame.
    pub(crate) promisc: bool,
    /// Whether it was told to take every multicast.
    pub(crate) allmulti: bool,
    /// Whether it is a bridge that tells VLANs apart.
    pub(crate) vlan_filtering: bool,
    /// Of a bridge the VLAN that new ports are in.
    pub(crate) default_vlan: u16,
    /// The table of a VRF.
    pub(crate) vrf_table: Option<u32>,
}

impl Device {
    /// Reads the body of an RTM_NEWLINK.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let link = Link::parse(body)?;
        let flags = i32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
        let attrs = Attrs::new(body.get(IFINFOMSG..)?);
        let data = attrs.nested(IFLA_LINKINFO).nested(IFLA_INFO_DATA);
        let of_kind = |kind: &str| if link.kind.as_deref() == Some(kind) { data } else { Attrs::new(&[]) };
        let vlan = of_kind("bridge").get(IFLA_BR_VLAN_DEFAULT_PVID).and_then(|bytes| bytes.try_into().ok());
        Some(Self {
            alias: attrs.text(IFLA_IFALIAS),
            tx_queue: attrs.u32(IFLA_TXQLEN).unwrap_or_default(),
            promisc: flags & IFF_PROMISC != 0,
            allmulti: flags & IFF_ALLMULTI != 0,
            vlan_filtering: of_kind("bridge").u8(IFLA_BR_VLAN_FILTERING) == Some(1),
            default_vlan: vlan.map_or(0, u16::from_ne_bytes),
            vrf_table: of_kind("vrf").u32(IFLA_VRF_TABLE),
            link,
        })
    }

    /// Its kind in words.
    pub(crate) fn kind(&self) -> &str {
        self.link.kind.as_deref().unwrap_or("network card")
    }
}

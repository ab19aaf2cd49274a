//! Links: bridges, veth pairs, and what is known of a device (linux/if_link.h, linux/rtnetlink.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{
    IFF_LOOPBACK, IFF_LOWER_UP, IFF_NOARP, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_GROUP,
    IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINK,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES,
    IFLA_OPERSTATE, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK,
};
use linkspan_model::{IfName, Mac};

use super::{NLM_F_CREATE_EXCLUSIVE, NLM_F_DUMP};
use crate::netlink::{Attrs, Message};

/// The peer's `struct ifinfomsg` and attributes (linux/veth.h).
pub(super) const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// The user who may open a tap (linux/if_link.h).
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
/// linux/if_bridge.h
const BR_STATE_FORWARDING: u8 = 3;
pub(super) const IPV4_DEVCONF_FORWARDING: u16 = 1;
pub(super) const IPV4_DEVCONF_RP_FILTER: u16 = 8;
const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;
pub(super) const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;
pub(super) const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// The loose mode of IPV4_DEVCONF_RP_FILTER (Documentation/networking/ip-sysctl.rst).
pub(super) const LOOSE: u32 = 2;
/// RFC 2863 operational status (linux/if.h).
const IF_OPER_UNKNOWN: u8 = 0;
const IF_OPER_UP: u8 = 6;
/// The group of every device that is a port of a bridge of ours: "LS". The firewall knows them by it.
pub(crate) const PORTS: u32 = 0x4c53;
/// The group of every bridge of ours on which the host has no address.
pub(crate) const SWITCHES: u32 = 0x4c54;
/// BR_MIN_FORWARD_DELAY (net/bridge/br_private_stp.h), in hundredths of a second.
const SHORTEST_DELAY: u32 = 200;
/// Length of `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;

/// `struct ifinfomsg`: family, padding, device type, index, flags, and which flags to change.
pub(super) fn ifinfomsg(index: u32, up: bool) -> [u8; IFINFOMSG] {
    let flags = if up { IFF_UP.cast_unsigned() } else { 0 };
    let mut header = [0; IFINFOMSG];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// Sets a device up.
pub(crate) fn up_by_name(name: &str) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, name);
    message
}

/// Sets a device up.
pub(crate) fn up(index: u32) -> Message {
    Message::new(RTM_SETLINK, 0, &ifinfomsg(index, true))
}

/// Sets a device down.
pub(crate) fn down(index: u32) -> Message {
    let mut header = ifinfomsg(index, false);
    header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    Message::new(RTM_SETLINK, 0, &header)
}

/// Sets a device's MAC. Setting the one that it has makes the kernel announce its addresses, if it was told to.
pub(crate) fn set_mac(index: u32, mac: Mac) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr(IFLA_ADDRESS, &mac.bytes());
    message
}

/// Makes a device a port of the bridge with index `master`; of none with 0.
pub(crate) fn set_master(index: u32, master: u32) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr_u32(IFLA_MASTER, master);
    message
}

/// Makes a bridge, down. With `stp` it speaks the spanning tree protocol, with the shortest delay that the kernel lets
/// it have.
pub(crate) fn create_bridge(name: &IfName, mac: Mac, stp: bool) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr(IFLA_ADDRESS, &mac.bytes());
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "bridge");
        if stp {
            info.nest(IFLA_INFO_DATA, |data| {
                data.attr_u32(IFLA_BR_FORWARD_DELAY, SHORTEST_DELAY);
                data.attr_u32(IFLA_BR_STP_STATE, 1);
            });
        }
    });
    message
}

/// Has the host take no part in what passes a bridge: it answers no ARP there, and the firewall does not track it.
pub(crate) fn make_switch(index: u32) -> Message {
    let mut header = ifinfomsg(index, false);
    let flags = IFF_NOARP.cast_unsigned().to_ne_bytes();
    header[8..12].copy_from_slice(&flags);
    header[12..16].copy_from_slice(&flags);
    let mut message = Message::new(RTM_SETLINK, 0, &header);
    message.attr_u32(IFLA_GROUP, SWITCHES);
    message
}

/// Has a bridge answer ARP for its own addresses only: where two bridges of the host are joined, both hear every
/// question, and by default each answers for every address of the host.
pub(crate) fn answer_for_own(bridge: u32) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(bridge, false));
    per_family(&mut message, Some(IPV4_DEVCONF_ARP_IGNORE), false);
    message
}

/// Sets what a bridge that was just made needs before it goes up.
///
/// Its MTU is set here and not at creation: only so does the kernel take it for the user's wish, and stop
/// following the smallest of the ports. Routing to 127.0.0.0/8 is what lets a port published on 127.0.0.1
/// be translated; the firewall keeps everyone else out of there. With `no_link_local` it makes no IPv6 address
/// by itself.
pub(crate) fn configure_bridge(index: u32, mtu: u32, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr_u32(IFLA_MTU, mtu);
    per_family(&mut message, Some(IPV4_DEVCONF_ROUTE_LOCALNET), no_link_local);
    message
}

/// IFLA_AF_SPEC: an IPv4 setting to switch on, and whether IPv6 is to make no address by itself.
pub(super) fn per_family(message: &mut Message, ipv4_conf: Option<u16>, no_link_local: bool) {
    settings(message, &ipv4_conf.map(|conf| (conf, 1)).into_iter().collect::<Vec<_>>(), no_link_local);
}

/// As [`per_family`], with IPv4 settings and what each is set to.
pub(super) fn settings(message: &mut Message, ipv4_conf: &[(u16, u32)], no_link_local: bool) {
    message.nest(IFLA_AF_SPEC, |families| {
        if !ipv4_conf.is_empty() {
            families.nest(libc::AF_INET as u16, |inet| {
                inet.nest(IFLA_INET_CONF, |values| {
                    ipv4_conf.iter().for_each(|(conf, value)| _ = values.attr_u32(*conf, *value));
                });
            });
        }
        if no_link_local {
            families.nest(libc::AF_INET6 as u16, |inet6| {
                inet6.attr_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
            });
        }
    });
}

/// The two sides of a veth pair to be made.
pub(crate) struct Veth<'a> {
    /// Name of the side here.
    pub(crate) name: &'a IfName,
    /// Index of the bridge that it becomes a port of.
    pub(crate) master: Option<u32>,
    /// MTU of both sides; the kernel's by default.
    pub(crate) mtu: Option<u32>,
    /// Name of the other side.
    pub(crate) peer_name: &'a IfName,
    /// MAC of the other side; the kernel's choice by default.
    pub(crate) peer_mac: Option<Mac>,
    /// Namespace of the other side.
    pub(crate) peer_namespace: BorrowedFd<'a>,
    /// The group of the side here.
    pub(crate) group: u32,
}

/// One queue each way, of each side of a veth pair. By itself the kernel makes as many as there are CPUs, and an object in
/// sysfs for each, only to take all but one away again (`veth_init_queues`): the cost of a pair would grow with the machine.
pub(super) fn one_queue(side: &mut Message) {
    side.attr_u32(IFLA_NUM_TX_QUEUES, 1).attr_u32(IFLA_NUM_RX_QUEUES, 1);
}

/// Makes a veth pair, both sides down, each where it belongs.
pub(crate) fn create_veth(veth: &Veth<'_>) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, veth.name.as_str());
    one_queue(&mut message);
    if let Some(mtu) = veth.mtu {
        message.attr_u32(IFLA_MTU, mtu);
    }
    if let Some(master) = veth.master {
        message.attr_u32(IFLA_MASTER, master).attr_u32(IFLA_GROUP, veth.group);
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.raw(&ifinfomsg(0, false));
                peer.attr_str(IFLA_IFNAME, veth.peer_name.as_str());
                one_queue(peer);
                if let Some(mtu) = veth.mtu {
                    peer.attr_u32(IFLA_MTU, mtu);
                }
                if let Some(mac) = veth.peer_mac {
                    peer.attr(IFLA_ADDRESS, &mac.bytes());
                }
                peer.attr_u32(IFLA_NET_NS_FD, veth.peer_namespace.as_raw_fd().cast_unsigned());
            });
        });
    });
    message
}

/// Makes a veth pair whose sides are both here and down: `up` is a port of the bridge `master`, `down` of none yet.
pub(crate) fn create_patch(up: &IfName, master: u32, down: &IfName, mtu: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, up.as_str()).attr_u32(IFLA_MTU, mtu);
    message.attr_u32(IFLA_MASTER, master).attr_u32(IFLA_GROUP, PORTS);
    one_queue(&mut message);
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.raw(&ifinfomsg(0, false));
                peer.attr_str(IFLA_IFNAME, down.as_str()).attr_u32(IFLA_MTU, mtu);
                peer.attr_u32(IFLA_GROUP, PORTS);
                one_queue(peer);
            });
        });
    });
    message
}

/// Makes a device a port of a bridge, with the MAC `mac`.
pub(crate) fn enslave(name: &IfName, master: u32, mac: Mac) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_MASTER, master);
    message.attr(IFLA_ADDRESS, &mac.bytes());
    message
}

/// Makes an ifb, down: a device to queue in what came in at another.
pub(crate) fn create_ifb(name: &IfName, mtu: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_MTU, mtu);
    message.nest(IFLA_LINKINFO, |info| _ = info.attr_str(IFLA_INFO_KIND, "ifb"));
    message
}

/// Sets a device up; with `no_link_local` it makes no IPv6 address by itself.
pub(crate) fn bring_up(index: u32, no_link_local: bool) -> Message {
    let mut message = up(index);
    if no_link_local {
        per_family(&mut message, None, true);
    }
    message
}

/// Makes a device that is down a port of a bridge, one of ours.
pub(crate) fn plug_in(name: &IfName, bridge: u32, mtu: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_MTU, mtu);
    message.attr_u32(IFLA_GROUP, PORTS).attr_u32(IFLA_MASTER, bridge);
    message
}

/// Sets up a bridge port that was just made. It needs no IPv6 address: the bridge has them.
pub(crate) fn configure_port(name: &IfName, isolated: bool, hairpin: bool, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, name.as_str());
    if isolated || hairpin {
        message.nest(IFLA_LINKINFO, |info| {
            info.attr_str(IFLA_INFO_SLAVE_KIND, "bridge");
            info.nest(IFLA_INFO_SLAVE_DATA, |port| {
                port.attr_u8(IFLA_BRPORT_MODE, hairpin.into());
                port.attr_u8(IFLA_BRPORT_ISOLATED, isolated.into());
            });
        });
    }
    if no_link_local {
        per_family(&mut message, None, true);
    }
    message
}

/// Lets a frame leave by the bridge port it came from, or no longer.
pub(crate) fn set_hairpin(name: &IfName, on: bool) -> Message {
    set_port(name, IFLA_BRPORT_MODE, on)
}

/// Keeps a bridge port from others that are isolated, or no longer.
pub(crate) fn set_isolated(name: &IfName, on: bool) -> Message {
    set_port(name, IFLA_BRPORT_ISOLATED, on)
}

fn set_port(name: &IfName, flag: u16, on: bool) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, name.as_str());
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_SLAVE_KIND, "bridge");
        info.nest(IFLA_INFO_SLAVE_DATA, |port| {
            port.attr_u8(flag, on.into());
        });
    });
    message
}

/// Prepares the side inside a sandbox before it goes up: with `announce` it tells the neighbours its IPv4 addresses
/// whenever its MAC is set, with `no_link_local` it makes no IPv6 address, which would stay unusable for two
/// seconds, by itself.
pub(crate) fn prepare_peer(index: u32, announce: bool, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    per_family(&mut message, announce.then_some(IPV4_DEVCONF_ARP_NOTIFY), no_link_local);
    message
}

/// As [`prepare_peer`], without announcements; it takes packets from anywhere, whatever way leads back (RFC 3704, loose
/// reverse path filtering), as a sandbox on several networks must.
pub(crate) fn prepare_loose_peer(index: u32, no_link_local: bool) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    settings(&mut message, &[(IPV4_DEVCONF_RP_FILTER, LOOSE)], no_link_local);
    message
}

/// Removes a device.
pub(crate) fn delete(name: &IfName) -> Message {
    let mut message = Message::new(RTM_DELLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str());
    message
}

/// Puts a device into a group.
pub(crate) fn set_group(name: &IfName, group: u32) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_GROUP, group);
    message
}

/// Says of an undecided device that it is up: `set_operstate` (net/core/rtnetlink.c) takes that where the status is unknown.
pub(crate) fn decide(index: u32) -> Message {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, false));
    message.attr_u8(IFLA_OPERSTATE, IF_OPER_UP);
    message
}

/// Removes every device of a group, with one wait for all of them.
pub(crate) fn delete_group(group: u32) -> Message {
    let mut message = Message::new(RTM_DELLINK, 0, &ifinfomsg(0, false));
    message.attr_u32(IFLA_GROUP, group);
    message
}

/// Asks for a device by name. Linux 6.8 and later first bring its operational state up to date.
pub(crate) fn get(name: &IfName) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name.as_str()).attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

/// Asks for a device by index; as for [`get`].
pub(crate) fn get_by_index(index: u32) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0, &ifinfomsg(index, false));
    message.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

/// Asks for every device.
pub(crate) fn dump() -> Message {
    let mut message = Message::new(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(0, false));
    message.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

/// Asks for the ports of a bridge.
pub(crate) fn dump_ports(bridge: u32) -> Message {
    let mut message = Message::new(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(0, false));
    message.attr_u32(IFLA_MASTER, bridge).attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

/// What is known of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its kind, as `bridge` or `veth`; none for hardware and loopback.
    pub(crate) kind: Option<String>,
    /// Its MTU in bytes.
    pub(crate) mtu: u32,
    /// Its Ethernet address.
    pub(crate) mac: Option<Mac>,
    /// Its group: [`PORTS`] for our ports.
    pub(crate) group: u32,
    /// The index of the bridge that it is a port of.
    pub(crate) master: Option<u32>,
    /// For veth the index of the other side, in that one's namespace.
    pub(crate) peer: Option<u32>,
    /// Whether it is an isolated bridge port.
    pub(crate) isolated: bool,
    /// Whether it is a bridge port with hairpin mode on.
    pub(crate) hairpin: bool,
    /// Whether it is a bridge that speaks the spanning tree protocol.
    pub(crate) stp: bool,
    /// Whether its bridge lets frames through it; not so where the spanning tree still grows.
    pub(crate) forwarding: bool,
    /// For taps the user who may open it.
    pub(crate) tap_owner: Option<u32>,
    /// Its IFF_ flags (linux/if.h).
    flags: i32,
    /// Whether packets can pass: it is up, and the kernel has acted upon its carrier.
    pub(crate) operational: bool,
    /// Whether the kernel never had a change of its carrier to act upon, and it has one.
    undecided: bool,
}

impl Link {
    /// Reads the body of an RTM_NEWLINK.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
        let attrs = Attrs::new(body.get(IFINFOMSG..)?);
        let info = attrs.nested(IFLA_LINKINFO);
        let port = info.nested(IFLA_INFO_SLAVE_DATA);
        let kind = info.text(IFLA_INFO_KIND);
        let tap = kind.as_deref() == Some("tun");
        let stp = kind.as_deref() == Some("bridge")
            && info.nested(IFLA_INFO_DATA).u32(IFLA_BR_STP_STATE).is_some_and(|state| state != 0);
        let flags = i32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
        let status = attrs.u8(IFLA_OPERSTATE);
        Some(Self {
            index,
            name: attrs.text(IFLA_IFNAME)?,
            tap_owner: tap.then(|| info.nested(IFLA_INFO_DATA).u32(IFLA_TUN_OWNER)).flatten(),
            kind,
            mtu: attrs.u32(IFLA_MTU)?,
            mac: attrs.get(IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()).map(Mac::from_bytes),
            group: attrs.u32(IFLA_GROUP).unwrap_or_default(),
            master: attrs.u32(IFLA_MASTER),
            peer: attrs.u32(IFLA_LINK),
            isolated: port.u8(IFLA_BRPORT_ISOLATED) == Some(1),
            hairpin: port.u8(IFLA_BRPORT_MODE) == Some(1),
            stp,
            forwarding: port.u8(IFLA_BRPORT_STATE) == Some(BR_STATE_FORWARDING),
            flags,
            operational: status == Some(IF_OPER_UP),
            undecided: status == Some(IF_OPER_UNKNOWN) && flags & IFF_LOWER_UP != 0,
        })
    }

    /// Whether it is up, be it without carrier.
    pub(crate) const fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether it is a bridge that has had a carrier since it went up, so that packets can pass.
    pub(crate) fn is_undecided_bridge(&self) -> bool {
        self.undecided && self.kind.as_deref() == Some("bridge")
    }

    /// Whether it is loopback.
    pub(crate) const fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }

    /// Whether it takes no part in ARP.
    pub(crate) const fn is_without_arp(&self) -> bool {
        self.flags & IFF_NOARP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{IFINFOMSG, Link, PORTS, Veth, create_veth};
    use crate::netlink::Attrs;
    use std::os::fd::AsFd;

    /// Length of `struct nlmsghdr`.
    const HEADER: usize = 16;

    #[test]
    fn a_veth_is_described_in_one_message() {
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let (name, peer_name) = ("veth0".parse().unwrap(), "eth0".parse().unwrap());
        let peer_mac = "02:42:0a:00:00:02".parse().unwrap();
        let message = create_veth(&Veth {
            name: &name,
            master: Some(7),
            mtu: Some(1400),
            peer_name: &peer_name,
            peer_mac: Some(peer_mac),
            peer_namespace: file.as_fd(),
            group: PORTS,
        });
        let bytes = message.finish(1, 0);
        let attrs = Attrs::new(&bytes[HEADER + IFINFOMSG..]);
        assert_eq!(
            (attrs.text(3).as_deref(), attrs.u32(4), attrs.u32(10)),
            (Some("veth0"), Some(1400), Some(7))
        );
        let peer = attrs.nested(18).nested(2).get(1).unwrap();
        // Linux 5.16 and later would make one for each CPU.
        for side in [attrs, Attrs::new(&peer[IFINFOMSG..])] {
            assert_eq!((side.u32(31), side.u32(32)), (Some(1), Some(1)), "queues");
        }
        let peer = Link::parse(peer).unwrap();
        assert_eq!((peer.name.as_str(), peer.mtu, peer.mac), ("eth0", 1400, Some(peer_mac)));
    }

    #[test]
    fn a_truncated_answer_is_refused() {
        assert_eq!(Link::parse(&[0; 3]), None);
        assert_eq!(Link::parse(&[0; IFINFOMSG]), None);
    }
}

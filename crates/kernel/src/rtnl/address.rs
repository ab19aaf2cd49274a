//! Addresses of devices (linux/if_addr.h).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use libc::{
    IFA_ADDRESS, IFA_BROADCAST, IFA_F_DADFAILED, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_TENTATIVE,
    IFA_FLAGS, IFA_LOCAL, RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR,
};
use linkspan_model::Mac;

use super::{NLM_F_CREATE_EXCLUSIVE, NLM_F_DUMP, address_bytes, address_from, family_number};
use crate::netlink::{Attrs, Message};

/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;

/// `struct ifaddrmsg`: family, prefix length, flags, scope, device index.
fn ifaddrmsg(family: u8, prefix: u8, scope: u8, index: u32) -> [u8; IFADDRMSG] {
    let mut header = [family, prefix, 0, scope, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

fn message(kind: u16, flags: u16, index: u32, net: IpNet, scope: u8) -> Message {
    let header = ifaddrmsg(family_number(net.addr()), net.prefix_len(), scope, index);
    let mut message = Message::new(kind, flags, &header);
    let bytes = address_bytes(net.addr());
    message.attr(IFA_LOCAL, &bytes).attr(IFA_ADDRESS, &bytes);
    message
}

/// Gives a device an address. IPv6 takes it without asking the neighbours: whoever gives it vouches for it.
pub(crate) fn add(index: u32, net: IpNet) -> Message {
    add_for(index, net, false, false)
}

/// As [`add`]; with `probed` IPv6 first asks whether somebody else has it, with `no_route` the kernel makes no route to
/// its subnet.
pub(crate) fn add_for(index: u32, net: IpNet, probed: bool, no_route: bool) -> Message {
    let mut message = message(RTM_NEWADDR, NLM_F_CREATE_EXCLUSIVE, index, net, RT_SCOPE_UNIVERSE);
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message.attr(IFA_BROADCAST, &v4.broadcast().octets());
        }
        _ => {}
    }
    let no_route = if no_route { IFA_F_NOPREFIXROUTE } else { 0 };
    let unasked = if net.addr().is_ipv6() && !probed { IFA_F_NODAD } else { 0 };
    if no_route | unasked != 0 {
        message.attr_u32(IFA_FLAGS, no_route | unasked);
    }
    message
}

/// Gives a device the IPv6 link-local address that follows from its MAC (RFC 4291, modified EUI-64), usable at once.
pub(crate) fn add_link_local(index: u32, mac: Mac) -> Message {
    let [a, b, c, d, e, f] = mac.bytes();
    let interface = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    let bits = 0xfe80 << 112 | u128::from(u64::from_be_bytes(interface));
    let net = IpNet::new_assert(Ipv6Addr::from_bits(bits).into(), 64);
    let mut message = message(RTM_NEWADDR, NLM_F_CREATE_EXCLUSIVE, index, net, RT_SCOPE_LINK);
    message.attr_u32(IFA_FLAGS, IFA_F_NODAD);
    message
}

/// Takes an address from a device.
pub(crate) fn delete(index: u32, net: IpNet) -> Message {
    message(RTM_DELADDR, 0, index, net, RT_SCOPE_UNIVERSE)
}

/// Asks for the addresses of one device, or with index 0 of all.
pub(crate) fn dump(index: u32) -> Message {
    Message::new(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(0, 0, 0, index))
}

/// An address of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// The device.
    pub(crate) index: u32,
    /// The address with its prefix length.
    pub(crate) net: IpNet,
    /// Its IFA_F_ flags.
    flags: u32,
}

impl Address {
    /// Reads the body of an RTM_NEWADDR.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let prefix = *body.get(1)?;
        let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
        let attrs = Attrs::new(body.get(IFADDRMSG..)?);
        // IFA_ADDRESS is the other end on a point-to-point link; IPv6 gives only that one elsewhere.
        let address = attrs.get(IFA_LOCAL).or_else(|| attrs.get(IFA_ADDRESS))?;
        let flags = attrs.u32(IFA_FLAGS).unwrap_or_else(|| u32::from(body[2]));
        Some(Self { index, net: IpNet::new(address_from(address)?, prefix).ok()?, flags })
    }

    /// Whether it is not in use yet: IPv6 still asks who has it.
    pub(crate) const fn is_tentative(&self) -> bool {
        self.flags & IFA_F_TENTATIVE != 0
    }

    /// Whether IPv6 has found that somebody else has it.
    pub(crate) const fn is_duplicate(&self) -> bool {
        self.flags & IFA_F_DADFAILED != 0
    }

    /// Whether it is an IPv6 link-local one.
    pub(crate) fn is_link_local(&self) -> bool {
        matches!(self.net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local())
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::{Address, add, add_link_local};
    use crate::netlink::{Attrs, Message};

    /// Length of `struct nlmsghdr`.
    const HEADER: usize = 16;

    fn body(message: Message) -> Vec<u8> {
        message.finish(1, 0)[HEADER..].to_vec()
    }

    #[test]
    fn what_is_asked_for_reads_back() {
        for text in ["10.0.0.1/24", "10.0.0.1/31", "10.0.0.1/32", "fd00::1/64", "fd00::1/128"] {
            let net: IpNet = text.parse().unwrap();
            let read = Address::parse(&body(add(7, net))).unwrap();
            assert_eq!((read.index, read.net, read.is_tentative()), (7, net, false));
        }
    }

    #[test]
    fn the_broadcast_address_is_the_last_and_point_to_point_links_have_none() {
        let broadcast = |text: &str| {
            let bytes = body(add(7, text.parse().unwrap()));
            Attrs::new(&bytes[8..]).get(4).map(<[u8]>::to_vec)
        };
        assert_eq!(broadcast("10.0.0.1/24"), Some(vec![10, 0, 0, 255]));
        assert_eq!((broadcast("10.0.0.1/31"), broadcast("10.0.0.1/32")), (None, None));
    }

    #[test]
    fn the_link_local_address_follows_from_the_mac() {
        let bytes = body(add_link_local(7, "02:42:ac:11:00:02".parse().unwrap()));
        let address = Address::parse(&bytes).unwrap();
        assert_eq!(address.net.to_string(), "fe80::42:acff:fe11:2/64");
        assert!(address.is_link_local());
    }
}

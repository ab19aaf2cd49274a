//! Routes (linux/rtnetlink.h, `struct rtmsg`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use libc::{
    RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_METRICS,
    RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTA_VIA, RTM_DELROUTE, RTM_GETROUTE,
    RTM_NEWROUTE, RTN_BLACKHOLE, RTN_LOCAL, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE, RTPROT_STATIC,
};

use linkspan_model::{Bar, Barred, Family};

use super::{NLM_F_CREATE, NLM_F_CREATE_EXCLUSIVE, NLM_F_DUMP, address_bytes, address_from, family_number};
use crate::netlink::{Attrs, Message};

/// Length of `struct rtmsg`.
const RTMSG: usize = 12;
/// Where in it the scope stands.
const SCOPE: usize = 6;
const RTNH_F_ONLINK: u8 = 4;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// `struct rtmsg`: family, prefix lengths of destination and source, TOS, table, origin, scope, type, flags.
fn rtmsg(family: u8, protocol: u8, kind: u8) -> [u8; RTMSG] {
    [family, 0, 0, 0, RT_TABLE_MAIN, protocol, RT_SCOPE_UNIVERSE, kind, 0, 0, 0, 0]
}

fn default(kind: u16, flags: u16, mut header: [u8; RTMSG], via: IpAddr, index: u32) -> Message {
    if via.is_unspecified() {
        header[SCOPE] = RT_SCOPE_LINK;
    }
    let mut message = Message::new(kind, flags, &header);
    if !via.is_unspecified() {
        message.attr(RTA_GATEWAY, &address_bytes(via));
    }
    message.attr_u32(RTA_OIF, index);
    message
}

/// Adds a default route to the main table; onto the link if the gateway is unspecified.
pub(crate) fn add_default(via: IpAddr, index: u32) -> Message {
    let header = rtmsg(family_number(via), RTPROT_STATIC, RTN_UNICAST);
    default(RTM_NEWROUTE, NLM_F_CREATE_EXCLUSIVE, header, via, index)
}

/// A route with all that it may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NewRoute {
    /// Where it leads.
    pub(crate) to: IpNet,
    /// The index of the device that it leaves by.
    pub(crate) index: u32,
    /// The next hop.
    pub(crate) via: Option<IpAddr>,
    /// Whether the next hop is taken to be on the link.
    pub(crate) onlink: bool,
    /// The source that packets take.
    pub(crate) source: Option<IpAddr>,
    /// The table.
    pub(crate) table: u32,
    /// The scope.
    pub(crate) scope: u8,
    /// The metric.
    pub(crate) priority: Option<u32>,
    /// The MTU in bytes.
    pub(crate) mtu: Option<u32>,
    /// The advertised maximum segment size in bytes.
    pub(crate) advmss: Option<u32>,
}

impl NewRoute {
    /// Reads the body of an RTM_NEWROUTE; none if it leaves by no device, or by several.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let &[family, prefix, _, _, table, _, scope, _, flags, ..] = body else { return None };
        let attrs = Attrs::new(body.get(RTMSG..)?);
        let everything = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let to = attrs.get(RTA_DST).map_or(Some(everything), address_from)?;
        let other = attrs.get(RTA_VIA).and_then(|via| address_from(via.get(2..)?));
        let metrics = attrs.nested(RTA_METRICS);
        Some(Self {
            to: IpNet::new(to, prefix).ok()?,
            index: attrs.u32(RTA_OIF)?,
            via: attrs.get(RTA_GATEWAY).and_then(address_from).or(other),
            onlink: flags & RTNH_F_ONLINK != 0,
            source: attrs.get(RTA_PREFSRC).and_then(address_from),
            table: attrs.u32(RTA_TABLE).unwrap_or_else(|| table.into()),
            scope,
            priority: attrs.u32(RTA_PRIORITY),
            mtu: metrics.u32(RTAX_MTU),
            advmss: metrics.u32(RTAX_ADVMSS),
        })
    }

    /// Adds it, also where there is another to the same place, which it then goes before; without `beside_others` it is
    /// refused there.
    pub(crate) fn add(&self, beside_others: bool) -> Message {
        let header = rtmsg(family_number(self.to.addr()), RTPROT_STATIC, RTN_UNICAST);
        let flags = if beside_others { NLM_F_CREATE } else { NLM_F_CREATE_EXCLUSIVE };
        let mut message = self.message(RTM_NEWROUTE, flags, header);
        if let Some(source) = self.source {
            message.attr(RTA_PREFSRC, &address_bytes(source));
        }
        if self.mtu.is_some() || self.advmss.is_some() {
            message.nest(RTA_METRICS, |metrics| {
                for (kind, value) in [(RTAX_MTU, self.mtu), (RTAX_ADVMSS, self.advmss)] {
                    if let Some(value) = value {
                        metrics.attr_u32(kind, value);
                    }
                }
            });
        }
        message
    }

    /// Removes it.
    pub(crate) fn delete(&self) -> Message {
        self.message(RTM_DELROUTE, 0, rtmsg(family_number(self.to.addr()), 0, 0))
    }

    fn message(&self, kind: u16, flags: u16, mut header: [u8; RTMSG]) -> Message {
        header[1] = self.to.prefix_len();
        // A table that needs more than a byte stands in RTA_TABLE alone.
        header[4] = u8::try_from(self.table).unwrap_or_default();
        header[SCOPE] = self.scope;
        header[8] = if self.onlink { RTNH_F_ONLINK } else { 0 };
        let mut message = Message::new(kind, flags, &header);
        if self.to.prefix_len() > 0 {
            message.attr(RTA_DST, &address_bytes(self.to.addr()));
        }
        match self.via {
            Some(via) if via.is_ipv4() == self.to.addr().is_ipv4() => {
                message.attr(RTA_GATEWAY, &address_bytes(via));
            }
            // `struct rtvia`: the family, the address.
            Some(via) => {
                let family = u16::from(family_number(via)).to_ne_bytes();
                message.attr(RTA_VIA, &[family.as_slice(), &address_bytes(via)].concat());
            }
            None => {}
        }
        message.attr_u32(RTA_OIF, self.index).attr_u32(RTA_TABLE, self.table);
        if let Some(priority) = self.priority {
            message.attr_u32(RTA_PRIORITY, priority);
        }
        message
    }
}

/// Removes a default route, whoever made it.
pub(crate) fn delete_default(via: IpAddr, index: u32) -> Message {
    default(RTM_DELROUTE, 0, rtmsg(family_number(via), 0, 0), via, index)
}

/// A destination in the main table that nothing leads to; there may be others to the same place.
pub(crate) fn bar(barred: &Barred) -> Message {
    barring(RTM_NEWROUTE, NLM_F_CREATE, RTPROT_STATIC, barred)
}

/// Removes it.
pub(crate) fn unbar(barred: &Barred) -> Message {
    barring(RTM_DELROUTE, 0, 0, barred)
}

fn barring(message: u16, flags: u16, protocol: u8, Barred { to, how, priority }: &Barred) -> Message {
    let kind = match how {
        Bar::Blackhole => RTN_BLACKHOLE,
        Bar::Unreachable => RTN_UNREACHABLE,
        Bar::Prohibit => RTN_PROHIBIT,
    };
    let mut header = rtmsg(family_number(to.addr()), protocol, kind);
    header[1] = to.prefix_len();
    let mut message = Message::new(message, flags, &header);
    if to.prefix_len() > 0 {
        message.attr(RTA_DST, &address_bytes(to.network()));
    }
    if let Some(priority) = priority {
        message.attr_u32(RTA_PRIORITY, *priority);
    }
    message
}

fn to_host(kind: u16, flags: u16, to: IpAddr, index: u32) -> Message {
    let mut header = rtmsg(family_number(to), RTPROT_STATIC, RTN_UNICAST);
    header[1] = if to.is_ipv4() { 32 } else { 128 };
    header[SCOPE] = RT_SCOPE_LINK;
    let mut message = Message::new(kind, flags, &header);
    message.attr(RTA_DST, &address_bytes(to)).attr_u32(RTA_OIF, index);
    message
}

/// Adds a route to one address that is on a device's link, used from the address `source`.
pub(crate) fn add_to_host(to: IpAddr, index: u32, source: IpAddr) -> Message {
    let mut message = to_host(RTM_NEWROUTE, NLM_F_CREATE_EXCLUSIVE, to, index);
    message.attr(RTA_PREFSRC, &address_bytes(source));
    message
}

/// Removes such a route.
pub(crate) fn delete_to_host(to: IpAddr, index: u32) -> Message {
    to_host(RTM_DELROUTE, 0, to, index)
}

/// Asks for the unicast routes of all tables, both families.
pub(crate) fn dump() -> Message {
    Message::new(RTM_GETROUTE, NLM_F_DUMP, &rtmsg(0, 0, RTN_UNICAST))
}

/// Asks for the IPv6 addresses that are the host's own by way of a device, as routes.
pub(crate) fn dump_local6(index: u32) -> Message {
    let mut header = rtmsg(libc::AF_INET6 as u8, 0, RTN_LOCAL);
    header[4] = RT_TABLE_LOCAL;
    header[6] = 0;
    let mut message = Message::new(RTM_GETROUTE, NLM_F_DUMP, &header);
    message.attr_u32(RTA_OIF, index);
    message
}

/// The destination of an answer to [`dump_local6`].
pub(crate) fn destination(body: &[u8]) -> Option<IpAddr> {
    address_from(Attrs::new(body.get(RTMSG..)?).get(RTA_DST)?)
}

/// Asks how a packet to `address` would go.
pub(crate) fn lookup(address: IpAddr) -> Message {
    let family = family_number(address);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let mut message = Message::new(RTM_GETROUTE, 0, &[family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.attr(RTA_DST, &address_bytes(address));
    message
}

/// Whether the answer to [`lookup`] says that the address is one of this namespace's own.
pub(crate) fn is_local(body: &[u8]) -> bool {
    body.get(7) == Some(&RTN_LOCAL)
}

/// The device that a packet leaves by, from the answer to [`lookup`].
pub(crate) fn leaves_by(body: &[u8]) -> Option<u32> {
    Attrs::new(body.get(RTMSG..)?).u32(RTA_OIF)
}

/// A route of the main table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// Its family.
    pub(crate) family: Family,
    /// Where it leads; none for a default route.
    pub(crate) destination: Option<IpNet>,
    /// The next hop.
    pub(crate) gateway: Option<IpAddr>,
    /// The device, the first one of several.
    pub(crate) index: Option<u32>,
}

impl Route {
    /// The gateway, unspecified if the route leads onto the link.
    pub(crate) fn via(&self) -> IpAddr {
        self.gateway.unwrap_or(match self.family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        })
    }

    /// Reads the body of an RTM_NEWROUTE; none if it is of another table.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let (family, prefix, table) = (*body.first()?, *body.get(1)?, *body.get(4)?);
        let family = match i32::from(family) {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return None,
        };
        let attrs = Attrs::new(body.get(RTMSG..)?);
        let destination = match attrs.get(RTA_DST) {
            Some(bytes) => Some(IpNet::new(address_from(bytes)?, prefix).ok()?),
            None => None,
        };
        let index = attrs.u32(RTA_OIF).or_else(|| first_hop(attrs.get(RTA_MULTIPATH)?));
        let gateway = attrs.get(RTA_GATEWAY).and_then(address_from);
        (table == RT_TABLE_MAIN).then_some(Self { family, destination, gateway, index })
    }
}

/// The device of the first `struct rtnexthop`: length, flags, hops, device index.
fn first_hop(hops: &[u8]) -> Option<u32> {
    hops.get(4..8)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{Family, NewRoute, Route, add_default};

    #[test]
    fn a_route_reads_back_with_all_that_it_has() {
        let route = NewRoute {
            to: "10.9.0.0/16".parse().unwrap(),
            index: 3,
            via: Some("fe80::1".parse().unwrap()),
            onlink: true,
            source: Some("10.1.0.2".parse().unwrap()),
            table: 1000,
            scope: 0,
            priority: Some(7),
            mtu: Some(1300),
            advmss: None,
        };
        assert_eq!(NewRoute::parse(&route.add(false).finish(1, 0)[16..]), Some(route));
        let default = NewRoute { to: "::/0".parse().unwrap(), via: None, mtu: None, ..route };
        assert_eq!(NewRoute::parse(&default.add(true).finish(1, 0)[16..]), Some(default));
    }

    #[test]
    fn a_default_route_reads_back() {
        let via = "10.0.0.1".parse().unwrap();
        let bytes = add_default(via, 3).finish(1, 0);
        let route = Route::parse(&bytes[16..]);
        assert_eq!(
            route,
            Some(Route { family: Family::V4, destination: None, gateway: Some(via), index: Some(3) })
        );
        assert_eq!(Route::parse(&bytes[16..20]), None);
    }
}

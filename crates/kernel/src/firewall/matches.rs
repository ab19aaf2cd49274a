//! The matches of the rules, named as `nft` writes them.

use std::net::Ipv6Addr;

use crate::rtnl::link::{PORTS, SWITCHES};

use super::expr::{Checksum, Ct, Fib, Header, Meta, Rule};

// linux/netfilter.h
pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const NFPROTO_IPV6: u8 = 10;
// linux/netfilter/nf_conntrack_common.h: IP_CT_DIR_REPLY
const REPLY: u8 = 1;
// linux/rtnetlink.h
const RTN_LOCAL: u32 = 2;
// linux/in.h
const ICMPV6: u8 = 58;

impl Rule {
    pub(super) fn nfproto(self, family: u8) -> Self {
        self.meta(Meta::Nfproto, 0).equal([family])
    }

    pub(super) fn l4proto(self, protocol: u8) -> Self {
        self.meta(Meta::L4proto, 0).equal([protocol])
    }

    pub(super) fn protocol(self, ethertype: u16) -> Self {
        self.meta(Meta::Protocol, 0).equal(ethertype.to_be_bytes())
    }

    /// Behind extension headers too: the kernel has walked them.
    pub(super) fn icmpv6_type(self, kind: u8) -> Self {
        self.l4proto(ICMPV6).payload(Header::Transport, 0, 1, 0).equal([kind])
    }

    /// `vlan id 0` in the outermost tag.
    pub(super) fn vlan_zero(self, ethertype: u16) -> Self {
        let tagged = self.payload(Header::Link, 12, 2, 0).equal(ethertype.to_be_bytes());
        tagged.payload(Header::Link, 14, 2, 0).mask([0x0f, 0xff]).equal([0, 0])
    }

    pub(super) fn iifgroup_switches(self) -> Self {
        self.meta(Meta::Iifgroup, 0).equal(SWITCHES.to_ne_bytes())
    }

    pub(super) fn oifgroup_ours(self) -> Self {
        self.meta(Meta::Oifgroup, 0).equal(PORTS.to_ne_bytes())
    }

    /// `th dport`, at the same place in TCP, UDP and SCTP.
    pub(super) fn dport(self, to: u32) -> Self {
        self.payload(Header::Transport, 2, 2, to)
    }

    pub(super) fn ip_daddr(self) -> Self {
        self.payload(Header::Network, 16, 4, 0)
    }

    pub(super) fn ip6_daddr(self) -> Self {
        self.payload(Header::Network, 24, 16, 0)
    }

    pub(super) fn ip_daddr_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV4).payload(Header::Network, 16, 1, 0).equal([127])
    }

    pub(super) fn ip_daddr_not_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV4).payload(Header::Network, 16, 1, 0).unequal([127])
    }

    pub(super) fn ip6_daddr_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV6).daddr_loopback()
    }

    /// `ip6 daddr ::1` where there is IPv6 only.
    pub(super) fn daddr_loopback(self) -> Self {
        self.ip6_daddr().equal(Ipv6Addr::LOCALHOST.octets())
    }

    pub(super) fn ct_reply(self) -> Self {
        self.ct(Ct::Direction).equal([REPLY])
    }

    /// The first two bytes of TCP, UDP and SCTP, from register 0.
    pub(super) fn set_source_port(self, checksum_at: u32, checksum: Checksum) -> Self {
        self.set_payload(Header::Transport, 0, 2, checksum_at, checksum)
    }

    pub(super) fn set_ip6_saddr(self) -> Self {
        self.set_payload(Header::Network, 8, 16, 0, Checksum::Pseudoheader)
    }

    pub(super) fn ip6_daddr_not_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV6).ip6_daddr().unequal(Ipv6Addr::LOCALHOST.octets())
    }

    pub(super) fn ip6_saddr_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV6).payload(Header::Network, 8, 16, 0).equal(Ipv6Addr::LOCALHOST.octets())
    }

    pub(super) fn ip_saddr_loopback(self) -> Self {
        self.nfproto(NFPROTO_IPV4).payload(Header::Network, 12, 1, 0).equal([127])
    }

    pub(super) fn ip_daddr_within(self, set: &'static str) -> Self {
        self.nfproto(NFPROTO_IPV4).ip_daddr().within(set)
    }

    pub(super) fn ip_daddr_not_within(self, set: &'static str) -> Self {
        self.ip_daddr().not_within(set)
    }

    pub(super) fn ip_saddr_within(self, set: &'static str) -> Self {
        self.nfproto(NFPROTO_IPV4).payload(Header::Network, 12, 4, 0).within(set)
    }

    /// Neither multicast nor broadcast, which are seen here where bridged packets are.
    pub(super) fn ip_daddr_to_one(self) -> Self {
        let unicast = self.ip_daddr().mask([0xf0, 0, 0, 0]).unequal([0xe0, 0, 0, 0]);
        unicast.ip_daddr().unequal([0xff; 4])
    }

    pub(super) fn ip6_daddr_within(self, set: &'static str) -> Self {
        self.nfproto(NFPROTO_IPV6).ip6_daddr().within(set)
    }

    pub(super) fn ip6_daddr_not_within(self, set: &'static str) -> Self {
        self.ip6_daddr().not_within(set)
    }

    pub(super) fn ip6_saddr_within(self, set: &'static str) -> Self {
        self.nfproto(NFPROTO_IPV6).payload(Header::Network, 8, 16, 0).within(set)
    }

    pub(super) fn ip6_daddr_to_one(self) -> Self {
        self.payload(Header::Network, 24, 1, 0).unequal([0xff])
    }

    pub(super) fn daddr_local(self) -> Self {
        self.fib_type(Fib::Destination).equal(RTN_LOCAL.to_ne_bytes())
    }

    pub(super) fn saddr_not_local(self) -> Self {
        self.fib_type(Fib::Source).unequal(RTN_LOCAL.to_ne_bytes())
    }

    pub(super) fn no_iif(self) -> Self {
        self.meta(Meta::Iif, 0).equal([0; 4])
    }

    pub(super) fn iifname(self, set: &'static str) -> Self {
        self.meta(Meta::Iifname, 0).within(set)
    }

    pub(super) fn iifname_not(self, set: &'static str) -> Self {
        self.meta(Meta::Iifname, 0).not_within(set)
    }

    pub(super) fn oifname(self, set: &'static str) -> Self {
        self.meta(Meta::Oifname, 0).within(set)
    }

    pub(super) fn oifname_not(self, set: &'static str) -> Self {
        self.meta(Meta::Oifname, 0).not_within(set)
    }

    pub(super) fn iifname_oifname(self, set: &'static str) -> Self {
        self.meta(Meta::Iifname, 0).meta(Meta::Oifname, 4).within(set)
    }

    pub(super) fn iifname_oifname_not(self, set: &'static str) -> Self {
        self.meta(Meta::Iifname, 0).meta(Meta::Oifname, 4).not_within(set)
    }

    /// Neither into a bridge of ours nor back into the one it came from.
    pub(super) fn leaves(self) -> Self {
        self.oifname_not("bridges").iifname_oifname_not("same_bridge")
    }

    /// To the outside, with the address that it takes there in register 0.
    pub(super) fn outbound(self, map: &'static str) -> Self {
        self.leaves().meta(Meta::Iifname, 0).map(map)
    }

    pub(super) fn iifname_ether_saddr_not(self, set: &'static str) -> Self {
        self.meta(Meta::Iifname, 0).payload(Header::Link, 6, 6, 4).not_within(set)
    }
}

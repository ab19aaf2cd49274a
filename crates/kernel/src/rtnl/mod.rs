//! The messages of rtnetlink that Linkspan sends and reads: links, addresses, routes, queues.

use std::net::IpAddr;

pub(crate) mod address;
pub(crate) mod carry;
pub(crate) mod device;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod qdisc;
pub(crate) mod route;
pub(crate) mod rule;
pub(crate) mod upper;

/// For dumps: every object, or every one that the header and attributes of the request select.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// Make it.
const NLM_F_CREATE: u16 = 0x400;
/// Fail if it exists; make it if it does not.
const NLM_F_CREATE_EXCLUSIVE: u16 = 0x200 | 0x400;
/// Make it if it does not exist, put it in the place of what does.
const NLM_F_CREATE_REPLACE: u16 = 0x100 | 0x400;

fn family_number(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u8
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

fn address_from(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

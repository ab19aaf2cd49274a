//! Neighbours: ARP and NDP entries, and the forwarding databases of bridges (linux/neighbour.h, `struct ndmsg`).

use std::net::IpAddr;

use libc::{
    NDA_DST, NDA_LLADDR, NDA_MASTER, NUD_NOARP, NUD_PERMANENT, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH,
};
use linkspan_model::Mac;

use super::{NLM_F_CREATE_REPLACE, NLM_F_DUMP, address_bytes, address_from, family_number};
use crate::netlink::{Attrs, Message};

/// Length of `struct ndmsg`.
const NDMSG: usize = 12;

/// Asks for the ARP and NDP entries of every device.
pub(crate) fn dump() -> Message {
    Message::new(RTM_GETNEIGH, NLM_F_DUMP, &[0; NDMSG])
}

/// Asks for the forwarding database of a bridge.
pub(crate) fn dump_fdb(bridge: u32) -> Message {
    let mut header = [0; NDMSG];
    header[0] = libc::AF_BRIDGE as u8;
    let mut message = Message::new(RTM_GETNEIGH, NLM_F_DUMP, &header);
    message.attr_u32(NDA_MASTER, bridge);
    message
}

/// `struct ndmsg`: family, padding, device, state, flags, type.
fn ndmsg(address: IpAddr, index: u32, state: u16) -> [u8; NDMSG] {
    let mut header = [0; NDMSG];
    header[0] = family_number(address);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header
}

/// Writes down for good who has `address` on a device: nobody is asked.
pub(crate) fn set(address: IpAddr, index: u32, mac: Mac) -> Message {
    let header = ndmsg(address, index, NUD_PERMANENT);
    let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE_REPLACE, &header);
    message.attr(NDA_DST, &address_bytes(address)).attr(NDA_LLADDR, &mac.bytes());
    message
}

/// Forgets who has `address` on a device.
pub(crate) fn delete(address: IpAddr, index: u32) -> Message {
    let mut message = Message::new(RTM_DELNEIGH, 0, &ndmsg(address, index, 0));
    message.attr(NDA_DST, &address_bytes(address));
    message
}

/// An entry: who is behind which device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbour {
    /// The device: of an FDB entry the port.
    pub(crate) index: u32,
    /// The IP address; an FDB entry has none.
    pub(crate) address: Option<IpAddr>,
    /// The MAC; none while it is asked for.
    pub(crate) mac: Option<Mac>,
    /// The NUD_ state bits.
    pub(crate) state: u16,
}

impl Neighbour {
    /// Reads the body of an RTM_NEWNEIGH.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
        let state = u16::from_ne_bytes(body.get(8..10)?.try_into().ok()?);
        let attrs = Attrs::new(body.get(NDMSG..)?);
        let mac = attrs.get(NDA_LLADDR).and_then(|mac| mac.try_into().ok()).map(Mac::from_bytes);
        Some(Self { index, address: attrs.get(NDA_DST).and_then(address_from), mac, state })
    }

    /// Whether it was put there and not learned: for an FDB entry, a MAC of the host's own.
    pub(crate) const fn is_permanent(&self) -> bool {
        self.state & NUD_PERMANENT != 0
    }

    /// Whether it resolves nothing: multicast, broadcast and loopback.
    pub(crate) const fn is_implied(&self) -> bool {
        self.state & NUD_NOARP != 0
    }
}

//! The kernel's list of listening sockets (linux/sock_diag.h, linux/inet_diag.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linkspan_model::{PortRange, Protocol};

use crate::netlink::{Answer, Attrs, Error, Family, Message, Socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_SKV6ONLY: u16 = 11;
const BC_S_GE: u8 = 2;
const BC_S_LE: u8 = 3;
/// Length of `struct inet_diag_sockid`.
const SOCKID: usize = 48;
/// Length of `struct inet_diag_msg`.
const MSG: usize = 4 + SOCKID + 20;

// linux/netlink.h
const NLM_F_DUMP: u16 = 0x300;
// linux/socket.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
// net/tcp_states.h: what listens; of UDP, what is not connected
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// A socket that receives what anyone sends to its port.
pub(super) struct Listener {
    pub(super) port: u16,
    /// The number of its file, by which a process can be found.
    pub(super) inode: u32,
    address: IpAddr,
    v6_only: bool,
}

impl Listener {
    /// Whether it receives what is sent to `address`, or where that is unspecified to one of the host's.
    pub(super) fn hears(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(address)) => overlap(own, address),
            (IpAddr::V6(own), IpAddr::V6(address)) => overlap(own, address) && own.to_ipv4_mapped().is_none(),
            (IpAddr::V6(own), IpAddr::V4(address)) if !self.v6_only => {
                own.is_unspecified() || own.to_ipv4_mapped().is_some_and(|own| overlap(own, address))
            }
            _ => false,
        }
    }
}

fn overlap<A: PartialEq + Into<IpAddr> + Copy>(one: A, other: A) -> bool {
    one == other || one.into().is_unspecified() || other.into().is_unspecified()
}

/// The listeners on `ports` that might receive what is sent to `address`, by family alone.
pub(super) fn listeners(
    protocol: Protocol,
    address: IpAddr,
    ports: PortRange,
) -> Result<Vec<Listener>, Error> {
    let mut socket = Socket::open(Family::SockDiag)?;
    let families: &[u8] = if address.is_ipv4() { &[AF_INET, AF_INET6] } else { &[AF_INET6] };
    let mut found = Vec::new();
    for family in families {
        let answers = socket.dump(|| request(*family, protocol, ports))?;
        found.extend(answers.iter().filter_map(listener));
    }
    Ok(found)
}

/// A dump of the sockets in the right state, filtered in the kernel by port.
fn request(family: u8, protocol: Protocol, ports: PortRange) -> Message {
    let state = if protocol == Protocol::Udp { TCP_CLOSE } else { TCP_LISTEN };
    let mut header = vec![family, protocol.number(), 0, 0];
    header.extend((1_u32 << state).to_ne_bytes());
    header.resize(header.len() + SOCKID, 0);
    let mut message = Message::new(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &header);
    // Each operation is two words, and leaps over the rest of the program if it fails.
    let operation = |code: u8, leap: u16, port: u16| {
        let [low, high] = leap.to_ne_bytes();
        let [port_low, port_high] = port.to_ne_bytes();
        [code, 8, low, high, 0, 0, port_low, port_high]
    };
    let program = [operation(BC_S_GE, 20, ports.first), operation(BC_S_LE, 12, ports.last)].concat();
    message.attr(INET_DIAG_REQ_BYTECODE, &program);
    message
}

/// Reads a `struct inet_diag_msg` and the attributes behind it.
fn listener(answer: &Answer) -> Option<Listener> {
    let body = answer.body.as_slice();
    let address = match *body.first()? {
        AF_INET => <[u8; 4]>::try_from(body.get(8..12)?).map(Ipv4Addr::from).ok()?.into(),
        _ => <[u8; 16]>::try_from(body.get(8..24)?).map(Ipv6Addr::from).ok()?.into(),
    };
    Some(Listener {
        port: u16::from_be_bytes(body.get(4..6)?.try_into().ok()?),
        inode: u32::from_ne_bytes(body.get(MSG - 4..MSG)?.try_into().ok()?),
        address,
        v6_only: Attrs::new(body.get(MSG..)?).u8(INET_DIAG_SKV6ONLY) == Some(1),
    })
}

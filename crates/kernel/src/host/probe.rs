//! Asking a LAN who has an address, before somebody new takes it: ARP probes (RFC 5227) and neighbour solicitations from
//! `::` (RFC 4862).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use linkspan_model::{IfName, Mac};

use super::live_link;
use crate::child;
use crate::error::{Refusal, Result};
use crate::netlink::Socket;
use crate::packet::{ETHERNET, PacketSocket};
use crate::rtnl::route;

/// How often is asked, and the pause behind each time. Who is on the LAN answers within a few milliseconds; RFC 5227
/// waits for seconds, which nobody starts a container for.
const PROBES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

// linux/if_ether.h
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
// RFC 4861
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Where the ICMPv6 message begins in a frame without extension headers.
const MESSAGE: usize = ETHERNET + 40;

/// Which of `addresses` somebody behind `device` has, or the host itself, each with the MAC that answers for it.
pub(super) fn occupied(
    route: &mut Socket,
    device: &IfName,
    addresses: &[IpAddr],
) -> Result<Vec<(IpAddr, Mac)>> {
    let link = live_link(route, device)?;
    let mac = link.mac.unwrap_or_default();
    let (answers, _) = route.attempt(addresses.iter().map(|address| route::lookup(*address)).collect())?;
    let own = answers.iter().filter(|answer| route::is_local(&answer.body));
    let mut found: Vec<_> = own.filter_map(|answer| Some((*addresses.get(answer.index)?, mac))).collect();
    let arp = Wire::open(link.index, ETH_P_ARP)?;
    let ndp = Wire::open(link.index, ETH_P_IPV6)?;
    for _ in 0..PROBES {
        let left = |found: &[(IpAddr, Mac)]| -> Vec<IpAddr> {
            addresses
                .iter()
                .copied()
                .filter(|address| !found.iter().any(|(known, _)| known == address))
                .collect()
        };
        for address in left(&found) {
            match address {
                IpAddr::V4(v4) => arp.send(&arp_probe(mac, v4))?,
                IpAddr::V6(v6) => ndp.send(&solicitation(mac, v6))?,
            }
        }
        let deadline = Instant::now() + PAUSE;
        while !left(&found).is_empty()
            && let Some(rest) = deadline.checked_duration_since(Instant::now())
        {
            child::poll(
                [arp.0.as_fd(), ndp.0.as_fd()],
                libc::POLLIN,
                u32::try_from(rest.as_micros()).unwrap_or(0),
            );
            let claims = arp.frames(arp_claim).chain(ndp.frames(ndp_claim));
            let new: Vec<_> =
                claims.filter(|(address, by)| *by != mac && left(&found).contains(address)).collect();
            found.extend(new);
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(address, _)| *address);
    Ok(found)
}

/// The frames of one protocol on a device.
struct Wire(PacketSocket);

impl Wire {
    fn open(index: u32, protocol: u16) -> Result<Self> {
        let mut filter = if protocol == ETH_P_IPV6 { neighbours_only().to_vec() } else { Vec::new() };
        PacketSocket::open(index, protocol, &mut filter).map(Self)
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        self.0.send(frame).map_err(|errno| Refusal::from(errno).at("send a probe"))
    }

    /// What `read` finds in the frames that have come.
    fn frames<T>(&self, read: fn(&[u8]) -> Option<T>) -> impl Iterator<Item = T> {
        let mut buffer = [0; 256];
        std::iter::from_fn(move || self.0.receive(&mut buffer).map(read)).flatten()
    }
}

/// Of IPv6, lets only neighbour solicitations and advertisements through: a busy LAN would fill the queue.
fn neighbours_only() -> [libc::sock_filter; 7] {
    // linux/filter.h: BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        op(LOAD_BYTE, 0, 0, ETHERNET as u32 + 6),
        op(JUMP_EQUAL, 0, 3, ICMPV6.into()),
        op(LOAD_BYTE, 0, 0, MESSAGE as u32),
        op(JUMP_EQUAL, 2, 0, ADVERTISEMENT.into()),
        op(JUMP_EQUAL, 1, 0, SOLICITATION.into()),
        op(RETURN, 0, 0, 0),
        op(RETURN, 0, 0, u32::MAX),
    ]
}

fn ethernet(to: [u8; 6], from: Mac, protocol: u16) -> Vec<u8> {
    [to.as_slice(), &from.bytes(), &protocol.to_be_bytes()].concat()
}

/// A broadcast that asks for `address` and tells no address of the sender, so that nobody remembers one.
fn arp_probe(from: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], from, ETH_P_ARP);
    // Ethernet, IPv4, lengths 6 and 4, a request (RFC 826)
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.bytes());
    frame.extend([0; 10]);
    frame.extend(address.octets());
    frame
}

/// Whose address an ARP packet says to be whose; one that probes for an address is about to take it.
fn arp_claim(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let arp = frame.get(ETHERNET..ETHERNET + 28)?;
    let mac = Mac::from_bytes(arp[8..14].try_into().ok()?);
    let address = |at: usize| <[u8; 4]>::try_from(&arp[at..at + 4]).ok().map(Ipv4Addr::from);
    let (sender, target) = (address(14)?, address(24)?);
    Some((if sender.is_unspecified() { target } else { sender }.into(), mac))
}

fn solicitation(from: Mac, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let sum = checksum(group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet([0x33, 0x33, 0xff, a, b, c], from, ETH_P_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// The checksum of an ICMPv6 message from `::` (RFC 4443, 2.3).
fn checksum(to: Ipv6Addr, message: &[u8]) -> u16 {
    let pseudo = [&to.octets()[..], &[0, 0, 0, message.len() as u8, 0, 0, 0, ICMPV6], message].concat();
    let pairs =
        pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let sum = pairs.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Whose address a neighbour advertisement says to be whose; a solicitation from `::` is by somebody about to take it.
fn ndp_claim(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let mac = Mac::from_bytes(frame.get(6..12)?.try_into().ok()?);
    let target =
        |frame: &[u8]| <[u8; 16]>::try_from(frame.get(MESSAGE + 8..MESSAGE + 24)?).ok().map(Ipv6Addr::from);
    let source = <[u8; 16]>::try_from(frame.get(ETHERNET + 8..ETHERNET + 24)?).ok().map(Ipv6Addr::from)?;
    match *frame.get(MESSAGE)? {
        ADVERTISEMENT => {}
        SOLICITATION if source.is_unspecified() => {}
        _ => return None,
    }
    Some((target(frame)?.into(), mac))
}

#[cfg(test)]
mod tests {
    use super::{arp_claim, arp_probe, ndp_claim, solicitation};

    #[test]
    fn probes_claim_what_they_ask_for() {
        let mac = "02:42:0a:00:00:02".parse().unwrap();
        let probe = arp_probe(mac, "192.168.0.9".parse().unwrap());
        assert_eq!(probe.len(), 42);
        assert_eq!(arp_claim(&probe), Some(("192.168.0.9".parse().unwrap(), mac)));
        let probe = solicitation(mac, "2001:db8::9".parse().unwrap());
        assert_eq!((probe.len(), &probe[..6]), (78, &[0x33, 0x33, 0xff, 0, 0, 9][..]));
        assert_eq!(ndp_claim(&probe), Some(("2001:db8::9".parse().unwrap(), mac)));
        assert_eq!((arp_claim(&probe[..20]), ndp_claim(&probe[..60])), (None, None));
    }
}

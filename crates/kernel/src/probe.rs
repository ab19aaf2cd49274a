//! Looking from inside a namespace at what is reached from there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, socket,
};

use crate::child;
use crate::error::Refusal;
use crate::netns;

/// ICMP and ICMPv6 (RFC 792, RFC 4443): type of an echo request and of its reply.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
const HEADER: usize = 8;
/// How long one reply is waited for before the next request.
const INTERVAL: Duration = Duration::from_millis(200);
/// Pings of this process so far: each has an identity of its own.
static ASKED: AtomicU16 = AtomicU16::new(0);

/// Does `work` on a thread in the network namespace pinned at `pin`, or in the caller's, and waits for it.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn inside<T: Send>(pin: Option<&Path>, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
    let Some(pin) = pin else { return Ok(work()) };
    let what = || format!("enter {}", pin.display());
    let namespace = netns::at(pin).map_err(|refusal| refusal.of(what()))?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            namespace.enter().map_err(Refusal::from)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|_| Err(Refusal::new(Failure::Other, "the thread in it died")))
    })
    .map_err(|refusal: Refusal| refusal.of(what()))
}

/// Sends echo requests until one is answered; gives how long that answer took.
///
/// # Errors
/// ETIMEDOUT if none comes within `patience`; else what the kernel says, as that there is no route.
pub fn ping(address: IpAddr, patience: Duration) -> io::Result<Duration> {
    let (family, protocol, kinds) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, ECHO_V4),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, ECHO_V6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let to = SockaddrStorage::from(SocketAddr::new(address, 0));
    let identity = (std::process::id() as u16).wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
    let deadline = Instant::now() + patience;
    let mut refused = Errno::ETIMEDOUT;
    for sequence in 0.. {
        let start = Instant::now();
        match sendto(socket.as_raw_fd(), &request(kinds.0, identity, sequence), &to, MsgFlags::empty()) {
            Ok(_) => {}
            Err(errno) if start < deadline => refused = errno,
            Err(errno) => return Err(errno.into()),
        }
        let until = deadline.min(start + INTERVAL);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let micros = u32::try_from(left.as_micros()).unwrap_or(u32::MAX);
            if child::poll([socket.as_fd()], libc::POLLIN, micros)[0] == 0 {
                break;
            }
            let mut packet = [0; 256];
            let length = recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT).unwrap_or_default();
            if is_reply(&packet[..length], address, kinds.1, identity, sequence) {
                return Ok(start.elapsed());
            }
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(refused.into())
}

/// Of ICMPv6 the kernel makes the checksum (RFC 3542), as it depends on the source address.
fn request(kind: u8, identity: u16, sequence: u16) -> [u8; HEADER] {
    let mut packet = [0; HEADER];
    packet[0] = kind;
    packet[4..6].copy_from_slice(&identity.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    packet[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet
}

/// Whether `packet` answers our request; of IPv4 it comes with its IP header.
fn is_reply(packet: &[u8], address: IpAddr, kind: u8, identity: u16, sequence: u16) -> bool {
    let body = match address {
        IpAddr::V4(from) => {
            let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
            if packet.get(12..16) != Some(&from.octets()) {
                return false;
            }
            packet.get(header..).unwrap_or_default()
        }
        IpAddr::V6(_) => packet,
    };
    body.first() == Some(&kind)
        && body.get(4..6) == Some(&identity.to_be_bytes())
        && body.get(6..8) == Some(&sequence.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_internet_checksum() {
        let packet = request(8, 0x1234, 7);
        let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
    }

    #[test]
    fn only_the_answer_counts() {
        let mut packet = vec![0x45];
        packet.resize(20, 0);
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet.extend([0, 0, 0, 0, 0x12, 0x34, 0, 7]);
        let from = "10.0.0.1".parse().unwrap();
        assert!(is_reply(&packet, from, 0, 0x1234, 7));
        assert!(!is_reply(&packet, from, 0, 0x1234, 8));
        assert!(!is_reply(&packet, "10.0.0.2".parse().unwrap(), 0, 0x1234, 7));
        assert!(!is_reply(&[], from, 0, 0x1234, 7));
    }
}

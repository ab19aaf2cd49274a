//! Ethernet frames with UDP datagrams between a client and a server, as they are before the client has an address.

use std::net::Ipv4Addr;

use linkspan_model::Mac;

const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;
const ETH_P_IP: u16 = 0x0800;
const IPPROTO_UDP: u8 = 17;
// RFC 2131, 4.1
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// The client's MAC.
    pub from_mac: Mac,
    /// The MAC that it goes to; none for all.
    pub to_mac: Option<Mac>,
    /// The client's address, unspecified if it has none.
    pub from: Ipv4Addr,
    /// The address that it goes to.
    pub to: Ipv4Addr,
}

/// The frame that has `message` in it.
pub fn wrap(way: Way, message: &[u8]) -> Vec<u8> {
    let to_mac = way.to_mac.map_or([0xff; 6], Mac::bytes);
    let mut frame = Vec::with_capacity(ETHERNET + IP + UDP + message.len());
    frame.extend(to_mac);
    frame.extend(way.from_mac.bytes());
    frame.extend(ETH_P_IP.to_be_bytes());
    let datagram = (UDP + message.len()) as u16;
    let mut header = [0; IP];
    // Version 4, a header of five words, the highest precedence that programs use (RFC 791).
    header[..2].copy_from_slice(&[0x45, 0x10]);
    header[2..4].copy_from_slice(&(IP as u16 + datagram).to_be_bytes());
    header[8..10].copy_from_slice(&[64, IPPROTO_UDP]);
    header[12..16].copy_from_slice(&way.from.octets());
    header[16..20].copy_from_slice(&way.to.octets());
    let sum = checksum(0, &header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    let mut udp = Vec::with_capacity(usize::from(datagram));
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(datagram.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(message);
    let pseudo = u32::from(IPPROTO_UDP) + u32::from(datagram) + words(&header[12..20]);
    // None is said as all ones, as zero says that there is no checksum (RFC 768).
    let sum = match checksum(pseudo, &udp) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend(udp);
    frame
}

/// The message in a frame for a client, and who sent the frame; none if there is none.
///
/// The checksum is not looked at: the kernel leaves it open in what comes from a server on the same machine.
pub fn unwrap(frame: &[u8]) -> Option<(Mac, &[u8])> {
    let mac = Mac::from_bytes(frame.get(6..12)?.try_into().ok()?);
    if frame.get(12..ETHERNET)? != ETH_P_IP.to_be_bytes() {
        return None;
    }
    let packet = frame.get(ETHERNET..)?;
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let fragment = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?) & 0x3fff;
    if first >> 4 != 4 || header < IP || fragment != 0 || *packet.get(9)? != IPPROTO_UDP {
        return None;
    }
    let total = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let udp = packet.get(header..total)?;
    let port = u16::from_be_bytes(udp.get(2..4)?.try_into().ok()?);
    let length = usize::from(u16::from_be_bytes(udp.get(4..6)?.try_into().ok()?));
    (port == CLIENT_PORT).then_some(())?;
    Some((mac, udp.get(UDP..length)?))
}

fn words(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    bytes.chunks(2).map(word).sum()
}

/// The checksum of the internet protocols (RFC 1071), begun with `sum`.
fn checksum(sum: u32, bytes: &[u8]) -> u16 {
    let sum = sum + words(bytes);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        Way {
            from_mac: "02:00:00:00:00:01".parse().unwrap(),
            to_mac: None,
            from: Ipv4Addr::UNSPECIFIED,
            to: Ipv4Addr::BROADCAST,
        }
    }

    /// A frame of ours with the ports turned round, as a server answers.
    fn reply(message: &[u8]) -> Vec<u8> {
        let mut frame = wrap(way(), message);
        let ports = ETHERNET + IP;
        frame[ports..ports + 4].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn what_is_wrapped_comes_out_again() {
        let frame = wrap(way(), b"odd");
        assert_eq!((frame.len(), &frame[..6]), (45, &[0xff; 6][..]));
        // With the checksums in, everything sums up to all ones.
        assert_eq!(checksum(0, &frame[ETHERNET..ETHERNET + IP]), 0);
        let pseudo = 17 + 11 + words(&frame[ETHERNET + 12..ETHERNET + 20]);
        assert_eq!(checksum(pseudo, &frame[ETHERNET + IP..]), 0);
        assert_eq!(unwrap(&frame), None, "that is for a server");
        let frame = reply(b"odd");
        assert_eq!(unwrap(&frame), Some((way().from_mac, &b"odd"[..])));
        // Short frames are filled up.
        assert_eq!(unwrap(&[frame.as_slice(), &[0; 15]].concat()), Some((way().from_mac, &b"odd"[..])));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_nothing() {
        let frame = reply(b"message");
        for length in 0..frame.len() {
            assert_eq!(unwrap(&frame[..length]), None, "{length}");
        }
        for (at, value) in
            [(13, 6), (14, 0x65), (14, 0x44), (20, 0x20), (21, 1), (23, 6), (37, 67), (38, 1), (39, 3)]
        {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(unwrap(&other), None, "{at}");
        }
    }
}

//! Answers that leave together.

use std::{
    io::IoSlice,
    net::{SocketAddr, UdpSocket},
    ops::Range,
    os::fd::AsRawFd,
};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

/// What one call takes: UDP_MAX_SEGMENTS of linux/udp.h, and what fits a datagram.
const SEGMENTS: usize = 64;
const OCTETS: usize = 65_000;

/// The answers to one batch of questions.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

struct Part {
    to: SocketAddr,
    at: Range<usize>,
}

impl Outgoing {
    pub fn push(&mut self, to: SocketAddr, answer: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(answer);
        self.parts.push(Part { to, at: start..self.bytes.len() });
    }

    /// Sends all of them. Those of one length for one asker pass the kernel as one (UDP_SEGMENT, udp(7)): it is there
    /// that answering costs most.
    pub fn flush(&mut self, socket: &UdpSocket) {
        self.parts.sort_unstable_by_key(|part| (part.to, part.at.len()));
        for same in self.parts.chunk_by(|a, b| a.to == b.to && a.at.len() == b.at.len()) {
            let most = (OCTETS / same[0].at.len().max(1)).clamp(1, SEGMENTS);
            for group in same.chunks(most) {
                if group.len() == 1 || !self.together(socket, group) {
                    group.iter().for_each(|part| self.alone(socket, part));
                }
            }
        }
        self.parts.clear();
        self.bytes.clear();
    }

    fn together(&self, socket: &UdpSocket, group: &[Part]) -> bool {
        let Ok(length) = u16::try_from(group[0].at.len()) else { return false };
        let mut slices = [IoSlice::new(&[]); SEGMENTS];
        for (slice, part) in slices.iter_mut().zip(group) {
            *slice = IoSlice::new(&self.bytes[part.at.clone()]);
        }
        let to = SockaddrStorage::from(group[0].to);
        let segments = [ControlMessage::UdpGsoSegments(&length)];
        sendmsg(socket.as_raw_fd(), &slices[..group.len()], &segments, MsgFlags::MSG_DONTWAIT, Some(&to))
            .is_ok()
    }

    fn alone(&self, socket: &UdpSocket, part: &Part) {
        // Who cannot be reached asks again, or is gone.
        let _ = socket.send_to(&self.bytes[part.at.clone()], part.to);
    }
}

//! Packets seen on a device.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::SystemTime;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

use crate::net::Net;
use crate::tool::shell;

/// LINKTYPE_ETHERNET (pcap-savefile(5)).
const ETHERNET: u32 = 1;
const FRAME: usize = 65_536;

/// The packets on a device from some time on, up to what a socket's queue holds (some 200).
///
/// tcpdump only reads them, and not as root: it would change to a user of its own, whom namespaces made without
/// privileges do not have.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
    device: usize,
}

impl Capture {
    /// Starts to collect the packets on `device`.
    pub fn start(net: &Net, device: &str) -> Self {
        net.enter(|| Self {
            socket: socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )
            .expect("a packet socket"),
            device: if_nametoindex(device).expect("the device's number") as usize,
        })
    }

    /// Those so far that match `filter` (pcap-filter(7)), one line each as tcpdump prints them, with MACs.
    pub fn packets(&self, filter: &str) -> Vec<String> {
        let mut file = pcap(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, FRAME as u32, ETHERNET]);
        let mut frame = vec![0; FRAME];
        let start = SystemTime::now();
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
            if from.is_some_and(|from| from.ifindex() == self.device) {
                let time = start.elapsed().unwrap_or_default();
                file.extend(pcap(&[
                    time.as_secs() as u32,
                    time.subsec_micros(),
                    length as u32,
                    length as u32,
                ]));
                file.extend(&frame[..length]);
            }
        }
        let mut decode = shell(&format!("unshare --map-user=1 tcpdump -netr - '{filter}' 2>/dev/null"));
        let mut decode = decode.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run tcpdump");
        decode.stdin.take().expect("its input").write_all(&file).expect("write packets");
        let output = decode.wait_with_output().expect("its output");
        assert!(output.status.success(), "tcpdump cannot read what was captured");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// Numbers as a pcap file has them.
fn pcap(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

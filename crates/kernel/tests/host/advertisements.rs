//! Frames by which a sandbox poses as an IPv6 router.

use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, Capture, Net, sh};
use linkspan_plan::{Element, Kernel, Step};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::steps::{create, device, host, namespace, port};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xbad);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0);
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;

/// What hides an advertisement: tags of VLAN 0, which its receiver takes off, and whether an extension header.
const GUISES: [(&[u16], bool); 9] = [
    (&[], false),
    (&[], true),
    (&[VLAN], false),
    (&[VLAN], true),
    (&[SERVICE_VLAN], false),
    (&[VLAN, VLAN], false),
    (&[SERVICE_VLAN, VLAN], false),
    (&[SERVICE_VLAN, SERVICE_VLAN], true),
    (&[VLAN, SERVICE_VLAN, VLAN], false),
];

/// The body of an advertisement of a router with a prefix to make addresses of, RFC 4861.
fn advertisement() -> Vec<u8> {
    let mut body = vec![64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    body.extend(PREFIX.octets());
    body
}

fn frame(tags: &[u16], extended: bool, kind: u8, body: &[u8]) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    const DESTINATION_OPTIONS: u8 = 60;
    let mut icmp = vec![kind, 0, 0, 0];
    icmp.extend(body);
    let length = u8::try_from(icmp.len()).unwrap();
    let mut summed = [ROUTER.octets(), ALL_NODES.octets()].concat();
    summed.extend([0, 0, 0, length, 0, 0, 0, ICMPV6]);
    summed.extend(&icmp);
    icmp[2..4].copy_from_slice(&checksum(&summed).to_be_bytes());

    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0xb, 0xad];
    tags.iter().for_each(|tag| frame.extend([tag.to_be_bytes(), [0, 0]].concat()));
    let options: &[u8] = if extended { &[ICMPV6, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
    let next = if extended { DESTINATION_OPTIONS } else { ICMPV6 };
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length + options.len() as u8, next, 255]);
    frame.extend([ROUTER.octets(), ALL_NODES.octets()].concat());
    frame.extend(options);
    frame.extend(icmp);
    frame
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Sends a frame out of a device of `net`.
fn transmit(net: &Net, device: &str, frame: &[u8]) {
    net.enter(|| {
        let link = getifaddrs()
            .unwrap()
            .find_map(|found| {
                (found.interface_name == device).then_some(found.address?.as_link_addr().copied()?)
            })
            .unwrap();
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(socket.as_raw_fd(), &link).unwrap();
        assert_eq!(send(socket.as_raw_fd(), frame, MsgFlags::empty()), Ok(frame.len()));
    });
}

/// What box2 has of IPv6, once all that was sent before has reached it; it then has none.
fn taken() -> String {
    sh("ping -c 1 -W 1 10.0.0.2");
    let taken = sh("ip -n box2 -6 address show dev eth0; ip -n box2 -6 route show dev eth0");
    sh("ip -n box2 -6 address flush dev eth0; ip -n box2 -6 route flush dev eth0");
    taken
}

/// A host with the firewall and two sandboxes: box2 without IPv6, box3 with it.
fn neighbours() -> Host {
    let mut host = host(&[]);
    host.apply(&[Step::CreateFirewall, Step::AddElement(Element::Bridge(device("br0")))]).unwrap();
    host.apply(&[namespace("box2"), create(port(2, &["10.0.0.2/24"]))]).unwrap();
    host.apply(&[namespace("box3"), create(port(3, &["10.0.0.3/24", "fd00::3/64"]))]).unwrap();
    host
}

#[test]
fn a_sandbox_cannot_give_its_neighbour_ipv6() {
    lab::run(lab::here!(), || {
        let mut host = neighbours();
        let forger = Net::pinned("box3");
        let forge = || {
            GUISES.map(|(tags, extended)| {
                transmit(&forger, "eth0", &frame(tags, extended, ADVERTISEMENT, &advertisement()));
                taken()
            })
        };
        for (guise, taken) in GUISES.iter().zip(forge()) {
            assert_eq!(taken, "", "{guise:x?}");
        }
        transmit(&Net::here(), "br0", &frame(&[], false, ADVERTISEMENT, &advertisement()));
        assert!(taken().contains("2001:db8:bad:"), "the host may");

        sh("nft delete table bridge linkspan");
        for (guise, taken) in GUISES.iter().zip(forge()) {
            assert!(taken.contains("inet6 2001:db8:bad:"), "{guise:x?} would be harmless: {taken}");
            assert!(taken.contains("default via fe80::bad"), "{guise:x?} would be harmless: {taken}");
        }
        host.apply(&[Step::DeleteFirewall, Step::CreateFirewall]).unwrap();
        assert_eq!(forge().concat(), "");
        sh("nft list ruleset > /tmp/rules.$$; nft flush ruleset; nft -f /tmp/rules.$$; rm /tmp/rules.$$");
        assert_eq!(forge().concat(), "", "in the words of nft");
    });
}

#[test]
fn a_sandbox_cannot_redirect_its_neighbour() {
    lab::run(lab::here!(), || {
        let _host = neighbours();
        let capture = Capture::start(&Net::pinned("box2"), "eth0");
        let body = [[0; 4].as_slice(), &ROUTER.octets(), &PREFIX.octets()].concat();
        let solicitation = 135;
        for kind in [REDIRECT, solicitation] {
            transmit(&Net::pinned("box3"), "eth0", &frame(&[], false, kind, &body));
        }
        taken();
        let seen = capture.packets("ip6 src fe80::bad");
        assert!(seen.len() == 1 && seen[0].contains("neighbor solicitation"), "{seen:?}");
    });
}

//! Forgetting tracked flows. Numbers from linux/netfilter/nfnetlink_conntrack.h unless another header is named.
//!
//! A flow that is tracked keeps the address it was once redirected to: of UDP, as long as anything is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use linkspan_model::{PortRange, Protocol};
use linkspan_plan::{KernelError, Step};
use nix::errno::Errno;

use crate::netlink::{Answer, Attrs, Error, Message, Socket};

use super::Firewall;
use super::element::address;
use super::error::refused;

const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;

const TUPLE_ORIG: u16 = 1;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_V4_DST: u16 = 2;
const IP_V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_DST_PORT: u16 = 3;
const FILTER_ORIG_FLAGS: u16 = 1;

// The kernel's net/netfilter/nf_conntrack_netlink.c: CTA_FILTER_FLAG()
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter.h
const NLM_F_DUMP: u16 = 0x300;
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// How many deletions go out together, so that the receive queue holds every answer.
const BATCH: usize = 64;
/// `struct nfgenmsg`, before the attributes.
const HEADER: usize = 4;

/// The flows of one step.
struct Flows {
    step: usize,
    host: IpAddr,
    ports: PortRange,
}

impl Firewall {
    /// Forgets the flows that `steps` name. Those of a family and protocol are looked for together.
    pub(super) fn flush(&mut self, steps: &[Step]) -> Result<(), KernelError> {
        let mut dumps: BTreeMap<(u8, Protocol), Vec<Flows>> = BTreeMap::new();
        for (step, flush) in steps.iter().enumerate() {
            if let Step::FlushFlows { protocol, host, ports } = flush {
                let family = if host.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
                let flows = Flows { step, host: *host, ports: *ports };
                dumps.entry((family, *protocol)).or_default().push(flows);
            }
        }
        for ((family, protocol), flows) in dumps {
            let step = flows.first().and_then(|flows| steps.get(flows.step));
            forget(&mut self.socket, family, protocol, &flows).map_err(|error| {
                let mut refused = refused(step.map(ToString::to_string).unwrap_or_default(), &error);
                if error.errno == Errno::EINVAL {
                    refused.hint =
                        Some("the kernel may lack CONFIG_NF_CT_NETLINK (nf_conntrack_netlink)".to_owned());
                }
                refused
            })?;
        }
        Ok(())
    }
}

fn forget(socket: &mut Socket, family: u8, protocol: Protocol, flows: &[Flows]) -> Result<(), Error> {
    let answers = socket.dump(|| question(family, protocol, flows))?;
    let wanted = |answer: &&Answer| {
        destination(answer).is_some_and(|(host, port)| flows.iter().any(|flows| flows.contain(host, port)))
    };
    let deletions: Vec<Message> =
        answers.iter().filter(wanted).filter_map(|answer| deletion(family, answer)).collect();
    for batch in deletions.chunks(BATCH) {
        let (_, errors) = socket.attempt(batch.to_vec())?;
        // One that is gone has ended by itself.
        if let Some(error) = errors.into_iter().find(|error| error.errno != Errno::ENOENT) {
            return Err(error);
        }
    }
    Ok(())
}

impl Flows {
    fn contain(&self, host: IpAddr, port: u16) -> bool {
        (self.host == host || self.host.is_unspecified())
            && (self.ports.first..=self.ports.last).contains(&port)
    }
}

/// A dump that the kernel narrows down to the protocol, and to a port if it is only one. Not to an address: its
/// comparison of IPv6 addresses is the wrong way round.
fn question(family: u8, protocol: Protocol, flows: &[Flows]) -> Message {
    let port = match flows {
        [only] if only.ports.count() == 1 => Some(only.ports.first),
        _ => None,
    };
    let mut message = message(CT_GET, NLM_F_DUMP, family);
    message.nest(TUPLE_ORIG, |tuple| {
        tuple.nest(TUPLE_PROTO, |proto| {
            proto.attr_u8(PROTO_NUM, protocol.number());
            if let Some(port) = port {
                proto.attr(PROTO_DST_PORT, &port.to_be_bytes());
            }
        });
    });
    let flags = FILTER_PROTO_NUM | port.map_or(0, |_| FILTER_PROTO_DST_PORT);
    message.nest(FILTER, |filter| _ = filter.attr_u32(FILTER_ORIG_FLAGS, flags));
    message
}

/// Where the first packet of a tracked flow was sent to.
fn destination(answer: &Answer) -> Option<(IpAddr, u16)> {
    let tuple = Attrs::new(answer.body.get(HEADER..)?).nested(TUPLE_ORIG);
    let ip = tuple.nested(TUPLE_IP);
    let host = address(ip.get(IP_V4_DST).or_else(|| ip.get(IP_V6_DST))?)?;
    let port = tuple.nested(TUPLE_PROTO).get(PROTO_DST_PORT)?.try_into().ok()?;
    Some((host, u16::from_be_bytes(port)))
}

/// The deletion of a flow that the kernel listed, by its tuple, and its number so that no later one is meant.
fn deletion(family: u8, answer: &Answer) -> Option<Message> {
    let attrs = Attrs::new(answer.body.get(HEADER..)?);
    let mut message = message(CT_DELETE, 0, family);
    let tuple = attrs.get(TUPLE_ORIG)?;
    message.nest(TUPLE_ORIG, |copy| _ = copy.raw(tuple)).attr(ID, attrs.get(ID)?);
    if let Some(zone) = attrs.get(ZONE) {
        message.attr(ZONE, zone);
    }
    Some(message)
}

fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(NFNL_SUBSYS_CTNETLINK << 8 | kind, flags, &[family, 0, 0, 0])
}

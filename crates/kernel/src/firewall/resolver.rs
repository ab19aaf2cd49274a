//! The table `ip linkspan` in a sandbox's namespace: it leads what is asked at 127.0.0.11, port 53, to the sockets that are
//! open at other ports there. So a program inside may serve names of its own at port 53 of every address.

use std::net::Ipv4Addr;

use linkspan_plan::KernelError;

use crate::netlink::Message;

use super::Firewall;
use super::error::refused;
use super::expr::{Header, Meta, Rule};
use super::nft::{Base, Family, Hook, add_chain, add_table, create_table, delete_table};
use super::userdata;

const CHAIN: &str = "resolver";
/// Before others translate destinations (NF_IP_PRI_NAT_DST in linux/netfilter_ipv4.h).
const PRIORITY: i32 = -100;
const DNS: u16 = 53;
// linux/netfilter.h, linux/in.h
const NFPROTO_IPV4: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where the destination is in a header of IPv4, and the destination port in one of TCP or UDP.
const DESTINATION: u32 = 16;
const DESTINATION_PORT: u32 = 2;

impl Firewall {
    /// Has what is asked at `address` answered at these ports of it, in place of any others before.
    pub(crate) fn lead_questions(
        &mut self,
        address: Ipv4Addr,
        (udp, tcp): (u16, u16),
    ) -> Result<(), KernelError> {
        // A table is removed only if there is one: whoever closes a socket soon after has to wait for that. To find out by
        // making a second one takes ten milliseconds, for which the kernel waits when it takes a transaction back.
        let left = if self.has_table(Family::Ip)? { removal() } else { Vec::new() };
        let messages = left.into_iter().chain(table(address, udp, tcp)).collect();
        let sent = self.socket.transaction(messages, None);
        sent.map_err(|error| refused("lead questions for names to where they are answered", &error))
    }

    /// Takes that away again, as far as it is there.
    pub(crate) fn leave_questions(&mut self) -> Result<(), KernelError> {
        let sent = self.socket.transaction(removal(), None);
        sent.map_err(|error| refused("remove the firewall table ip linkspan", &error))
    }
}

fn table(address: Ipv4Addr, udp: u16, tcp: u16) -> Vec<Message> {
    let base = Base { kind: "nat", hook: Hook::Output, priority: PRIORITY };
    let comment = "what is asked of the name server goes to where Linkspan answers";
    let mut messages = vec![
        create_table(Family::Ip, &userdata::of_table("linkspan")),
        add_chain(Family::Ip, CHAIN, Some(&base), &userdata::of_chain(comment)),
    ];
    messages.extend([(UDP, udp), (TCP, tcp)].map(|(protocol, port)| {
        Rule::default()
            .payload(Header::Network, DESTINATION, 4, 0)
            .equal(address.octets())
            .meta(Meta::L4proto, 0)
            .equal([protocol])
            .payload(Header::Transport, DESTINATION_PORT, 2, 0)
            .equal(DNS.to_be_bytes())
            .value(0, address.octets())
            .value(1, port.to_be_bytes())
            .dnat(NFPROTO_IPV4, Some(1))
            .append_to(Family::Ip, CHAIN)
    }));
    messages
}

/// Whether it is there is not asked; that one that is not there may be deleted is new in Linux 6.3.
fn removal() -> Vec<Message> {
    vec![add_table(Family::Ip), delete_table(Family::Ip)]
}

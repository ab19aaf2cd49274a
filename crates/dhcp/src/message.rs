//! DHCP messages, as a client writes and reads them (RFC 2131, RFC 2132).

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Decodable, Decoder, Encodable};
use ipnet::Ipv4Net;
use linkspan_model::Mac;
use serde::{Deserialize, Serialize};

use crate::lease::{FOREVER, Lease};

/// Servers for BOOTP drop shorter messages (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// Nobody renews more often, whatever a server says: seconds.
const SHORTEST_LEASE: u32 = 10;
/// What is asked for where nobody says it. Classless routes stand before routers (RFC 3442).
const ASKED: [OptionCode; 13] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::StaticRoutingTable,
    OptionCode::DomainNameServer,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
    OptionCode::BroadcastAddr,
    OptionCode::NtpServers,
    OptionCode::AddressLeaseTime,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];

/// Whom a lease is for, and what is said to servers with every message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The MAC of the interface.
    pub mac: Mac,
    /// The client identifier (option 61) with its type; empty for none.
    pub client_id: Vec<u8>,
    /// The host name (option 12).
    pub host_name: Option<String>,
    /// Further options: codes with values.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Codes of the options asked for; empty for the usual ones.
    pub asked: Vec<u8>,
    /// Whether servers have to answer by broadcast.
    pub broadcast: bool,
}

/// What a client says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saying {
    /// It looks for servers, and would like an address.
    Discover(Option<Ipv4Addr>),
    /// It takes the offer of a server.
    Take { address: Ipv4Addr, server: Ipv4Addr },
    /// It has had an address and asks whether it still may.
    Reboot(Ipv4Addr),
    /// It has an address and asks to keep it.
    Extend(Ipv4Addr),
    /// It gives its address back to a server.
    Release { address: Ipv4Addr, server: Ipv4Addr },
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It would lease this.
    Offer(Lease),
    /// It has leased this.
    Ack(Lease),
    /// It refuses, with the server if it names itself.
    Nak(Option<Ipv4Addr>),
}

impl Identity {
    /// The bytes of a message of exchange `xid`, `seconds` after its start.
    pub fn write(&self, xid: u32, seconds: u16, saying: Saying) -> Vec<u8> {
        let (kind, ciaddr) = match saying {
            Saying::Discover(_) => (MessageType::Discover, None),
            Saying::Take { .. } | Saying::Reboot(_) => (MessageType::Request, None),
            Saying::Extend(address) => (MessageType::Request, Some(address)),
            Saying::Release { address, .. } => (MessageType::Release, Some(address)),
        };
        let none = Ipv4Addr::UNSPECIFIED;
        let ciaddr = ciaddr.unwrap_or(none);
        let mut message = Message::new_with_id(xid, ciaddr, none, none, none, &self.mac.bytes());
        message.set_secs(seconds);
        if self.broadcast && kind != MessageType::Release {
            message.set_flags(Flags::default().set_broadcast());
        }
        let options = message.opts_mut();
        let wanted = match saying {
            Saying::Discover(wanted) => wanted,
            Saying::Take { address, .. } | Saying::Reboot(address) => Some(address),
            Saying::Extend(_) | Saying::Release { .. } => None,
        };
        options.extend_with(wanted.map(DhcpOption::RequestedIpAddress));
        if let Saying::Take { server, .. } | Saying::Release { server, .. } = saying {
            options.insert(DhcpOption::ServerIdentifier(server));
        }
        if kind != MessageType::Release {
            self.ask(options);
        }
        // What users say of the client goes before what we say, but for what the protocol lives on.
        if !self.client_id.is_empty() && !options.contains(OptionCode::ClientIdentifier) {
            options.insert(DhcpOption::ClientIdentifier(self.client_id.clone()));
        }
        options.insert(DhcpOption::MessageType(kind));
        let mut bytes = message.to_vec().unwrap_or_default();
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// Adds what is the same in every message that wants an answer.
    fn ask(&self, options: &mut DhcpOptions) {
        let name = self.host_name.iter().filter(|name| !name.is_empty() && name.len() < 256);
        options.extend_with(name.cloned().map(DhcpOption::Hostname));
        let asked = match self.asked.as_slice() {
            [] => ASKED.to_vec(),
            codes => codes.iter().map(|code| OptionCode::from(*code)).collect(),
        };
        options.insert(DhcpOption::ParameterRequestList(asked));
        for (code, value) in &self.options {
            let option = UnknownOption::new(OptionCode::from(*code), value.clone());
            let known = Encodable::to_vec(&option).ok();
            let known = known.and_then(|bytes| DhcpOption::decode(&mut Decoder::new(&bytes)).ok());
            options.insert(known.unwrap_or(DhcpOption::Unknown(option)));
        }
    }

    /// What a server says to this client in exchange `xid`; none if it is for somebody else, or not to be understood.
    pub fn read(&self, bytes: &[u8], xid: u32) -> Option<Reply> {
        let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
        // The length is the sender's word, which the library believes.
        let is_ours = message.opcode() == Opcode::BootReply
            && message.xid() == xid
            && message.hlen() == 6
            && message.chaddr() == self.mac.bytes();
        if !is_ours {
            return None;
        }
        match message.opts().msg_type()? {
            MessageType::Offer => Some(Reply::Offer(lease(&message)?)),
            MessageType::Ack => Some(Reply::Ack(lease(&message)?)),
            MessageType::Nak => Some(Reply::Nak(server(message.opts()))),
            _ => None,
        }
    }
}

/// Takes options in as they come.
trait ExtendWith {
    fn extend_with(&mut self, more: impl IntoIterator<Item = DhcpOption>);
}

impl ExtendWith for DhcpOptions {
    fn extend_with(&mut self, more: impl IntoIterator<Item = DhcpOption>) {
        for option in more {
            self.insert(option);
        }
    }
}

fn server(options: &DhcpOptions) -> Option<Ipv4Addr> {
    match options.get(OptionCode::ServerIdentifier)? {
        DhcpOption::ServerIdentifier(server) => Some(*server),
        _ => None,
    }
}

/// The lease of an offer or an acknowledgement; none without what a lease needs.
fn lease(message: &Message) -> Option<Lease> {
    let options = message.opts();
    let address = message.yiaddr();
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
        return None;
    }
    let seconds = seconds(options, OptionCode::AddressLeaseTime)?.max(SHORTEST_LEASE);
    let (renewal, rebinding) = times(seconds, options);
    let classless = match options.get(OptionCode::ClasslessStaticRoute) {
        Some(DhcpOption::ClasslessStaticRoute(routes)) if !routes.is_empty() => Some(routes.clone()),
        _ => None,
    };
    // Who sends classless routes means these alone (RFC 3442).
    let (routers, routes) = match classless {
        Some(routes) => {
            let leads_out =
                |(to, router): &&(Ipv4Net, Ipv4Addr)| to.prefix_len() == 0 && !router.is_unspecified();
            (routes.iter().filter(leads_out).map(|(_, router)| *router).collect(), routes)
        }
        None => (addresses(options, OptionCode::Router), classful_routes(options)),
    };
    Some(Lease {
        address: Ipv4Net::new(address, prefix(address, options)?).ok()?,
        server: server(options)?,
        next_server: message.siaddr(),
        seconds,
        renewal,
        rebinding,
        routers,
        routes,
        dns: addresses(options, OptionCode::DomainNameServer),
        domain: text(options, OptionCode::DomainName),
        host_name: text(options, OptionCode::Hostname),
        broadcast: match options.get(OptionCode::BroadcastAddr) {
            Some(DhcpOption::BroadcastAddr(address)) => Some(*address),
            _ => None,
        },
        mtu: match options.get(OptionCode::InterfaceMtu) {
            Some(DhcpOption::InterfaceMtu(mtu)) => Some(*mtu),
            _ => None,
        },
        ntp: addresses(options, OptionCode::NtpServers),
    })
}

/// T1 and T2; where a server says none that make sense, half of the lease and seven eighths (RFC 2131, 4.4.5).
fn times(lease: u32, options: &DhcpOptions) -> (u32, u32) {
    if lease == FOREVER {
        return (FOREVER, FOREVER);
    }
    let rebinding = seconds(options, OptionCode::Rebinding).filter(|seconds| (1..lease).contains(seconds));
    let rebinding = rebinding.unwrap_or_else(|| lease - lease / 8);
    let renewal = seconds(options, OptionCode::Renewal).filter(|seconds| (1..=rebinding).contains(seconds));
    (renewal.unwrap_or_else(|| (lease / 2).min(rebinding)), rebinding)
}

fn seconds(options: &DhcpOptions, code: OptionCode) -> Option<u32> {
    match options.get(code)? {
        DhcpOption::AddressLeaseTime(seconds)
        | DhcpOption::Renewal(seconds)
        | DhcpOption::Rebinding(seconds) => Some(*seconds),
        _ => None,
    }
}

/// The length of the prefix by the mask, or where there is none by the address's class; none if the mask has holes.
fn prefix(address: Ipv4Addr, options: &DhcpOptions) -> Option<u8> {
    match options.get(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => ipnet::ipv4_mask_to_prefix(*mask).ok(),
        _ => Some(class(address)),
    }
}

fn class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

fn classful_routes(options: &DhcpOptions) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let Some(DhcpOption::StaticRoutingTable(routes)) = options.get(OptionCode::StaticRoutingTable) else {
        return Vec::new();
    };
    let route = |(to, router): &(Ipv4Addr, Ipv4Addr)| Some((Ipv4Net::new(*to, class(*to)).ok()?, *router));
    // The default route must not be among them (RFC 2132, 5.8).
    routes.iter().filter(|(to, _)| !to.is_unspecified()).filter_map(route).collect()
}

fn addresses(options: &DhcpOptions, code: OptionCode) -> Vec<Ipv4Addr> {
    match options.get(code) {
        Some(
            DhcpOption::Router(addresses)
            | DhcpOption::DomainNameServer(addresses)
            | DhcpOption::NtpServers(addresses),
        ) => addresses.iter().copied().filter(|address| !address.is_unspecified()).collect(),
        _ => Vec::new(),
    }
}

/// A text, without the zero that some servers end it with.
fn text(options: &DhcpOptions, code: OptionCode) -> Option<String> {
    match options.get(code)? {
        DhcpOption::DomainName(text) | DhcpOption::Hostname(text) => {
            Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! The interface of a container that somebody else made and an address is leased for: what is sent and heard on it before it
//! has one, and the address and routes once it has.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};
use linkspan_model::{IfName, Mac};
use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;

use crate::error::{Refusal, Result};
use crate::netlink::{Family, Message, Socket};
use crate::netns::{self, Namespace};
use crate::packet::{ETHERNET, PacketSocket};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route::NewRoute;
use crate::rtnl::{address, device};

// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
/// The metric of routes, which Podman's other networks have too.
const METRIC: u32 = 100;
/// The UDP port of a client (RFC 2131).
const CLIENT_PORT: u32 = 68;

type Answer<T> = std::result::Result<T, KernelError>;

/// What an interface has by a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addressing {
    /// The address with its prefix, host bits and all.
    pub address: Ipv4Net,
    /// Where routes lead, and by which next hop; without one what is there is on the link.
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
}

/// An interface in a namespace. It keeps the namespace alive, so it is let go when what it was opened for is done.
#[derive(Debug)]
pub struct Interface {
    name: IfName,
    index: u32,
    mac: Mac,
    route: Socket,
    packets: PacketSocket,
}

impl Interface {
    /// Opens the interface `name` of the namespace that the file `netns` stands for. It is set up if it is down.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if the namespace or the interface is not there.
    pub fn open(netns: &Path, name: &str) -> Answer<Self> {
        let open = || {
            let no_device = || Refusal::new(Failure::NotFound, "ENODEV: No such device");
            let name: IfName = name.parse().map_err(|_| no_device())?;
            let home = Namespace::own().map_err(|error| Refusal::from(netns::errno(&error)))?;
            netns::at(netns)?.within(&home, || {
                let mut route = Socket::open(Family::Route)?;
                let answers = match route.batch(vec![link::get(&name)]) {
                    Err(error) if error.errno == Errno::ENODEV => return Err(no_device()),
                    answers => answers?,
                };
                let found = answers.iter().find_map(|answer| Link::parse(&answer.body));
                let found = found.ok_or_else(no_device)?;
                if !found.is_up() {
                    route.batch(vec![device::set_up(&name, true)])?;
                }
                let packets = PacketSocket::open(found.index, ETH_P_IP, &mut for_clients())?;
                let mac = found.mac.unwrap_or_default();
                Ok(Self { name: name.clone(), index: found.index, mac, route, packets })
            })?
        };
        open().map_err(|refusal: Refusal| refusal.of(format!("look at {name} in {}", netns.display())))
    }

    /// Its MAC.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// What hears the datagrams for a DHCP client, whatever addresses the interface has.
    pub const fn packets(&self) -> &PacketSocket {
        &self.packets
    }

    /// Has it have `new` in the place of `old`. What of `old` is gone is let be, and so is what of `new` is there.
    ///
    /// # Errors
    /// If the kernel refuses something of `new`.
    pub fn change(&mut self, old: Option<&Addressing>, new: Option<&Addressing>) -> Answer<()> {
        let changed = self.take_away(old, new).and_then(|()| self.give(new));
        changed.map_err(|refusal| refusal.of(format!("change the addresses of {}", self.name)))
    }

    /// Sets it down.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn down(&mut self) -> Answer<()> {
        let down = self.route.batch(vec![link::down(self.index)]).map(drop);
        down.map_err(|error| Refusal::from(error).of(format!("set {} down", self.name)))
    }

    fn take_away(&mut self, old: Option<&Addressing>, new: Option<&Addressing>) -> Result<()> {
        let Some(old) = old else { return Ok(()) };
        let moves = new.is_none_or(|new| new.address != old.address);
        let stays = |to: &(Ipv4Net, Option<Ipv4Addr>)| new.is_some_and(|new| new.routes.contains(to));
        let mut messages: Vec<Message> = Vec::new();
        for to in old.routes.iter().filter(|to| moves || !stays(to)) {
            messages.push(self.route_to(old, *to).delete());
        }
        if moves {
            messages.push(address::delete(self.index, IpNet::V4(old.address)));
        }
        let (_, errors) = self.route.attempt(messages)?;
        let gone = |errno| matches!(errno, Errno::ESRCH | Errno::EADDRNOTAVAIL | Errno::ENETDOWN);
        errors.into_iter().find(|error| !gone(error.errno)).map_or(Ok(()), |error| Err(error.into()))
    }

    fn give(&mut self, new: Option<&Addressing>) -> Result<()> {
        let Some(new) = new else { return Ok(()) };
        let mut messages = vec![address::add(self.index, IpNet::V4(new.address))];
        messages.extend(new.routes.iter().map(|to| self.route_to(new, *to).add(true)));
        let (_, errors) = self.route.attempt(messages)?;
        let failed = errors.into_iter().find(|error| error.errno != Errno::EEXIST);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn route_to(&self, of: &Addressing, (to, via): (Ipv4Net, Option<Ipv4Addr>)) -> NewRoute {
        NewRoute {
            to: IpNet::V4(to),
            index: self.index,
            via: via.map(Into::into),
            // Servers name routers outside the subnet, most of all where that is a single address.
            onlink: via.is_some_and(|via| !of.address.contains(&via)),
            source: None,
            table: libc::RT_TABLE_MAIN.into(),
            scope: if via.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK },
            priority: Some(METRIC),
            mtu: None,
            advmss: None,
        }
    }
}

/// Lets only datagrams to the port of a client through: a busy network would fill the queue.
fn for_clients() -> [libc::sock_filter; 9] {
    // linux/filter.h: BPF_LD|BPF_B|BPF_ABS, BPF_LD|BPF_H|BPF_ABS, BPF_LDX|BPF_B|BPF_MSH, BPF_LD|BPF_H|BPF_IND,
    // BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JSET|BPF_K, BPF_RET|BPF_K
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const IP: u32 = ETHERNET as u32;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        op(LOAD_BYTE, 0, 0, IP + 9),
        op(JUMP_EQUAL, 0, 5, libc::IPPROTO_UDP.cast_unsigned()),
        op(LOAD_HALF, 0, 0, IP + 6),
        op(JUMP_SET, 3, 0, 0x1fff),
        op(HEADER_LENGTH, 0, 0, IP),
        op(LOAD_HALF_BEHIND, 0, 0, IP + 2),
        op(JUMP_EQUAL, 1, 0, CLIENT_PORT),
        op(RETURN, 0, 0, 0),
        op(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use linkspan_plan::Failure;

    use super::Interface;

    #[test]
    fn what_is_not_there_is_named() {
        let gone = Interface::open(Path::new("/run/netns/there-is-none-such"), "eth0").unwrap_err();
        assert_eq!(gone.failure, Failure::NotFound);
        let nameless = Interface::open(Path::new("/proc/self/ns/net"), "").unwrap_err();
        assert_eq!((nameless.failure, nameless.cause.contains("No such device")), (Failure::NotFound, true));
    }
}

//! The kernel's tables as people want to see them: links, ARP, FDB, routes, of the calling thread's namespace.

use std::collections::BTreeMap;

use linkspan_plan::KernelError;
use nix::errno::Errno;

use crate::error::{Refusal, Result};
use crate::netlink::{Family, Socket};
use crate::rtnl::link::Link;
use crate::rtnl::neighbour::Neighbour;
use crate::rtnl::{link, neighbour, route};

/// A device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkEntry {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind, `ether` for hardware and loopback.
    pub kind: String,
    /// Its MAC.
    pub mac: String,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// Of a veth, the number of its other side, in that one's namespace.
    pub peer: Option<u32>,
}

/// Who has a MAC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeighbourEntry {
    /// The IP address; empty in an FDB.
    pub address: String,
    /// The MAC, empty while it is asked for.
    pub mac: String,
    /// The device, in an FDB the bridge's port.
    pub device: String,
    /// In an FDB: whether it is the host's own, not learned from a frame.
    pub own: bool,
}

/// A route of the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteEntry {
    /// Where it leads, `default` for everywhere.
    pub destination: String,
    /// The next hop; empty if the destination is on the link.
    pub via: String,
    /// The device.
    pub device: String,
}

/// The tables of one network namespace.
#[derive(Debug)]
pub struct Tables {
    socket: Socket,
    names: BTreeMap<u32, String>,
    links: Vec<Link>,
}

impl Tables {
    /// Opens those of the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn open() -> std::result::Result<Self, KernelError> {
        Self::read().map_err(|refusal| refusal.of("read the devices"))
    }

    fn read() -> Result<Self> {
        let mut socket = Socket::open(Family::Route)?;
        let answers = socket.dump(link::dump)?;
        let links: Vec<_> = answers.iter().filter_map(|answer| Link::parse(&answer.body)).collect();
        let names = links.iter().map(|link| (link.index, link.name.clone())).collect();
        Ok(Self { socket, names, links })
    }

    fn name(&self, index: u32) -> String {
        self.names.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }

    /// The devices, by number.
    pub fn links(&self) -> Vec<LinkEntry> {
        let entry = |link: &Link| LinkEntry {
            index: link.index,
            name: link.name.clone(),
            kind: link.kind.clone().unwrap_or_else(|| "ether".to_owned()),
            mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            bridge: link.master.map(|index| self.name(index)),
            peer: link.peer.filter(|_| link.kind.as_deref() == Some("veth")),
        };
        self.links.iter().map(entry).collect()
    }

    /// The ARP and NDP entries.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn neighbours(&mut self) -> std::result::Result<Vec<NeighbourEntry>, KernelError> {
        let answers =
            self.socket.dump(neighbour::dump).map_err(|e| Refusal::from(e).of("read the neighbours"))?;
        let entries = answers.iter().filter_map(|answer| Neighbour::parse(&answer.body));
        Ok(entries.filter(|entry| !entry.is_implied()).map(|entry| self.neighbour(&entry)).collect())
    }

    /// The forwarding database of a bridge: behind which port each MAC is. Multicast groups are left out. One that
    /// went away has none.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn fdb(&mut self, bridge: &str) -> std::result::Result<Vec<NeighbourEntry>, KernelError> {
        let Some(index) = self.links.iter().find(|link| link.name == bridge).map(|link| link.index) else {
            return Ok(Vec::new());
        };
        let answers = match self.socket.dump(|| neighbour::dump_fdb(index)) {
            Err(error) if error.errno == Errno::ENODEV => return Ok(Vec::new()),
            Err(error) => return Err(Refusal::from(error).of(format!("read the FDB of {bridge}"))),
            Ok(answers) => answers,
        };
        let entries = answers.iter().filter_map(|answer| Neighbour::parse(&answer.body));
        let unicast = |entry: &Neighbour| entry.mac.is_some_and(|mac| mac.bytes()[0] & 1 == 0);
        Ok(entries.filter(unicast).map(|entry| self.neighbour(&entry)).collect())
    }

    fn neighbour(&self, entry: &Neighbour) -> NeighbourEntry {
        NeighbourEntry {
            address: entry.address.map(|address| address.to_string()).unwrap_or_default(),
            mac: entry.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            device: self.name(entry.index),
            own: entry.is_permanent(),
        }
    }

    /// The unicast routes of the main table.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn routes(&mut self) -> std::result::Result<Vec<RouteEntry>, KernelError> {
        let answers =
            self.socket.dump(route::dump).map_err(|error| Refusal::from(error).of("read the routes"))?;
        let entry = |route: route::Route| RouteEntry {
            destination: route.destination.map_or_else(|| "default".to_owned(), |net| net.to_string()),
            via: route.gateway.map(|address| address.to_string()).unwrap_or_default(),
            device: route.index.map(|index| self.name(index)).unwrap_or_default(),
        };
        Ok(answers.iter().filter_map(|answer| route::Route::parse(&answer.body)).map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Tables;

    #[test]
    fn a_bridge_that_went_away_has_no_fdb() {
        let mut tables = Tables::open().unwrap();
        let mut gone = tables.links[0].clone();
        (gone.index, gone.name) = (0x7fff_fff0, "gone".to_owned());
        tables.links.push(gone);
        assert_eq!(tables.fdb("gone"), Ok(Vec::new()));
    }
}

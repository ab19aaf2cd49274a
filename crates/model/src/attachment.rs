//! What runtimes attach: how they call it, and what their plugins made for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Admission, BridgePort, Fixture, IfName, Mac, Name, Published};

/// How a runtime calls an endpoint.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The runtime's name of the network.
    pub network: Name,
    /// Its identity of the container.
    pub container: String,
    /// The interface inside.
    pub ifname: IfName,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {} on network {}", self.ifname, self.container, self.network)
    }
}

/// What one plugin made for an endpoint.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The plugin's name; a chain has each but once.
    pub owner: String,
    /// What it made, in that order.
    pub fixtures: Vec<Fixture>,
    /// Ports that it publishes.
    #[serde(default)]
    pub published: Vec<Published>,
    /// Whether those are in a table of its own, which the users of a runtime's network backend know by name: they may delete
    /// it, and have the backend make it anew.
    #[serde(default)]
    pub own_table: bool,
    /// Ports that it would publish, if another endpoint of the sandbox did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<Published>,
    /// The device on the host by which the endpoint alone is reached, if that is no bridge.
    #[serde(default)]
    pub guest: Option<IfName>,
    /// Addresses whose traffic to the outside takes the host's.
    #[serde(default)]
    pub masquerade_from: Vec<IpAddr>,
    /// Addresses to which published flows come from the host's.
    #[serde(default)]
    pub masquerade_to: Vec<IpAddr>,
    /// The bridge port by which nothing but frames from one MAC may come.
    #[serde(default)]
    pub spoof: Option<(IfName, Mac)>,
}

impl Part {
    /// The port that it makes on `bridge`, if nothing tells that from other ports of the bridge, so that it may as well be one
    /// of a bridge below.
    pub fn plain_port_mut(&mut self, bridge: &IfName) -> Option<&mut BridgePort> {
        let ports = self.fixtures.iter_mut().filter_map(|fixture| match fixture {
            Fixture::Veth(veth) => veth.port.as_mut(),
            _ => None,
        });
        let mut plain = ports.filter(|port| port.vlan == 0 && port.trunk.is_empty() && !port.isolated);
        plain.find(|port| port.bridge == *bridge)
    }
}

/// How far the containers behind a bridge are kept from those behind others. Ports that are published are reached all the
/// same, and the host and the outside are not concerned.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// From those that are strictly isolated.
    #[default]
    Open,
    /// From those that are isolated too, strictly or not.
    Isolated,
    /// From all others.
    Strict,
}

/// What the endpoints of a network share whose plugins are a runtime's: its policies on this host.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Guests {
    /// Bridges behind which they are.
    #[serde(default)]
    pub bridges: BTreeSet<IfName>,
    /// Subnets that they have their addresses of.
    #[serde(default)]
    pub homes: BTreeSet<IpNet>,
    /// Bridges that nothing is forwarded between.
    #[serde(default)]
    pub closed: BTreeSet<IfName>,
    /// Bridges whose ports nothing is forwarded between either.
    #[serde(default)]
    pub sealed: BTreeSet<IfName>,
    /// Bridges that reach nothing outside and are not reached from there; they are not among `bridges`.
    #[serde(default)]
    pub internal: BTreeSet<IfName>,
    /// Bridges that are kept from each other, as far as each wants it.
    #[serde(default)]
    pub isolation: BTreeMap<IfName, Isolation>,
    /// Bridges whose traffic to the outside takes the host's address.
    #[serde(default)]
    pub masqueraded: BTreeSet<IfName>,
    /// Bridges whose traffic to the outside takes this address, of its family.
    #[serde(default)]
    pub outbound: BTreeSet<(IfName, IpAddr)>,
    /// Bridges whose containers ask the host for names.
    #[serde(default)]
    pub named: BTreeSet<IfName>,
    /// Where a name server listens on addresses of the host, if not at port 53, where its clients ask.
    #[serde(default)]
    pub dns: BTreeSet<SocketAddr>,
    /// Subnets that firewalld, where it runs, is to let pass.
    #[serde(default)]
    pub trusted: BTreeSet<IpNet>,
    /// Devices that several of them are behind, and another's firewall lets pass.
    #[serde(default)]
    pub admitted: BTreeSet<Admission>,
    /// What is made for them all, in that order: it comes with the first of them and goes with the last, and the network's
    /// record with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ground: Vec<Fixture>,
    /// Whether the network's record goes with the last of them though nothing is made for them all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
}

impl Guests {
    /// Adds what `others` has; whether that changes anything. Of two isolations of a bridge, and of two addresses that it takes
    /// outside, the one in `others` holds; of two name servers at an address the known one, which may be running.
    pub fn take_in(&mut self, others: &Self) -> bool {
        let before = self.clone();
        self.bridges.extend(others.bridges.iter().cloned());
        self.homes.extend(others.homes.iter().copied());
        self.closed.extend(others.closed.iter().cloned());
        self.sealed.extend(others.sealed.iter().cloned());
        self.internal.extend(others.internal.iter().cloned());
        self.isolation.extend(others.isolation.iter().map(|(bridge, level)| (bridge.clone(), *level)));
        self.masqueraded.extend(others.masqueraded.iter().cloned());
        let replaced = |(bridge, address): &(IfName, IpAddr)| {
            let by = |(other, new): &(IfName, IpAddr)| other == bridge && new.is_ipv4() == address.is_ipv4();
            others.outbound.iter().any(by)
        };
        self.outbound.retain(|known| !replaced(known));
        self.outbound.extend(others.outbound.iter().cloned());
        self.named.extend(others.named.iter().cloned());
        let new = |server: &&SocketAddr| !before.dns.iter().any(|known| known.ip() == server.ip());
        self.dns.extend(others.dns.iter().filter(new));
        self.trusted.extend(&others.trusted);
        self.admitted.extend(others.admitted.iter().cloned());
        // The same bridge may be wanted otherwise by now.
        let same = |one: &Fixture, other: &Fixture| match (one, other) {
            (Fixture::OwnBridge(one), Fixture::OwnBridge(other)) => one.name == other.name,
            _ => one == other,
        };
        self.ground.retain(|known| !others.ground.iter().any(|other| same(known, other) && known != other));
        let new = others.ground.iter().filter(|other| !self.ground.contains(other)).cloned();
        self.ground.extend(new.collect::<Vec<_>>());
        self.passing |= others.passing;
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_that_is_known_stays_and_an_address_outside_gives_way() {
        let guests = |server: &str, outside: &str| Guests {
            dns: [server.parse().unwrap()].into(),
            outbound: [("br0".parse().unwrap(), outside.parse().unwrap())].into(),
            ..Guests::default()
        };
        let mut known = guests("10.1.0.1:1153", "192.0.2.1");
        assert!(known.take_in(&guests("10.1.0.1:1154", "192.0.2.2")));
        assert_eq!(known, guests("10.1.0.1:1153", "192.0.2.2"));
        assert!(known.take_in(&guests("10.1.0.9:1154", "2001:db8::1")));
        assert_eq!((known.dns.len(), known.outbound.len()), (2, 2));
    }
}

//! One attachment of a sandbox to a network.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, Id, IfName, Mac, Name, Published};

/// An address held by an endpoint, out of one pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The pool's subnet.
    pub subnet: IpNet,
    /// The address.
    pub address: IpAddr,
    /// Where the endpoint's default route would go: the pool's `DefaultGateway...` or its bridge;
    /// none on an internal network, or in a namespace that had a default route before.
    pub gateway: Option<IpAddr>,
    /// Whether it was given out before: then neighbours may remember another MAC for it.
    #[serde(default)]
    pub reused: bool,
}

impl Lease {
    /// The address with the subnet's prefix length, as an interface takes it.
    pub fn interface_address(&self) -> IpNet {
        IpNet::new_assert(self.address, self.subnet.prefix_len())
    }
}

/// One attachment: a veth pair, its addresses and what is published through it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identity; the host side of the pair is named after it.
    pub id: Id,
    /// The network it belongs to.
    pub network: Id,
    /// The sandbox it belongs to.
    pub sandbox: Id,
    /// The interface inside the sandbox.
    pub ifname: IfName,
    /// The interface's MAC.
    pub mac: Mac,
    /// Its addresses, at most one of each family.
    pub leases: Vec<Lease>,
    /// Further names that peers on this network know it by.
    pub aliases: Vec<Name>,
    /// The endpoint with the highest priority has the default route.
    pub gw_priority: i32,
    /// Ports published through it.
    pub published: Vec<Published>,
}

impl Endpoint {
    /// The host side's device.
    pub fn host_ifname(&self) -> IfName {
        self.id.host_ifname()
    }

    /// Its address of `family`, if it has one.
    pub fn lease(&self, family: Family) -> Option<&Lease> {
        self.leases.iter().find(|lease| Family::of(lease.address) == family)
    }
}

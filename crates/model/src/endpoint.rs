//! One attachment of a sandbox to a network.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, Id, IfName, Mac, Name, Part, Published, Shaping};

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

/// What joins a sandbox to the bridge of its network.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// A veth pair, with one side in the sandbox's namespace.
    #[default]
    Veth,
    /// A tap on the host, which a virtual machine opens.
    Tap {
        /// The user who may open it without privileges, by number; none for root alone.
        owner: Option<u32>,
    },
    /// What plugins of a runtime made of it, or another program's did.
    Fitted {
        /// The device on the host by which it is reached.
        host: Option<IfName>,
    },
}

/// One attachment: a veth pair or a tap, its addresses and what is published through it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identity; the host side is named after it.
    pub id: Id,
    /// The network it belongs to.
    pub network: Id,
    /// The sandbox it belongs to.
    pub sandbox: Id,
    /// How it is wired.
    #[serde(default)]
    pub wire: Wire,
    /// The interface inside the sandbox; of a tap the device on the host, as only the machine knows its own.
    pub ifname: IfName,
    /// The interface's MAC.
    pub mac: Mac,
    /// Which of the network's bridges it is on: 0 is the network's own, the others are access bridges below that.
    #[serde(default)]
    pub access: u16,
    /// The network whose leases its addresses are, if that is another.
    #[serde(default)]
    pub addresses_of: Option<Id>,
    /// Its addresses, at most one of each family; plugins may give more.
    pub leases: Vec<Lease>,
    /// Further names that peers on this network know it by.
    pub aliases: Vec<Name>,
    /// Whether its peers find it by name, and are found from its sandbox at 127.0.0.11.
    #[serde(default)]
    pub named: bool,
    /// The endpoint with the highest priority has the default route.
    pub gw_priority: i32,
    /// Ports published through it.
    pub published: Vec<Published>,
    /// How fast it may be.
    #[serde(default)]
    pub shaping: Shaping,
    /// What plugins of a runtime made for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

impl Endpoint {
    /// The host side's device.
    pub fn host_ifname(&self) -> IfName {
        match &self.wire {
            Wire::Veth => self.id.host_ifname(),
            Wire::Tap { .. } => self.ifname.clone(),
            Wire::Fitted { host } => host.clone().unwrap_or_else(|| self.id.host_ifname()),
        }
    }

    /// Whether it is a tap.
    pub const fn is_tap(&self) -> bool {
        matches!(self.wire, Wire::Tap { .. })
    }

    /// Whether plugins of a runtime made it.
    pub const fn is_fitted(&self) -> bool {
        matches!(self.wire, Wire::Fitted { .. })
    }

    /// The part that the plugin `owner` made.
    pub fn part(&self, owner: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.owner == owner)
    }

    /// The network whose leases its addresses are.
    pub fn address_space(&self) -> Id {
        self.addresses_of.unwrap_or(self.network)
    }

    /// Its address of `family`, if it has one.
    pub fn lease(&self, family: Family) -> Option<&Lease> {
        self.leases.iter().find(|lease| Family::of(lease.address) == family)
    }
}

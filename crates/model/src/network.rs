//! Networks and their address pools.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    BridgeOptions, Card, Family, Fixture, Guests, Id, IfName, Invalid, Mac, Name, OptionMap, OwnBridge,
    Parent, Uplink, nearest,
};

/// What makes a network's packets move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge on one host.
    Bridge,
    /// Devices with MACs of their own on a device of the host.
    Macvlan,
    /// Devices with addresses of their own on a device of the host.
    Ipvlan,
    /// Whatever the plugins of a runtime make of it.
    Plugins,
    /// The host's own network.
    Host,
    /// Loopback only.
    None,
}

const KNOWN_DRIVERS: [&str; 3] = ["bridge", "macvlan", "ipvlan"];

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Plugins => "plugins",
            Self::Host => "host",
            Self::None => "null",
        })
    }
}

impl FromStr for Driver {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "macvlan" => Ok(Self::Macvlan),
            "ipvlan" => Ok(Self::Ipvlan),
            "host" | "null" | "none" => Err(Invalid::new(format!("driver '{text}' has one network only"))
                .hint("use the network of that name")),
            _ => {
                let error = Invalid::new(format!("unknown driver '{text}'"));
                Err(match nearest(text, KNOWN_DRIVERS) {
                    Some(known) => error.hint(format!("did you mean {known}?")),
                    None => error.hint(format!("known drivers: {}", KNOWN_DRIVERS.join(", "))),
                })
            }
        }
    }
}

/// A subnet that a network gives addresses from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// The subnet, host bits zero.
    pub subnet: IpNet,
    /// The part of it that addresses are chosen from, if not all.
    pub range: Option<IpNet>,
    /// The bridge's own address in it; with a parent, the router on the LAN, unspecified if none is known.
    pub gateway: IpAddr,
    /// Addresses reserved under a name.
    pub aux: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.gateway)
    }

    /// Where sandboxes send what is not on the network: the reserved address `DefaultGatewayIPv4`
    /// (or `...IPv6`) if there is one, else the bridge.
    pub fn default_gateway(&self) -> IpAddr {
        let key = if self.family() == Family::V4 { "DefaultGatewayIPv4" } else { "DefaultGatewayIPv6" };
        self.aux.get(key).copied().unwrap_or(self.gateway)
    }

    /// Who holds `address` by the network's own configuration: its gateway or a reserved name.
    pub fn reserved(&self, address: IpAddr) -> Option<String> {
        if address == self.gateway {
            return Some("the network's gateway".to_owned());
        }
        self.aux.iter().find(|(_, aux)| **aux == address).map(|(name, _)| format!("reserved as {name}"))
    }

    /// The first and last address of the subnet that a host may have.
    ///
    /// Network and broadcast address are left out, but not of a /31 (RFC 3021), a /32, /127 (RFC 6164) or /128.
    pub fn usable(subnet: IpNet) -> (IpAddr, IpAddr) {
        match subnet {
            IpNet::V4(net) if net.prefix_len() < 31 => (
                IpAddr::from((u32::from(net.network()) + 1).to_be_bytes()),
                (u32::from(net.broadcast()) - 1).to_be_bytes().into(),
            ),
            IpNet::V6(net) if net.prefix_len() < 127 => {
                (IpAddr::from((u128::from(net.network()) + 1).to_be_bytes()), net.broadcast().into())
            }
            _ => (subnet.network(), subnet.broadcast()),
        }
    }

    /// Whether a host may have `address` in the subnet.
    pub fn is_usable(&self, address: IpAddr) -> bool {
        let (first, last) = Self::usable(self.subnet);
        self.subnet.contains(&address) && (first..=last).contains(&address)
    }
}

/// A pool as the user asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolRequest {
    /// The subnet; host bits are cut off.
    pub subnet: IpNet,
    /// The part that addresses are chosen from.
    pub range: Option<IpNet>,
    /// The bridge's address; by default the first that is free.
    pub gateway: Option<IpAddr>,
    /// Reserved addresses.
    pub aux: BTreeMap<String, IpAddr>,
}

/// The address flags of `network create`, not yet sorted by subnet.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct IpamRequest {
    /// `--subnet`.
    pub subnets: Vec<IpNet>,
    /// `--ip-range`.
    pub ranges: Vec<IpNet>,
    /// `--gateway`.
    pub gateways: Vec<IpAddr>,
    /// `--aux-address`.
    pub aux: BTreeMap<String, IpAddr>,
}

impl IpamRequest {
    /// Gives each range, gateway and reserved address to the subnet that contains it.
    ///
    /// # Errors
    /// If one lies in none, two want the same place, subnets overlap, or an address is not usable.
    pub fn pools(self) -> Result<Vec<Pool>, Invalid> {
        let mut requests: Vec<PoolRequest> = Vec::new();
        for subnet in self.subnets {
            let subnet = subnet.trunc();
            refuse_special(subnet)?;
            if let Some(other) = requests.iter().find(|r| overlap(&r.subnet, &subnet)) {
                return Err(Invalid::new(format!("subnet {subnet} overlaps subnet {}", other.subnet))
                    .because("both were given for this network"));
            }
            requests.push(PoolRequest { subnet, range: None, gateway: None, aux: BTreeMap::new() });
        }
        for range in self.ranges {
            let home = requests.iter_mut().find(|r| r.subnet.contains(&range));
            let home = home.ok_or_else(|| homeless(&format!("range {range}")))?;
            if home.range.replace(range.trunc()).is_some() {
                return Err(Invalid::new(format!("subnet {} has two ranges", home.subnet)));
            }
        }
        for gateway in self.gateways {
            let home = requests.iter_mut().find(|r| r.subnet.contains(&gateway));
            let home = home.ok_or_else(|| homeless(&format!("gateway {gateway}")))?;
            if home.gateway.replace(gateway).is_some() {
                return Err(Invalid::new(format!("subnet {} has two gateways", home.subnet)));
            }
        }
        for (name, address) in self.aux {
            let home = requests.iter_mut().find(|r| r.subnet.contains(&address));
            let home = home.ok_or_else(|| homeless(&format!("reserved address {name}={address}")))?;
            home.aux.insert(name, address);
        }
        requests.into_iter().map(PoolRequest::resolve).collect()
    }
}

impl PoolRequest {
    /// Chooses the gateway where none was given and checks every address.
    ///
    /// # Errors
    /// If an address is the network or broadcast address, is used twice, or none is left for a sandbox.
    pub fn resolve(self) -> Result<Pool, Invalid> {
        let (first, last) = Pool::usable(self.subnet);
        if first == last {
            return Err(Invalid::new(format!("subnet {} is too small", self.subnet))
                .because("it has one address: the bridge takes it and none is left for a sandbox")
                .hint("use a /31 or larger (IPv6: /127)"));
        }
        let taken = |address: &IpAddr| self.aux.values().any(|aux| aux == address);
        let free = || successors(first, last).find(|address| !taken(address));
        let gateway = self.gateway.or_else(free).ok_or_else(|| {
            Invalid::new(format!("subnet {} has no address left for the gateway", self.subnet))
        })?;
        let subnet = self.subnet;
        let pool = Pool { subnet, range: self.range, gateway, aux: self.aux };
        let named =
            pool.aux.iter().map(|(name, address)| (format!("reserved address {name}={address}"), *address));
        for (what, address) in named.chain([(format!("gateway {gateway}"), gateway)]) {
            if !pool.is_usable(address) {
                return Err(Invalid::new(format!("{what} cannot be used in {subnet}"))
                    .because("it is the subnet's network or broadcast address"));
            }
        }
        if let Some((name, _)) = pool.aux.iter().find(|(_, aux)| **aux == gateway) {
            return Err(Invalid::new(format!("gateway {gateway} is also reserved as {name}")));
        }
        Ok(pool)
    }
}

fn successors(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    std::iter::successors(Some(first), move |address| {
        (*address < last).then(|| match address {
            IpAddr::V4(v4) => IpAddr::from((u32::from(*v4) + 1).to_be_bytes()),
            IpAddr::V6(v6) => IpAddr::from((u128::from(*v6) + 1).to_be_bytes()),
        })
    })
}

/// Blocks that no host has addresses of: RFC 6890, RFC 5771, RFC 4291.
const SPECIAL: [(&str, &str); 7] = [
    ("0.0.0.0/8", "the addresses of hosts that have none"),
    ("127.0.0.0/8", "loopback"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/8", "loopback and reserved"),
    ("fe80::/10", "link-local, which every IPv6 interface has"),
    ("ff00::/8", "multicast"),
];

fn refuse_special(subnet: IpNet) -> Result<(), Invalid> {
    let within = |block: &str| block.parse().is_ok_and(|block: IpNet| overlap(&block, &subnet));
    match SPECIAL.iter().find(|(block, _)| within(block)) {
        Some((block, what)) => Err(Invalid::new(format!("subnet {subnet} cannot be used"))
            .because(format!("{block} is {what}"))
            .hint("choose one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (IPv6: fd00::/8)")),
        None => Ok(()),
    }
}

fn homeless(what: &str) -> Invalid {
    Invalid::new(format!("{what} lies in no subnet of this network"))
        .hint("give the --subnet that contains it")
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Its identity.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What moves its packets.
    pub driver: Driver,
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// What gives out its addresses.
    pub ipam_driver: String,
    /// The IPAM driver's options, as given.
    pub ipam_options: OptionMap,
    /// Its pools, in the order given.
    pub pools: Vec<Pool>,
    /// The driver's options, as given.
    pub options: OptionMap,
    /// The same, read.
    pub bridge: BridgeOptions,
    /// What its sandboxes sit on, if that is no bridge.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Labels, for people and their tools.
    pub labels: BTreeMap<String, String>,
    /// The network card that is its uplink, as it was before; none before the network is made in the kernel.
    #[serde(default)]
    pub card: Option<Card>,
    /// The network that its bridge is patched into, with `linkspan.uplink=network:NAME`.
    #[serde(default)]
    pub core: Option<Core>,
    /// What its endpoints share, if they are of a runtime's plugins.
    #[serde(default)]
    pub guests: Option<Guests>,
}

/// A network that another one is patched into, as it was when that one was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Core {
    /// Its identity.
    pub id: Id,
    /// Its bridge.
    pub bridge: IfName,
    /// Whether its sandboxes may talk to each other.
    pub icc: bool,
    /// The network whose addresses the other one gives out, this one or one above; none if it has a subnet of its own.
    pub addresses_of: Option<Id>,
}

impl Network {
    /// Names of the networks that always exist.
    pub const PREDEFINED: [&'static str; 3] = ["bridge", "host", "none"];

    /// Whether it always exists.
    pub fn is_predefined(&self) -> bool {
        Self::PREDEFINED.contains(&self.name.as_str())
    }

    /// Whether it has IPv4. One without pools has none yet.
    pub fn has_ipv4(&self) -> bool {
        self.pools.is_empty() || self.pools.iter().any(|pool| pool.family() == Family::V4)
    }

    /// Whether it is a runtime's and on record only as long as a container is on it.
    pub fn goes_with_the_last(&self) -> bool {
        self.guests.as_ref().is_some_and(|guests| guests.passing || !guests.ground.is_empty())
    }

    /// Whether a bridge of its own connects its sandboxes.
    pub fn has_bridge(&self) -> bool {
        self.driver == Driver::Bridge
    }

    /// Whether it needs the firewall: it has a bridge, or holds the record of a runtime's plugins.
    pub fn needs_firewall(&self) -> bool {
        self.has_bridge() || self.guests.is_some()
    }

    /// Where its sandboxes find the host, if they do.
    pub fn host_address(&self) -> Option<IpAddr> {
        match &self.parent {
            Some(parent) => parent.host_access.as_ref()?.addresses.first().copied(),
            None => self.pools.first().map(|pool| pool.gateway),
        }
    }

    /// The device by which its sandboxes are on a LAN with others, if they are.
    pub fn lan(&self) -> Option<IfName> {
        match &self.parent {
            Some(parent) => Some(parent.device.clone()).filter(|_| !parent.kind.is_routed()),
            None => self.uplink_card().map(|_| self.bridge_name()),
        }
    }

    /// What the interface inside a sandbox is called, before its number.
    pub fn iface_prefix(&self) -> &str {
        self.parent.as_ref().map_or(&self.bridge.iface_prefix, |parent| &parent.iface_prefix)
    }

    /// The MAC of the host's own device among its sandboxes: it follows the network's identity.
    pub fn shim_mac(&self) -> Mac {
        let [a, b, c, d, ..] = self.id.bytes();
        Mac::from_bytes([0x02, 0x4c, a, b, c, d])
    }

    /// The bridge that a runtime's network has made for all of its containers, if it has.
    pub fn own_bridge(&self) -> Option<&OwnBridge> {
        self.guests.iter().flat_map(|guests| &guests.ground).find_map(|fixture| match fixture {
            Fixture::OwnBridge(bridge) => Some(bridge),
            _ => None,
        })
    }

    /// The bridge device.
    pub fn bridge_name(&self) -> IfName {
        let made = || self.own_bridge().map(|bridge| bridge.name.clone());
        self.bridge.bridge.clone().or_else(made).unwrap_or_else(|| self.id.bridge_ifname())
    }

    /// Its bridge `number`: 0 is its own, the others are access bridges below that.
    pub fn bridge_numbered(&self, number: u16) -> IfName {
        if number == 0 { self.bridge_name() } else { self.id.access_bridge_ifname(number) }
    }

    /// The bridge's MAC, the same after a reboot: that of its network card, whose neighbours keep it, or one that follows
    /// the first gateway, or if that is on another bridge the network's identity.
    pub fn bridge_mac(&self) -> Option<Mac> {
        let own = |pool: &Pool| {
            if self.is_switch() { self.id.switch_mac(0) } else { Mac::for_ip(pool.gateway) }
        };
        self.card.as_ref().map(|card| card.mac).or_else(|| self.pools.first().map(own))
    }

    /// The network card of the host that the bridge is plugged into.
    pub const fn uplink_card(&self) -> Option<&IfName> {
        match &self.bridge.uplink {
            Some(Uplink::Device(card)) => Some(card),
            _ => None,
        }
    }

    /// The network whose leases its addresses are: another one if it shares that one's subnet.
    pub fn address_space(&self) -> Id {
        self.core.as_ref().and_then(|core| core.addresses_of).unwrap_or(self.id)
    }

    /// Whether its bridge only switches: subnet and gateway are those of the network that it is patched into.
    pub fn is_switch(&self) -> bool {
        self.address_space() != self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(subnets: &[&str]) -> IpamRequest {
        IpamRequest {
            subnets: subnets.iter().map(|s| s.parse().unwrap()).collect(),
            ..IpamRequest::default()
        }
    }

    #[test]
    fn sorts_addresses_by_subnet() {
        let mut r = request(&["10.0.0.0/24", "10.1.0.5/16"]);
        r.ranges = vec!["10.1.5.0/24".parse().unwrap()];
        r.gateways = vec!["10.1.255.254".parse().unwrap()];
        r.aux = [("DefaultGatewayIPv4".to_owned(), "10.0.0.1".parse().unwrap())].into();
        let pools = r.pools().unwrap();
        assert_eq!(pools[0].gateway.to_string(), "10.0.0.2");
        assert_eq!(pools[0].default_gateway().to_string(), "10.0.0.1");
        assert_eq!(pools[1].subnet.to_string(), "10.1.0.0/16");
        assert_eq!(pools[1].gateway, pools[1].default_gateway());
        assert!(pools[1].range.is_some());
    }

    #[test]
    fn small_subnets() {
        assert_eq!(request(&["10.0.0.4/31"]).pools().unwrap()[0].gateway.to_string(), "10.0.0.4");
        assert!(request(&["10.0.0.4/32"]).pools().unwrap_err().cause.unwrap().contains("one address"));
        assert_eq!(request(&["fd00::/127"]).pools().unwrap()[0].gateway.to_string(), "fd00::");
        assert_eq!(request(&["fd00::/64"]).pools().unwrap()[0].gateway.to_string(), "fd00::1");
    }

    #[test]
    fn refuses_blocks_that_no_host_is_in() {
        for subnet in [
            "0.0.0.0/0",
            "127.0.0.0/24",
            "224.1.0.0/16",
            "255.255.255.0/24",
            "::/0",
            "fe80::/64",
            "ff02::/64",
        ] {
            assert!(request(&[subnet]).pools().is_err(), "{subnet}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(request(&["10.0.0.0/24", "10.0.0.128/25"]).pools().is_err());
        for gateway in ["10.9.0.1", "10.0.0.0", "10.0.0.255"] {
            let mut r = request(&["10.0.0.0/24"]);
            r.gateways = vec![gateway.parse().unwrap()];
            assert!(r.pools().is_err(), "{gateway}");
        }
        let mut r = request(&["10.0.0.0/24"]);
        r.ranges = vec!["10.0.1.0/25".parse().unwrap()];
        assert!(r.pools().is_err());
        let mut r = request(&["10.0.0.0/24"]);
        r.gateways = vec!["10.0.0.5".parse().unwrap()];
        r.aux = [("x".to_owned(), "10.0.0.5".parse().unwrap())].into();
        assert!(r.pools().is_err());
    }
}

//! Fixtures: single things in the kernel that a runtime's plugins give a sandbox.
//!
//! Where a network's driver derives what there should be from the network, a plugin says it piece by piece. So a fixture
//! stands by itself: it is made, found and removed without the others, in the order in which they were given.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Barred, IfName, IpvlanMode, Limit, Mac, MacvlanMode, OwnBridge};

/// Where a device is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// On the host.
    Host,
    /// In the sandbox's namespace.
    Inside,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host",
            Self::Inside => "the sandbox",
        })
    }
}

/// One thing in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fixture {
    /// A bridge on the host: made if it is not there, and never removed. A device of that name and another kind is in
    /// the way.
    Bridge(BridgeFixture),
    /// A bridge on the host that one network has made for itself, with what the host is on it.
    OwnBridge(OwnBridge),
    /// An address of a bridge on the host, for all that are behind it; it stays.
    Gateway {
        /// The bridge, or the host's place in a VLAN of one.
        bridge: IfName,
        /// The address.
        address: IpNet,
        /// Whether another address of the family goes for it (of IPv6 only one that overlaps); without it, that is an
        /// error.
        replace: bool,
    },
    /// The host's own place in a VLAN of a bridge: a veth pair, both sides on the host, that is made if the device is not
    /// there, and stays.
    VlanGateway {
        /// The bridge.
        bridge: IfName,
        /// The side that the host has its addresses on; the other is a port of the bridge.
        device: IfName,
        /// The VLAN.
        vlan: u16,
        /// Whether the bridge's default VLAN stays on the port beside that.
        keep_default_vlan: bool,
    },
    /// A veth pair with one side inside.
    Veth(VethFixture),
    /// Another device inside.
    Device(DeviceFixture),
    /// A device of the host that is moved inside, under another name, and back.
    Moved {
        /// Its name on the host.
        device: IfName,
        /// Its name inside.
        ifname: IfName,
    },
    /// A device that is set up.
    Up {
        /// Where it is.
        side: Side,
        /// The device.
        device: IfName,
        /// Whether it goes down with the part; else it stays up.
        down_again: bool,
    },
    /// An address.
    Address {
        /// Where the device is.
        side: Side,
        /// The device.
        device: IfName,
        /// The address with its prefix length.
        address: IpNet,
        /// Whether IPv6 looks for another that has it first (duplicate address detection).
        probed: bool,
        /// Whether the kernel makes no route to its subnet (IFA_F_NOPREFIXROUTE).
        no_route: bool,
    },
    /// A route.
    Route(RouteFixture),
    /// A destination inside that nothing leads to.
    Barred(Barred),
    /// A route that is taken away, and comes back when the part goes.
    Without(RouteFixture),
    /// A rule inside: what comes from a source is looked up in a table (`ip rule add from FROM table TABLE`).
    Rule {
        /// The source.
        from: IpNet,
        /// The table.
        table: u32,
    },
    /// A setting of a device inside.
    Setting {
        /// The device.
        device: IfName,
        /// What it is set to.
        to: Setting,
        /// What it was, to be given back; none if it goes with the device.
        before: Option<Setting>,
    },
    /// A sysctl; it stays.
    Sysctl {
        /// Whose.
        side: Side,
        /// Its path below /proc/sys, as `net/core/somaxconn`.
        key: String,
        /// The value.
        value: String,
    },
    /// A VRF inside: made if it is not there, and removed with its last member.
    Vrf {
        /// Its name.
        name: IfName,
        /// Its routing table.
        table: u32,
    },
    /// A device inside that is put under another: a VRF, or a bridge.
    Member {
        /// The device.
        device: IfName,
        /// The one above.
        master: IfName,
    },
    /// The neighbours are told the MAC of a device inside (gratuitous ARP, unsolicited NA).
    Announce {
        /// The device.
        device: IfName,
    },
    /// Limits at a device on the host.
    Limits(LimitsFixture),
    /// The isolation of a bridge port on the host: nothing passes between it and others that are isolated.
    Isolated {
        /// The port.
        port: IfName,
    },
    /// A device on the host is let pass by another's firewall. That stays as it is if it was so.
    Admitted(Admission),
}

/// A device that the tables `ip filter` or `ip6 filter` let pass. Chain `FORWARD`: all that comes from it, and to it what
/// answers or was sent to a published port. Or chain `INPUT`: what comes from it for a port of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Admission {
    /// The device.
    pub device: IfName,
    /// Whether it is about IPv6.
    pub ipv6: bool,
    /// The chain for such devices.
    pub chain: String,
    /// The chain that decides before that, if there is one; it is the administrator's.
    pub admin: Option<String>,
    /// The port of the host that it is about, of TCP and UDP; none if it is about what is forwarded.
    #[serde(default)]
    pub service: Option<u16>,
}

/// A bridge that plugins share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BridgeFixture {
    /// Its name.
    pub name: IfName,
    /// Its MTU in bytes, if it is made.
    pub mtu: Option<u32>,
    /// Whether it takes every frame (IFF_PROMISC); it is only ever switched on.
    pub promisc: bool,
    /// Whether it tells VLANs apart; it is only ever switched on.
    pub vlan_filtering: bool,
}

/// A veth pair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VethFixture {
    /// The side on the host.
    pub host: IfName,
    /// The side inside.
    pub ifname: IfName,
    /// The MAC of the side inside; the kernel's choice by default.
    pub mac: Option<Mac>,
    /// The MTU of both sides in bytes; the kernel's, or the bridge's, by default.
    pub mtu: Option<u32>,
    /// The bridge port that the host side is; none for a routed one.
    pub port: Option<BridgePort>,
    /// Whether the side inside stays down.
    pub down: bool,
    /// Whether the side inside has IPv6 (disable_ipv6 0) although it may be off there.
    pub ipv6: bool,
    /// Whether the side inside takes packets from anywhere, whatever way leads back (rp_filter 2).
    #[serde(default)]
    pub loose: bool,
}

/// A port of a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BridgePort {
    /// The bridge.
    pub bridge: IfName,
    /// Whether a frame may leave by the port it came from.
    pub hairpin: bool,
    /// Whether it is kept from other isolated ports.
    pub isolated: bool,
    /// The VLAN of frames without a tag; 0 leaves the bridge's default.
    pub vlan: u16,
    /// VLANs that pass with their tag, each from first to last.
    pub trunk: Vec<(u16, u16)>,
    /// Whether the bridge's default VLAN stays on the port beside those.
    pub keep_default_vlan: bool,
    /// Whether routers that others have on the bridge may tell the sandbox of themselves.
    #[serde(default)]
    pub open: bool,
}

/// A device inside that is no veth pair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceFixture {
    /// Its name.
    pub ifname: IfName,
    /// What it is.
    pub kind: DeviceKind,
    /// Its MAC; the kernel's choice by default.
    pub mac: Option<Mac>,
    /// Its MTU in bytes; the parent's or the kernel's by default.
    pub mtu: Option<u32>,
    /// Whether it has IPv6 (disable_ipv6 0) although it may be off there.
    pub ipv6: bool,
}

/// The kind of a device, and the device that it sits on with where that one is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A device with a MAC of its own on another.
    Macvlan {
        /// Where the other is.
        side: Side,
        /// The other.
        master: IfName,
        /// How devices of one master see each other.
        mode: MacvlanMode,
        /// How many broadcasts may wait (IFLA_MACVLAN_BC_QUEUE_LEN); the kernel's choice by default.
        broadcast_queue: Option<u32>,
        /// The number of receivers from which on a broadcast waits there (IFLA_MACVLAN_BC_CUTOFF); negative for never.
        #[serde(default)]
        broadcast_cutoff: Option<i32>,
    },
    /// A device with the MAC of another.
    Ipvlan {
        /// Where the other is.
        side: Side,
        /// The other.
        master: IfName,
        /// Up to which layer it takes part.
        mode: IpvlanMode,
    },
    /// What of another bears a VLAN's tag (802.1Q).
    Vlan {
        /// Where the other is.
        side: Side,
        /// The other.
        master: IfName,
        /// The VLAN.
        id: u16,
    },
    /// A device that takes everything and gives nothing.
    Dummy,
    /// A persistent tap.
    Tap {
        /// Whether it has several queues.
        multi_queue: bool,
        /// The user who may open it.
        owner: Option<u32>,
        /// The group that may open it.
        group: Option<u32>,
    },
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteFixture {
    /// Where it is.
    pub side: Side,
    /// Where it leads.
    pub to: IpNet,
    /// The device that it leaves by.
    pub device: IfName,
    /// The next hop; none if it is on the link.
    pub via: Option<IpAddr>,
    /// Whether the next hop is on the link though no address says so.
    pub onlink: bool,
    /// The source that packets take.
    pub source: Option<IpAddr>,
    /// The table; main by default.
    pub table: Option<u32>,
    /// The scope (RT_SCOPE_...); by default link without a next hop, else universe.
    pub scope: Option<u8>,
    /// The metric.
    pub priority: Option<u32>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// The advertised maximum segment size in bytes.
    pub advmss: Option<u32>,
    /// Whether one like it may be there already, and is taken for it.
    pub shared: bool,
}

/// A setting of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Its MAC.
    Mac(Mac),
    /// Its MTU in bytes.
    Mtu(u32),
    /// Whether it takes every frame (IFF_PROMISC).
    Promisc(bool),
    /// Whether it takes every multicast (IFF_ALLMULTI).
    AllMulti(bool),
    /// How many frames may wait to be sent.
    TxQueue(u32),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::Mac(mac) => write!(f, "mac {mac}"),
            Self::Mtu(mtu) => write!(f, "mtu {mtu}"),
            Self::Promisc(on) => write!(f, "promisc {}", switch(on)),
            Self::AllMulti(on) => write!(f, "allmulticast {}", switch(on)),
            Self::TxQueue(frames) => write!(f, "txqueuelen {frames}"),
        }
    }
}

/// Limits at a device on the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LimitsFixture {
    /// The device.
    pub device: IfName,
    /// The limit of what it sends, which is what comes to the sandbox.
    pub ingress: Option<Limit>,
    /// The limit of what comes from the sandbox.
    pub egress: Option<Limit>,
    /// The ifb that what comes from the sandbox waits in.
    pub ifb: IfName,
}

impl Fixture {
    /// Whether it is of the host alone, whatever namespace it is made for.
    pub const fn is_of_host(&self) -> bool {
        matches!(self, Self::Admitted(_) | Self::OwnBridge(_))
    }

    /// Whether it stays when the part that it belongs to goes.
    pub const fn stays(&self) -> bool {
        matches!(
            self,
            Self::Bridge(_)
                | Self::VlanGateway { .. }
                | Self::Gateway { .. }
                | Self::Sysctl { .. }
                | Self::Announce { .. }
        )
    }
}

impl fmt::Display for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(bridge) => write!(f, "bridge {}", bridge.name),
            Self::OwnBridge(bridge) => bridge.fmt(f),
            Self::Gateway { bridge, address, .. } => write!(f, "address {address} of bridge {bridge}"),
            Self::VlanGateway { bridge, device, vlan, .. } => {
                write!(f, "device {device} in VLAN {vlan} of bridge {bridge}")
            }
            Self::Veth(veth) => veth.fmt(f),
            Self::Device(device) => write!(f, "{} {} in the sandbox", device.kind, device.ifname),
            Self::Moved { device, ifname } => write!(f, "device {device} as {ifname} in the sandbox"),
            Self::Up { side, device, .. } => write!(f, "device {device} up in {side}"),
            Self::Address { side, device, address, .. } => {
                write!(f, "address {address} of {device} in {side}")
            }
            Self::Route(route) => route.fmt(f),
            Self::Barred(Barred { to, how, .. }) => write!(f, "{how} {to} in the sandbox"),
            Self::Without(route) => write!(f, "no {route}"),
            Self::Rule { from, table } => write!(f, "rule from {from} table {table} in the sandbox"),
            Self::Setting { device, to, .. } => write!(f, "{to} of {device} in the sandbox"),
            Self::Sysctl { side, key, value } => write!(f, "sysctl {key} = {value} in {side}"),
            Self::Vrf { name, table } => write!(f, "vrf {name} table {table} in the sandbox"),
            Self::Member { device, master } => write!(f, "{device} under {master} in the sandbox"),
            Self::Announce { device } => write!(f, "announcement of {device}"),
            Self::Limits(limits) => limits.fmt(f),
            Self::Isolated { port } => write!(f, "isolation of port {port}"),
            Self::Admitted(admission) => admission.fmt(f),
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = if self.ipv6 { "ip6 filter" } else { "ip filter" };
        match self.service {
            None => write!(f, "{} let pass by chain {} of {table}", self.device, self.chain),
            Some(port) => {
                write!(f, "{} let ask at port {port} by chain {} of {table}", self.device, self.chain)
            }
        }
    }
}

impl fmt::Display for VethFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "veth pair {} with {} in the sandbox", self.host, self.ifname)?;
        match &self.port {
            Some(port) => write!(f, " on {}", port.bridge),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Dummy => "dummy",
            Self::Tap { .. } => "tap",
        })
    }
}

impl fmt::Display for RouteFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.device)?;
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        write!(f, " in {}", self.side)
    }
}

impl fmt::Display for LimitsFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits of {}", self.device)?;
        if let Some(limit) = self.ingress {
            write!(f, " ingress {limit}")?;
        }
        match self.egress {
            Some(limit) => write!(f, " egress {limit} by {}", self.ifb),
            None => Ok(()),
        }
    }
}

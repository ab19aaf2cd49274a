//! The part of a host's kernel that Linkspan looks after, as values that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use linkspan_model::{Family, Fixture, IfName, Mac, Name, PortRange, Protocol};

use crate::{Patch, Shaper, Tap, Uplink, Upper};

/// What is, or should be, in the kernel of one host.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct State {
    /// Host sysctls by their path below /proc/sys, as `net/ipv4/ip_forward`.
    pub sysctls: BTreeMap<String, String>,
    /// Bridges by device name.
    pub bridges: BTreeMap<IfName, Bridge>,
    /// Network cards that bridges are plugged into, by device name.
    pub uplinks: BTreeMap<IfName, Uplink>,
    /// Pinned namespaces by their name in /run/netns.
    pub namespaces: BTreeMap<Name, Namespace>,
    /// veth pairs by the device on the host.
    pub ports: BTreeMap<IfName, Port>,
    /// Veth pairs between a bridge of ours and another, by their side on ours.
    pub patches: BTreeMap<IfName, Patch>,
    /// Taps by device name.
    pub taps: BTreeMap<IfName, Tap>,
    /// Shapers by the port or tap that they are at.
    pub shapers: BTreeMap<IfName, Shaper>,
    /// Devices on devices of the host.
    pub upper: Upper,
    /// Default routes inside the namespaces.
    pub routes: BTreeSet<Route>,
    /// What plugins of runtimes made, each with the namespace whose inside it speaks of, in the order of making. Not to be
    /// observed: it is made where nothing is in the way, and removed as far as it is there.
    pub fixtures: Vec<(Name, Fixture)>,
    /// Namespaces that were given, in which names are answered. Not to be observed: whoever answers puts there what it takes,
    /// and it is removed as far as it is there. In a namespace of ours it goes with that.
    pub answered: BTreeSet<Name>,
    /// The elements of the firewall's sets and maps; none if our table is not there or is of another version.
    pub firewall: Option<BTreeSet<Element>>,
}

/// A bridge with the addresses it has as the host's interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// Its MAC, set so that it never follows the ports.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The gateway addresses.
    pub addresses: BTreeSet<IpNet>,
    /// Whether the host takes no part in what passes: it has no address there and answers no ARP (IFF_NOARP).
    pub switch: bool,
    /// Whether it speaks the spanning tree protocol (IFLA_BR_STP_STATE).
    pub stp: bool,
}

impl Bridge {
    /// Whether `other` is the same but for its addresses, so that it need not be made anew.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.mac, self.mtu, self.switch, self.stp) == (other.mac, other.mtu, other.switch, other.stp)
    }
}

/// A pinned network namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Namespace {
    /// Made new, with loopback up.
    New,
    /// The host's own, pinned.
    Host,
    /// The one pinned under another name.
    Pinned(Name),
    /// The one that a file stands for. As observed: a file that pins nothing, left by a change cut short.
    Path(PathBuf),
}

/// A veth pair whose host side is a port of a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The bridge it is plugged into.
    pub bridge: IfName,
    /// The MTU of both sides in bytes.
    pub mtu: u32,
    /// Whether it is kept from other isolated ports of the bridge (IFLA_BRPORT_ISOLATED).
    pub isolated: bool,
    /// Whether a frame may leave by the port it came from (IFLA_BRPORT_MODE).
    pub hairpin: bool,
    /// The side inside; none if it could not be found where it was made.
    pub peer: Option<Peer>,
}

impl Port {
    /// Whether `other` is the same but for what can be changed on a port in use.
    pub fn is_like(&self, other: &Self) -> bool {
        Self { hairpin: self.hairpin, ..other.clone() } == *self
    }
}

/// The sandbox side of a veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The namespace it is in.
    pub namespace: Name,
    /// Its name there.
    pub ifname: IfName,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses, link-local ones left out.
    pub addresses: BTreeSet<IpNet>,
    /// Whether its MAC is told to the neighbours when it is made (gratuitous ARP, unsolicited NA): a broadcast, so
    /// only where one of them may remember another. Not to be observed.
    pub announce: bool,
}

/// A default route inside a namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// The namespace.
    pub namespace: Name,
    /// The gateway; its family is the route's. Unspecified if the route leads onto the link.
    pub via: IpAddr,
    /// The interface it leaves by.
    pub ifname: IfName,
}

/// One element of a set or map of our table: everything that varies in the firewall.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Element {
    /// A bridge of ours: what is new may enter only if published or from the same bridge.
    Bridge(IfName),
    /// A bridge whose traffic to the outside takes the host's address.
    Masquerade(IfName),
    /// A bridge that reaches nothing outside and is not reached from there.
    Internal(IfName),
    /// A bridge whose sandboxes have another default gateway than it: published flows into it take its address,
    /// or the reply would not come back this way.
    ForeignGateway(IfName),
    /// A bridge without icc. Its ports are isolated; by way of the host its sandboxes do not meet either.
    Apart(IfName),
    /// A device of the host behind which a runtime's containers are, and no bridge of ours: somebody's bridge, the host
    /// side of a routed veth pair. Published flows lead there, and nothing is kept from it.
    Guest(IfName),
    /// A subnet of a runtime's containers, host bits zero. It may lie within others.
    Home(IpNet),
    /// An address whose traffic takes the host's, but for what goes to a [`Home`](Self::Home) or to all (multicast).
    MasqueradeFrom(IpAddr),
    /// An address to which published flows come from the host's.
    MasqueradeTo(IpAddr),
    /// A bridge from which nothing goes to another such, published or not.
    Closed(IfName),
    /// A closed bridge that nothing goes back into either where the host sees it: beside [`Closed`](Self::Closed).
    Sealed(IfName),
    /// A bridge that is kept from other such as far as either wants it, but for published ports.
    Segment(IfName),
    /// A segment that does not meet others that are isolated.
    Isolated(IfName),
    /// A segment that does not meet any other.
    Strict(IfName),
    /// A bridge whose traffic to the outside takes an address, if it is of that family.
    Outbound {
        /// The bridge; it has one address of a family.
        bridge: IfName,
        /// The address.
        address: IpAddr,
    },
    /// A bridge whose containers ask the host for names. They may, whatever else is not taken in by the table that it is in: as
    /// with [`Backend`](Self::Backend).
    Named(IfName),
    /// A port of a bridge by which only frames from this MAC enter; one a port. Not every kernel can see to that.
    Spoof {
        /// The port.
        port: IfName,
        /// The MAC.
        mac: Mac,
    },
    /// A published port; an unspecified `host` stands for every address of the host.
    Publish {
        /// The protocol.
        protocol: Protocol,
        /// The host address.
        host: IpAddr,
        /// The host port.
        port: u16,
        /// Where it leads.
        to: SocketAddr,
    },
    /// Ports published on every address of the host under the numbers they have inside.
    PublishRange {
        /// The protocol.
        protocol: Protocol,
        /// The ports, outside and inside.
        ports: PortRange,
        /// Where they lead.
        to: IpAddr,
    },
    /// One of the two before this in a table of its own, which the users of a runtime's network backend know by name: they
    /// may delete it, and have the backend make it anew.
    Backend(Box<Self>),
}

impl Element {
    /// The set or map that it belongs to, as `nft list table inet linkspan` shows it; that of a
    /// [`Spoof`](Self::Spoof) is in `bridge linkspan`.
    pub fn set(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridges",
            Self::Masquerade(_) => "masqueraded",
            Self::Internal(_) => "internal",
            Self::ForeignGateway(_) => "foreign_gateway",
            Self::Apart(_) => "apart",
            Self::Guest(_) => "guests",
            Self::Home(net) => of_family(net.addr(), "homes4", "homes6"),
            Self::MasqueradeFrom(address) => of_family(*address, "masquerade4", "masquerade6"),
            Self::MasqueradeTo(address) => of_family(*address, "masquerade_to4", "masquerade_to6"),
            Self::Closed(_) => "closed",
            Self::Sealed(_) => "sealed",
            Self::Segment(_) => "segments",
            Self::Isolated(_) => "isolated",
            Self::Strict(_) => "strict",
            Self::Outbound { address, .. } => of_family(*address, "outbound4", "outbound6"),
            Self::Named(_) => "named",
            Self::Spoof { .. } => "own_mac",
            Self::Publish { host, .. } => match (Family::of(*host), host.is_unspecified()) {
                (Family::V4, true) => "publish4_any",
                (Family::V4, false) => "publish4",
                (Family::V6, true) => "publish6_any",
                (Family::V6, false) => "publish6",
            },
            Self::PublishRange { protocol, to, .. } => match (Family::of(*to), protocol) {
                (Family::V4, Protocol::Tcp) => "range4_tcp",
                (Family::V4, Protocol::Udp) => "range4_udp",
                (Family::V4, Protocol::Sctp) => "range4_sctp",
                (Family::V6, Protocol::Tcp) => "range6_tcp",
                (Family::V6, Protocol::Udp) => "range6_udp",
                (Family::V6, Protocol::Sctp) => "range6_sctp",
            },
            Self::Backend(published) => match published.set() {
                "publish4" => "ports4",
                "publish4_any" => "ports4_any",
                "publish6" => "ports6",
                "publish6_any" => "ports6_any",
                "range4_tcp" => "ranges4_tcp",
                "range4_udp" => "ranges4_udp",
                "range4_sctp" => "ranges4_sctp",
                "range6_tcp" => "ranges6_tcp",
                "range6_udp" => "ranges6_udp",
                "range6_sctp" => "ranges6_sctp",
                other => other,
            },
        }
    }

    /// Whether it is about a network or a wire, not a port, and so must hold before anything is plugged in.
    pub const fn is_policy(&self) -> bool {
        !matches!(self, Self::Publish { .. } | Self::PublishRange { .. } | Self::Backend(_))
    }
}

const fn of_family(address: IpAddr, v4: &'static str, v6: &'static str) -> &'static str {
    if address.is_ipv4() { v4 } else { v6 }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{ ", self.set())?;
        self.content(f)?;
        f.write_str(" }")
    }
}

impl Element {
    /// What it is within its set.
    fn content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name)
            | Self::Masquerade(name)
            | Self::Internal(name)
            | Self::ForeignGateway(name)
            | Self::Apart(name)
            | Self::Guest(name)
            | Self::Closed(name)
            | Self::Sealed(name)
            | Self::Segment(name)
            | Self::Isolated(name)
            | Self::Strict(name)
            | Self::Named(name) => {
                write!(f, "{name}")
            }
            Self::Home(net) => write!(f, "{net}"),
            Self::MasqueradeFrom(address) | Self::MasqueradeTo(address) => write!(f, "{address}"),
            Self::Outbound { bridge, address } => write!(f, "{bridge} : {address}"),
            Self::Spoof { port, mac } => write!(f, "{port} . {mac}"),
            Self::Publish { protocol, host, port, to } if host.is_unspecified() => {
                write!(f, "{protocol} . {port} : {} . {}", to.ip(), to.port())
            }
            Self::Publish { protocol, host, port, to } => {
                write!(f, "{host} . {protocol} . {port} : {} . {}", to.ip(), to.port())
            }
            Self::PublishRange { ports, to, .. } => write!(f, "{ports} : {to}"),
            Self::Backend(published) => published.content(f),
        }
    }
}

/// What to look at: only what a command touches.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Host sysctls.
    pub sysctls: BTreeSet<String>,
    /// Bridges.
    pub bridges: BTreeSet<IfName>,
    /// Network cards, each with the bridge that it is a port of.
    pub uplinks: BTreeMap<IfName, IfName>,
    /// Namespaces, with their default routes.
    pub namespaces: BTreeSet<Name>,
    /// Namespaces, for nothing but their being pinned.
    pub pins: BTreeSet<Name>,
    /// Namespaces that others have pinned, for their default routes alone.
    pub insides: BTreeSet<Name>,
    /// Host sides of veth pairs, with the namespace and name of the side inside.
    pub ports: BTreeMap<IfName, (Name, IfName)>,
    /// Patches by their side on our bridge, as they should be: the other side is looked for where it should be.
    pub patches: BTreeMap<IfName, Patch>,
    /// Taps.
    pub taps: BTreeSet<IfName>,
    /// Devices with shapers, and the ifb of each that has one.
    pub shapers: BTreeMap<IfName, Option<IfName>>,
    /// Devices on devices of the host, as they should be.
    pub upper: Upper,
    /// Elements of the firewall.
    pub elements: Elements,
}

/// How much of the firewall to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Elements {
    /// These, and whether the table is there.
    These(BTreeSet<Element>),
    /// Every one.
    All,
}

impl Default for Elements {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Scope {
    /// Everything that occurs in one of `states`.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a State>) -> Self {
        let mut scope = Self::default();
        let mut elements = BTreeSet::new();
        for state in states {
            scope.sysctls.extend(state.sysctls.keys().cloned());
            scope.bridges.extend(state.bridges.keys().cloned());
            let uplinks = state.uplinks.iter();
            scope.uplinks.extend(uplinks.map(|(card, uplink)| (card.clone(), uplink.bridge.clone())));
            scope.namespaces.extend(state.namespaces.keys().cloned());
            scope.insides.extend(state.routes.iter().map(|route| route.namespace.clone()));
            scope.patches.extend(state.patches.clone());
            scope.upper.merge(state.upper.clone());
            for (host, port) in &state.ports {
                if let Some(peer) = &port.peer {
                    scope.ports.insert(host.clone(), (peer.namespace.clone(), peer.ifname.clone()));
                }
            }
            scope.taps.extend(state.taps.keys().cloned());
            for (device, shaper) in &state.shapers {
                let ifb = scope.shapers.entry(device.clone()).or_default();
                *ifb = shaper.ifb().cloned().or(ifb.take());
            }
            if let Some(firewall) = &state.firewall {
                unite(&mut elements, firewall.clone());
            }
        }
        scope.insides.retain(|name| !scope.namespaces.contains(name));
        scope.elements = Elements::These(elements);
        scope
    }
}

/// Adds `more` to `set`, element by element of the smaller: a container may publish thousands of ports.
fn unite(set: &mut BTreeSet<Element>, mut more: BTreeSet<Element>) {
    if set.len() < more.len() {
        std::mem::swap(set, &mut more);
    }
    set.extend(more);
}

impl State {
    /// Whether a device is a side of one of its patches.
    pub fn joins_by(&self, device: &IfName) -> bool {
        self.patches.iter().any(|(up, patch)| up == device || patch.peer == *device)
    }

    /// Adds everything of `other`.
    pub fn merge(&mut self, other: Self) {
        self.sysctls.extend(other.sysctls);
        self.bridges.extend(other.bridges);
        self.uplinks.extend(other.uplinks);
        self.namespaces.extend(other.namespaces);
        self.ports.extend(other.ports);
        self.patches.extend(other.patches);
        self.taps.extend(other.taps);
        self.shapers.extend(other.shapers);
        self.upper.merge(other.upper);
        self.routes.extend(other.routes);
        self.fixtures.extend(other.fixtures);
        self.answered.extend(other.answered);
        if let Some(elements) = other.firewall {
            unite(self.firewall.get_or_insert_default(), elements);
        }
    }

    /// Leaves out what is at devices on the host other than those that are to be `kept`.
    pub fn retain_wires(&mut self, mut kept: impl FnMut(&IfName) -> bool) {
        self.ports.retain(|device, _| kept(device));
        self.taps.retain(|device, _| kept(device));
        self.shapers.retain(|device, _| kept(device));
    }

    /// Takes as wanted what people changed by hand on living objects: an MTU, an address or route more, a port set
    /// otherwise, another rate. Nothing live is torn down for it. What `former` had is Linkspan's own and is not forgiven.
    pub fn forgive(&mut self, desired: &Self, former: &Self) {
        for (name, bridge) in &mut self.bridges {
            let Some(wanted) = desired.bridges.get(name) else { continue };
            *bridge = Bridge { addresses: std::mem::take(&mut bridge.addresses), ..wanted.clone() };
            let ours = |address: &IpNet| {
                let formerly =
                    former.bridges.get(name).is_some_and(|bridge| bridge.addresses.contains(address));
                wanted.addresses.contains(address) || formerly
            };
            bridge.addresses.retain(ours);
        }
        for (card, uplink) in &mut self.uplinks {
            uplink.recall(desired.uplinks.get(card).or_else(|| former.uplinks.get(card)));
        }
        for (name, namespace) in &mut self.namespaces {
            let pins_nothing = matches!(namespace, Namespace::Path(_));
            if let Some(wanted) = desired.namespaces.get(name).filter(|_| !pins_nothing) {
                namespace.clone_from(wanted);
            }
        }
        for (name, port) in &mut self.ports {
            if let Some(wanted) = desired.ports.get(name)
                && wanted.bridge == port.bridge
                && port.peer.is_some()
            {
                let ours = former.ports.get(name).is_some_and(|former| former.hairpin == port.hairpin);
                let hairpin = if ours { port.hairpin } else { wanted.hairpin };
                *port = Port { hairpin, ..wanted.clone() };
            }
        }
        for (name, patch) in &mut self.patches {
            patch.forgive(desired.patches.get(name));
        }
        for (name, tap) in &mut self.taps {
            if let Some(wanted) = desired.taps.get(name).filter(|wanted| wanted.bridge == tap.bridge) {
                tap.clone_from(wanted);
            }
        }
        for (device, shaper) in &mut self.shapers {
            if let Some(wanted) = desired.shapers.get(device).filter(|wanted| wanted.is_like(shaper)) {
                shaper.clone_from(wanted);
            }
        }
        self.upper.forgive(&desired.upper);
        self.routes.retain(|route| desired.routes.contains(route) || former.routes.contains(route));
    }
}

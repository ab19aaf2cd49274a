//! One change of the kernel, and what it does to a [`State`].

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Fixture, IfName, Name, PortRange, Protocol};

use crate::{Bridge, Element, Namespace, Patch, Peer, Port, Route, Shaper, State, Tap, Uplink, UpperStep};

/// One change. It prints as one line, the same in dry runs, logs and golden files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Writes a host sysctl.
    SetSysctl {
        /// Path below /proc/sys.
        key: String,
        /// The value.
        value: String,
    },
    /// Makes our table with its chains, empty sets and maps; one of another version is replaced.
    CreateFirewall,
    /// Removes our table.
    DeleteFirewall,
    /// Adds an element to a set or map of our table.
    AddElement(Element),
    /// Removes an element.
    DeleteElement(Element),
    /// Makes a bridge, up, with its addresses.
    CreateBridge(IfName, Bridge),
    /// Gives a bridge one more address.
    AddAddress(IfName, IpNet),
    /// Takes an address from a bridge.
    DeleteAddress(IfName, IpNet),
    /// Makes a network card a port of a bridge; its addresses, routes and neighbours go over to the bridge.
    Enslave(IfName, Uplink),
    /// Gives a network card back what its bridge has and is not the network's own, and unplugs it.
    Release(IfName, Uplink),
    /// Removes a bridge.
    DeleteBridge(IfName),
    /// Pins a namespace at /run/netns, making it if it is new.
    CreateNamespace(Name, Namespace),
    /// Removes a pin; a namespace that nothing else holds goes with it.
    DeleteNamespace(Name),
    /// Makes a veth pair: one side a port of a bridge, the other configured inside.
    CreatePort(IfName, Port),
    /// Removes a veth pair by its host side.
    DeletePort(IfName),
    /// Lets a frame leave by the port it came from, or no longer.
    SetHairpin(IfName, bool),
    /// Joins a bridge to another by a veth pair.
    CreatePatch(IfName, Patch),
    /// Parts them again.
    DeletePatch(IfName, Patch),
    /// Makes a persistent tap, a port of a bridge.
    CreateTap(IfName, Tap),
    /// Removes a tap, whoever has it open.
    DeleteTap(IfName),
    /// Limits what passes a port or tap.
    Shape(IfName, Shaper),
    /// Lifts the limits of a port or tap, and removes the ifb that it had for them.
    Unshape(IfName, Option<IfName>),
    /// Changes a device on a device of the host.
    Upper(UpperStep),
    /// Makes one thing that a plugin wants; its inside is the namespace of this name.
    Fit(Name, Fixture),
    /// Takes it away again, as far as it is there.
    Unfit(Name, Fixture),
    /// Removes what leads questions for names to whoever answers them, as far as it is there.
    Unanswer(Name),
    /// Adds a default route inside.
    AddRoute(Route),
    /// Removes a default route inside.
    DeleteRoute(Route),
    /// Forgets tracked flows to a host port whose mapping changed, so that they follow the new one.
    FlushFlows {
        /// The protocol.
        protocol: Protocol,
        /// The host address they were sent to; unspecified for any.
        host: IpAddr,
        /// The host ports.
        ports: PortRange,
    },
}

impl Step {
    /// Whether it makes what sandboxes of several commands stand on, so that one of these has to make it alone.
    pub const fn makes_ground(&self) -> bool {
        matches!(
            self,
            Self::CreateBridge(..)
                | Self::CreatePatch(..)
                | Self::Enslave(..)
                | Self::Upper(UpperStep::CreateVlan(..) | UpperStep::CreateShim(..))
        )
    }

    /// Whether it is about a bridge that a network has made for itself, which others may be below.
    pub(crate) const fn is_of_own_bridge(&self) -> bool {
        matches!(self, Self::Fit(_, Fixture::OwnBridge(_)) | Self::Unfit(_, Fixture::OwnBridge(_)))
    }

    /// Whether something in the firewall may go with it: a table of another version goes when ours is made.
    pub const fn deletes_in_firewall(&self) -> bool {
        matches!(self, Self::CreateFirewall | Self::DeleteFirewall | Self::DeleteElement(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSysctl { key, value } => write!(f, "set sysctl {key} = {value}"),
            Self::CreateFirewall => f.write_str("create firewall table inet linkspan"),
            Self::DeleteFirewall => f.write_str("delete firewall table inet linkspan"),
            Self::AddElement(element) => write!(f, "add element {element}"),
            Self::DeleteElement(element) => write!(f, "delete element {element}"),
            Self::CreateBridge(name, bridge) => {
                write!(f, "create bridge {name} mac {} mtu {}", bridge.mac, bridge.mtu)?;
                f.write_str(if bridge.switch { " switch" } else { "" })?;
                f.write_str(if bridge.stp { " stp" } else { "" })?;
                bridge.addresses.iter().try_for_each(|address| write!(f, " address {address}"))
            }
            Self::AddAddress(name, address) => write!(f, "add address {address} to {name}"),
            Self::DeleteAddress(name, address) => write!(f, "delete address {address} from {name}"),
            Self::Enslave(card, uplink) => write!(f, "enslave {card} to {uplink}"),
            Self::Release(card, uplink) => write!(f, "release {card} from {}", uplink.bridge),
            Self::DeleteBridge(name) => write!(f, "delete bridge {name}"),
            Self::CreateNamespace(name, namespace) => match namespace {
                Namespace::New => write!(f, "create namespace {name}"),
                Namespace::Host => write!(f, "pin the host's namespace as {name}"),
                Namespace::Pinned(other) => write!(f, "pin namespace {other} as {name}"),
                Namespace::Path(path) => write!(f, "pin namespace {} as {name}", path.display()),
            },
            Self::DeleteNamespace(name) => write!(f, "delete namespace {name}"),
            Self::CreatePort(name, port) => fmt_port(f, name, port),
            Self::DeletePort(name) => write!(f, "delete port {name}"),
            Self::SetHairpin(name, on) => {
                write!(f, "set hairpin {} on port {name}", if *on { "on" } else { "off" })
            }
            Self::CreatePatch(name, patch) => write!(f, "create patch {name} {patch}"),
            Self::DeletePatch(name, patch) => write!(f, "delete patch {name} {patch}"),
            Self::CreateTap(name, tap) => write!(f, "create tap {name} {tap}"),
            Self::DeleteTap(name) => write!(f, "delete tap {name}"),
            Self::Shape(device, shaper) => write!(f, "shape {device}{shaper}"),
            Self::Unshape(device, None) => write!(f, "unshape {device}"),
            Self::Unshape(device, Some(ifb)) => write!(f, "unshape {device}, delete {ifb}"),
            Self::Upper(step) => write!(f, "{step}"),
            Self::Fit(namespace, fixture) => write!(f, "fit {namespace} with {fixture}"),
            Self::Unfit(namespace, fixture) => write!(f, "rid {namespace} of {fixture}"),
            Self::Unanswer(namespace) => write!(f, "answer no names in {namespace}"),
            Self::AddRoute(route) => fmt_route(f, "add", route),
            Self::DeleteRoute(route) => fmt_route(f, "delete", route),
            Self::FlushFlows { protocol, host, ports } => {
                write!(f, "flush flows to {host} {protocol} {ports}")
            }
        }
    }
}

fn fmt_route(f: &mut fmt::Formatter<'_>, verb: &str, route: &Route) -> fmt::Result {
    write!(f, "{verb} route in {} default", route.namespace)?;
    if !route.via.is_unspecified() {
        write!(f, " via {}", route.via)?;
    }
    write!(f, " dev {}", route.ifname)
}

fn fmt_port(f: &mut fmt::Formatter<'_>, name: &IfName, port: &Port) -> fmt::Result {
    write!(f, "create port {name} on {} mtu {}", port.bridge, port.mtu)?;
    if port.isolated {
        f.write_str(" isolated")?;
    }
    if port.hairpin {
        f.write_str(" hairpin")?;
    }
    if let Some(Peer { namespace, ifname, mac, addresses, announce }) = &port.peer {
        write!(f, " peer {ifname} in {namespace} mac {mac}")?;
        addresses.iter().try_for_each(|address| write!(f, " address {address}"))?;
        if *announce {
            f.write_str(" announced")?;
        }
    }
    Ok(())
}

impl State {
    /// What each step means: the state after it.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::SetSysctl { key, value } => {
                self.sysctls.insert(key, value);
            }
            Step::CreateFirewall => self.firewall = Some([].into()),
            Step::DeleteFirewall => self.firewall = None,
            Step::AddElement(element) => _ = self.firewall.get_or_insert_default().insert(element),
            Step::DeleteElement(element) => _ = self.firewall.get_or_insert_default().remove(&element),
            Step::CreateBridge(name, bridge) => {
                self.bridges.insert(name, bridge);
            }
            Step::AddAddress(name, address) => {
                self.bridges.entry(name).and_modify(|bridge| _ = bridge.addresses.insert(address));
            }
            Step::DeleteAddress(name, address) => {
                self.bridges.entry(name).and_modify(|bridge| _ = bridge.addresses.remove(&address));
            }
            Step::Enslave(card, uplink) => _ = self.uplinks.insert(card, uplink),
            Step::Release(card, _) => _ = self.uplinks.remove(&card),
            Step::DeleteBridge(name) => _ = self.bridges.remove(&name),
            Step::CreateNamespace(name, namespace) => {
                self.namespaces.insert(name, namespace);
            }
            Step::DeleteNamespace(name) => {
                self.namespaces.remove(&name);
                self.routes.retain(|route| route.namespace != name);
            }
            Step::CreatePort(name, port) => {
                self.ports.insert(name, port);
            }
            Step::CreateTap(name, tap) => _ = self.taps.insert(name, tap),
            Step::DeleteTap(name) => {
                self.taps.remove(&name);
                self.lose_shaper(name);
            }
            Step::Shape(device, shaper) => _ = self.shapers.insert(device, shaper),
            Step::Unshape(device, _) => _ = self.shapers.remove(&device),
            Step::SetHairpin(name, on) => {
                self.ports.entry(name).and_modify(|port| port.hairpin = on);
            }
            Step::DeletePort(name) => {
                self.lose_shaper(name.clone());
                if let Some(Port { peer: Some(peer), .. }) = self.ports.remove(&name) {
                    self.routes.retain(|r| r.namespace != peer.namespace || r.ifname != peer.ifname);
                }
            }
            Step::CreatePatch(name, patch) => _ = self.patches.insert(name, patch),
            Step::DeletePatch(name, _) => self.patches.retain(|up, patch| *up != name && patch.peer != name),
            Step::Upper(step) => step.apply(self),
            // What stays is nobody's.
            Step::Fit(namespace, fixture) => {
                self.fixtures.extend((!fixture.stays()).then_some((namespace, fixture)));
            }
            Step::Unfit(namespace, fixture) => {
                self.fixtures.retain(|fitted| *fitted != (namespace.clone(), fixture.clone()))
            }
            Step::Unanswer(namespace) => _ = self.answered.remove(&namespace),
            Step::AddRoute(route) => _ = self.routes.insert(route),
            Step::DeleteRoute(route) => _ = self.routes.remove(&route),
            Step::FlushFlows { .. } => {}
        }
    }

    /// What a device's own queue and filter did goes with it.
    fn lose_shaper(&mut self, device: IfName) {
        if let Some(left) = self.shapers.remove(&device).and_then(Shaper::without_device) {
            self.shapers.insert(device, left);
        }
    }
}

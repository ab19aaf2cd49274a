//! A host's kernel in memory, for tests of what stands on the real one.

mod fixture;
mod uplink;
mod upper;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use linkspan_model::{Family, Fixture, IfName, Mac, Name, PortRange, Protocol};
use linkspan_plan::{
    CardFacts, Elements, Failure, HostPrefix, Inside, Kernel, KernelError, LinkFacts, Namespace,
    ParentDevice, Patch, PatchEnd, Port, PortHolder, Route, Scope, Shaper, State, Step,
};

use crate::error::{Refusal, Result};
use crate::host::is_firewall;
use crate::netns::pin_path;

pub use uplink::FakeCard;

/// A kernel whose steps mean what [`State::apply`] says, and which is as strict as the real one: making what
/// is there is refused, as is using what is not; deleting what is gone is not.
#[derive(Clone, Default, Debug)]
pub struct Fake {
    /// What is in it.
    pub state: State,
    /// Every step that was made, in order.
    pub made: Vec<Step>,
    /// What goes wrong, and when.
    pub fault: Option<Fault>,
    /// What the host uses beside Linkspan.
    pub prefixes: Vec<HostPrefix>,
    /// Addresses that the host has beside 127.0.0.0/8, ::1 and those of the bridges.
    pub addresses: BTreeSet<IpAddr>,
    /// Who listens on the host.
    pub listeners: Vec<Listener>,
    /// The bridges of Open vSwitch; none if it does not run.
    pub ovs: Option<BTreeSet<String>>,
    /// Devices of the host that others may sit on.
    pub parents: BTreeMap<IfName, ParentDevice>,
    /// Devices that are not ours, with their kind as `dummy`.
    pub devices: BTreeMap<IfName, String>,
    /// Namespaces of others by the files that stand for them, with what is in them.
    pub foreign: BTreeMap<PathBuf, Inside>,
    /// Namespaces of others, by their pins, that nobody else holds any more.
    pub deserted: BTreeSet<Name>,
    /// The host's network cards.
    pub cards: BTreeMap<IfName, FakeCard>,
    /// Addresses that others on the LANs of the cards have.
    pub neighbours: BTreeMap<IpAddr, Mac>,
}

/// When the fake kernel fails, counted in steps that it was asked to make from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This step is refused; those after it work.
    Refuse(usize),
    /// The process dies before this step: it and everything after it fails. The state stays as it is; who comes
    /// after the dead process finds it by clearing the fault.
    Die(usize),
}

/// A process that listens on the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port; an unspecified address stands for all of its family.
    pub at: SocketAddr,
    /// The process, as `name (pid 1234)`.
    pub process: Option<String>,
}

impl Kernel for Fake {
    fn observe(&mut self, scope: &Scope) -> std::result::Result<State, KernelError> {
        self.alive()?;
        let ifbs = scope.shapers.values().flatten();
        let ports = scope.ports.keys().chain(scope.patches.keys()).chain(&scope.taps);
        for name in scope.bridges.iter().chain(ports).chain(ifbs) {
            self.free(name).map_err(|refusal| refusal.of(format!("look at {name}")))?;
        }
        let state = &self.state;
        Ok(State {
            sysctls: select(&state.sysctls, |key| scope.sysctls.contains(key)),
            bridges: select(&state.bridges, |name| scope.bridges.contains(name)),
            uplinks: self.seen_uplinks(scope),
            namespaces: self.seen_namespaces(scope),
            ports: self.seen_ports(scope),
            patches: select(&state.patches, |name| scope.patches.contains_key(name)),
            taps: select(&state.taps, |name| scope.taps.contains(name)),
            shapers: select(&state.shapers, |name| scope.shapers.contains_key(name)),
            upper: self.seen_upper(scope),
            routes: state
                .routes
                .iter()
                .filter(|r| scope.namespaces.contains(&r.namespace) || scope.insides.contains(&r.namespace))
                .cloned()
                .collect(),
            fixtures: Vec::new(),
            answered: BTreeSet::new(),
            firewall: state.firewall.as_ref().map(|elements| match &scope.elements {
                Elements::These(these) => elements.intersection(these).cloned().collect(),
                Elements::All => elements.clone(),
            }),
        })
    }

    fn apply(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        for group in steps.chunk_by(|a, b| is_firewall(a) && is_firewall(b)) {
            let before = (self.state.firewall.clone(), self.made.len());
            let done = group.iter().try_for_each(|step| self.make(step));
            if done.is_err() && group.iter().all(is_firewall) {
                // One transaction.
                self.state.firewall = before.0;
                self.made.truncate(before.1);
            }
            done?;
        }
        Ok(())
    }

    fn host_prefixes(&mut self) -> std::result::Result<Vec<HostPrefix>, KernelError> {
        self.alive()?;
        let of_bridge = |(name, bridge): (&IfName, &linkspan_plan::Bridge)| {
            let prefixes = bridge.addresses.iter().map(ipnet::IpNet::trunc);
            let device = name.to_string();
            prefixes.map(move |prefix| HostPrefix { prefix, device: device.clone() }).collect::<Vec<_>>()
        };
        let ours = self.state.bridges.iter().flat_map(of_bridge);
        Ok(self.prefixes.iter().cloned().chain(ours).collect())
    }

    fn port_holder(
        &mut self,
        protocol: Protocol,
        address: IpAddr,
        ports: PortRange,
    ) -> std::result::Result<Option<PortHolder>, KernelError> {
        self.alive()?;
        if !self.has_address(address) {
            let cause = format!("no device of this host has the address {address}");
            return Err(Refusal::new(Failure::NotFound, cause).of(format!("listen on {address}")));
        }
        let found = self.listeners.iter().find(|listener| {
            listener.protocol == protocol
                && (ports.first..=ports.last).contains(&listener.at.port())
                && Family::of(listener.at.ip()) == Family::of(address)
                && (listener.at.ip() == address
                    || listener.at.ip().is_unspecified()
                    || address.is_unspecified())
        });
        Ok(found.map(|found| PortHolder { port: found.at.port(), process: found.process.clone() }))
    }

    fn card(&mut self, name: &IfName) -> std::result::Result<Option<CardFacts>, KernelError> {
        self.alive()?;
        Ok(self.cards.get(name).map(|card| CardFacts {
            master: card.bridge.as_ref().map(IfName::to_string),
            ..card.facts.clone()
        }))
    }

    fn occupied(
        &mut self,
        device: &IfName,
        addresses: &[IpAddr],
    ) -> std::result::Result<Vec<(IpAddr, Mac)>, KernelError> {
        self.alive()?;
        let carries = self.state.bridges.contains_key(device) || self.is_parent(device);
        if !carries && !self.cards.contains_key(device) {
            return Err(absent(device).of(format!("ask on {device}")));
        }
        let owner = |address: &IpAddr| Some((*address, *self.neighbours.get(address)?));
        Ok(addresses.iter().filter_map(owner).collect())
    }

    fn link_facts(
        &mut self,
        pairs: &[(IfName, Name, IfName)],
    ) -> std::result::Result<Vec<Option<LinkFacts>>, KernelError> {
        self.alive()?;
        let names: Vec<&IfName> = self.state.ports.keys().collect();
        let facts = |host: &IfName| {
            let at = names.binary_search(&host).ok()?;
            Some(LinkFacts { host_index: Some(u32::try_from(at).ok()? + 10), sandbox_index: Some(2) })
        };
        Ok(pairs.iter().map(|(host, ..)| facts(host)).collect())
    }

    fn look_into(&mut self, path: &Path) -> std::result::Result<Inside, KernelError> {
        self.alive()?;
        let pinned = self.state.namespaces.keys().find(|name| pin_path(name) == path);
        let inside = match pinned {
            Some(name) => Some(self.inside(name)),
            None => self.foreign.get(path).cloned(),
        };
        let what = format!("use namespace {}", path.display());
        inside.ok_or_else(|| absent(path.display()).of(what))
    }

    fn is_deserted(&mut self, name: &Name, _source: &Path) -> std::result::Result<bool, KernelError> {
        self.alive()?;
        Ok(self.deserted.contains(name))
    }

    fn find_ovs_bridge(&mut self, bridge: &str) -> std::result::Result<(), KernelError> {
        self.alive()?;
        self.ovs_bridge(bridge).map_err(|refusal| refusal.of(format!("look for the bridge {bridge}")))
    }

    fn parent(&mut self, name: Option<&IfName>) -> std::result::Result<Option<ParentDevice>, KernelError> {
        self.alive()?;
        Ok(match name {
            Some(name) => self.parents.get(name),
            None => self.parents.values().find(|parent| !parent.gateways.is_empty()),
        }
        .cloned())
    }

    fn lacking(
        &mut self,
        namespace: &Name,
        fixtures: &[Fixture],
    ) -> std::result::Result<Vec<String>, KernelError> {
        self.alive()?;
        let there = |fixture: &&Fixture| self.is_fitted(namespace, fixture);
        Ok(fixtures.iter().filter(|fixture| !there(fixture)).map(ToString::to_string).collect())
    }

    fn bridge_ports(&mut self, bridge: &IfName) -> std::result::Result<Vec<IfName>, KernelError> {
        self.alive()?;
        let ports = self.state.ports.iter().filter(|(_, port)| port.bridge == *bridge);
        let below = self.state.patches.iter().filter(|(_, patch)| patch.bridge == *bridge);
        let is_above = |patch: &&Patch| patch.to == PatchEnd::Bridge(bridge.clone());
        let above = self.state.patches.values().filter(is_above).map(|patch| &patch.peer);
        let taps = self.state.taps.iter().filter(|(_, tap)| tap.bridge == *bridge).map(|(name, _)| name);
        let names = ports.map(|(name, _)| name).chain(below.map(|(name, _)| name)).chain(above).chain(taps);
        Ok(names.cloned().collect())
    }
}

impl Fake {
    /// Those that are pinned, by us or by others.
    fn seen_namespaces(&self, scope: &Scope) -> BTreeMap<Name, Namespace> {
        let wanted = || scope.namespaces.union(&scope.pins);
        let ours = select(&self.state.namespaces, |name| wanted().any(|other| other == name));
        let mut seen: BTreeMap<_, _> = ours.into_iter().map(|(name, origin)| (name, seen(&origin))).collect();
        for name in wanted().filter(|name| self.foreign.contains_key(&pin_path(name))) {
            seen.entry(name.clone()).or_insert(Namespace::New);
        }
        seen
    }

    /// That a namespace is pinned under this name, by us or by others.
    fn pinned(&self, name: &Name) -> Result<()> {
        let there = self.state.namespaces.contains_key(name) || self.foreign.contains_key(&pin_path(name));
        there.then_some(()).ok_or_else(|| absent(name))
    }

    fn make(&mut self, step: &Step) -> std::result::Result<(), KernelError> {
        self.spend(step)?;
        self.allow(step).map_err(|refusal| refusal.of(step))?;
        self.plug(step);
        self.state.apply(step);
        self.made.push(step.clone());
        Ok(())
    }

    /// Counts a step against the fault.
    fn spend(&mut self, step: &Step) -> std::result::Result<(), KernelError> {
        self.alive()?;
        match self.fault {
            Some(Fault::Refuse(0)) => {
                self.fault = None;
                Err(Refusal::new(Failure::Other, "EIO: the test wants it to fail").of(step))
            }
            Some(Fault::Refuse(left)) => {
                self.fault = Some(Fault::Refuse(left - 1));
                Ok(())
            }
            Some(Fault::Die(left)) => {
                self.fault = Some(Fault::Die(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn alive(&self) -> std::result::Result<(), KernelError> {
        if self.fault == Some(Fault::Die(0)) {
            return Err(Refusal::new(Failure::Other, "the process has died").of("go on"));
        }
        Ok(())
    }

    fn seen_ports(&self, scope: &Scope) -> BTreeMap<IfName, Port> {
        let mut ports = select(&self.state.ports, |name| scope.ports.contains_key(name));
        for (name, port) in &mut ports {
            port.peer.take_if(|peer| {
                scope.ports.get(name) != Some(&(peer.namespace.clone(), peer.ifname.clone()))
            });
        }
        ports
    }

    /// Whether the real kernel would let `step` happen.
    fn allow(&self, step: &Step) -> Result<()> {
        let state = &self.state;
        match step {
            Step::AddElement(element) => {
                let elements = state.firewall.as_ref().ok_or_else(|| absent("the table"))?;
                vacant(!elements.contains(element), "the element")
            }
            Step::CreateBridge(name, _) => {
                self.free(name)?;
                vacant(!state.bridges.contains_key(name), name)
            }
            Step::Enslave(name, uplink) => {
                state.bridges.get(&uplink.bridge).ok_or_else(|| absent(&uplink.bridge))?;
                let card = self.cards.get(name).ok_or_else(|| absent(name))?;
                let elsewhere = card.bridge.as_ref().is_some_and(|bridge| *bridge != uplink.bridge);
                vacant(!elsewhere, format!("{name} as a port"))
            }
            Step::AddAddress(name, address) => {
                let bridge = state.bridges.get(name).ok_or_else(|| absent(name))?;
                vacant(!bridge.addresses.contains(address), address)
            }
            Step::CreateNamespace(name, origin) => {
                match origin {
                    Namespace::Pinned(other) if !state.namespaces.contains_key(other) => Err(absent(other)),
                    Namespace::Path(path) if !self.foreign.contains_key(path) => Err(absent(path.display())),
                    _ => Ok(()),
                }?;
                vacant(!state.namespaces.contains_key(name), name)
            }
            Step::CreatePort(name, port) => self.allow_port(name, port),
            Step::CreatePatch(name, patch) => self.allow_patch(name, patch),
            Step::CreateTap(name, tap) => self.allow_device(name, &tap.bridge),
            Step::Shape(device, shaper) => self.allow_shaper(device, shaper),
            Step::Upper(step) => self.allow_upper(step),
            Step::Fit(namespace, fixture) => self.allow_fixture(namespace, fixture),
            Step::AddRoute(route) => self.allow_route(route),
            _ => Ok(()),
        }
    }

    fn allow_port(&self, name: &IfName, port: &Port) -> Result<()> {
        self.allow_device(name, &port.bridge)?;
        let peer = port.peer.as_ref().ok_or_else(|| absent("the side inside"))?;
        self.pinned(&peer.namespace)?;
        vacant(!self.has_device(&peer.namespace, &peer.ifname), &peer.ifname)
    }

    fn allow_patch(&self, name: &IfName, patch: &Patch) -> Result<()> {
        let state = &self.state;
        let sides = || state.patches.iter().flat_map(|(up, patch)| [up, &patch.peer]);
        for side in [name, &patch.peer] {
            self.free(side)?;
            vacant(!sides().any(|other| other == side), side)?;
        }
        state.bridges.get(&patch.bridge).ok_or_else(|| absent(&patch.bridge))?;
        match &patch.to {
            PatchEnd::Bridge(above) if state.bridges.contains_key(above) => Ok(()),
            PatchEnd::Bridge(above) => {
                let is_it =
                    |fixture: &Fixture| matches!(fixture, Fixture::OwnBridge(own) if own.name == *above);
                let mut made = state.fixtures.iter().map(|(_, fixture)| fixture);
                made.any(is_it).then_some(()).ok_or_else(|| absent(above))
            }
            PatchEnd::Ovs { bridge, .. } => self.ovs_bridge(bridge),
        }
    }

    fn ovs_bridge(&self, bridge: &str) -> Result<()> {
        match &self.ovs {
            None => Err(Refusal::new(Failure::Unsupported, "Open vSwitch does not run")),
            Some(bridges) if bridges.contains(bridge) => Ok(()),
            Some(_) => Err(absent(bridge)),
        }
    }

    /// Whether a device of that name can become a port of that bridge.
    fn allow_device(&self, name: &IfName, bridge: &IfName) -> Result<()> {
        self.free(name)?;
        vacant(!self.state.ports.contains_key(name) && !self.state.taps.contains_key(name), name)?;
        self.state.bridges.get(bridge).map(drop).ok_or_else(|| absent(bridge))
    }

    fn allow_shaper(&self, device: &IfName, shaper: &Shaper) -> Result<()> {
        let state = &self.state;
        if !state.ports.contains_key(device) && !state.taps.contains_key(device) {
            return Err(absent(device));
        }
        let Some(ifb) = shaper.ifb() else { return Ok(()) };
        self.free(ifb)?;
        vacant(state.shapers.values().all(|other| other.ifb() != Some(ifb)), ifb)
    }

    /// One default route of a family and metric is all that the kernel takes.
    fn allow_route(&self, new: &Route) -> Result<()> {
        self.pinned(&new.namespace)?;
        if !self.has_device(&new.namespace, &new.ifname) {
            return Err(absent(&new.ifname));
        }
        let there = self.inside(&new.namespace).default_routes;
        vacant(!there.iter().any(|(family, _)| *family == Family::of(new.via)), "a default route")
    }

    fn has_device(&self, namespace: &Name, ifname: &IfName) -> bool {
        self.inside(namespace).devices.contains(ifname)
    }

    /// What is in a pinned namespace: what was there before, and what was made in it.
    fn inside(&self, namespace: &Name) -> Inside {
        let mut inside = match self.state.namespaces.get(namespace) {
            Some(Namespace::Path(path)) => self.foreign.get(path).cloned().unwrap_or_default(),
            _ => Inside::default(),
        };
        let peers = self.state.ports.values().filter_map(|port| port.peer.as_ref());
        let peers = peers.filter(|peer| peer.namespace == *namespace);
        inside.devices.extend(peers.map(|peer| peer.ifname.clone()));
        inside.devices.extend(self.children_in(namespace).cloned());
        let routes = self.state.routes.iter().filter(|route| route.namespace == *namespace);
        inside.default_routes.extend(routes.map(|route| (Family::of(route.via), route.ifname.clone())));
        inside
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let of_bridges = || self.state.bridges.values().flat_map(|bridge| &bridge.addresses);
        address.is_unspecified()
            || address.is_loopback()
            || self.addresses.contains(&address)
            || of_bridges().any(|net| net.addr() == address)
    }

    fn free(&self, name: &IfName) -> Result<()> {
        match self.devices.get(name) {
            None => Ok(()),
            Some(kind) => {
                Err(Refusal::new(Failure::Exists, format!("{name} exists and is not ours but a {kind}")))
            }
        }
    }
}

fn select<K: Ord + Clone, V: Clone>(map: &BTreeMap<K, V>, wanted: impl Fn(&K) -> bool) -> BTreeMap<K, V> {
    map.iter().filter(|(key, _)| wanted(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The real kernel does not tell either where a namespace came from.
const fn seen(origin: &Namespace) -> Namespace {
    match origin {
        Namespace::Host => Namespace::Host,
        Namespace::New | Namespace::Pinned(_) | Namespace::Path(_) => Namespace::New,
    }
}

fn vacant(is_vacant: bool, what: impl std::fmt::Display) -> Result<()> {
    if is_vacant { Ok(()) } else { Err(Refusal::new(Failure::Exists, format!("EEXIST: {what} exists"))) }
}

fn absent(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(Failure::NotFound, format!("ENOENT: {what} does not exist"))
}

#[cfg(test)]
mod tests {
    use linkspan_plan::{Bridge, Element};

    use super::*;

    fn steps() -> Vec<Step> {
        let bridge = Bridge {
            mac: "02:42:0a:00:00:01".parse().unwrap(),
            mtu: 1500,
            addresses: [].into(),
            switch: false,
            stp: false,
        };
        vec![
            Step::CreateFirewall,
            Step::AddElement(Element::Bridge("br0".parse().unwrap())),
            Step::CreateBridge("br0".parse().unwrap(), bridge),
            Step::CreateNamespace("box".parse().unwrap(), Namespace::Path("/proc/1/ns/net".into())),
        ]
    }

    /// One whose host has a process in a namespace of its own.
    fn host() -> Fake {
        Fake { foreign: [("/proc/1/ns/net".into(), Inside::default())].into(), ..Fake::default() }
    }

    #[test]
    fn steps_show_in_what_is_observed() {
        let mut fake = host();
        fake.apply(&steps()).unwrap();
        let mut seen = fake.observe(&Scope::of([&fake.state])).unwrap();
        let origin = seen.namespaces.insert("box".parse().unwrap(), Namespace::Path("/proc/1/ns/net".into()));
        assert_eq!(origin, Some(Namespace::New));
        assert_eq!((seen, fake.made.len()), (fake.state, 4));
    }

    #[test]
    fn making_twice_is_refused_and_deleting_twice_is_not() {
        for step in steps().into_iter().skip(1) {
            let mut fake = host();
            fake.apply(&steps()).unwrap();
            assert_eq!(fake.apply(&[step]).unwrap_err().failure, Failure::Exists);
        }
        Fake::default().apply(&[Step::DeleteBridge("br0".parse().unwrap())]).unwrap();
    }

    #[test]
    fn a_fault_comes_when_it_is_due() {
        let mut fake = Fake { fault: Some(Fault::Refuse(2)), ..host() };
        assert!(fake.apply(&steps()).unwrap_err().what.starts_with("create bridge br0"));
        assert_eq!(fake.made.len(), 2);
        fake.apply(&steps()[2..]).unwrap();

        let mut fake = Fake { fault: Some(Fault::Die(2)), ..host() };
        fake.apply(&steps()).unwrap_err();
        fake.apply(&steps()[2..]).unwrap_err();
        fake.observe(&Scope::default()).unwrap_err();
        assert_eq!(fake.made.len(), 2);
        fake.fault = None;
        fake.apply(&steps()[2..]).unwrap();
    }

    #[test]
    fn firewall_steps_in_a_row_hold_together_or_not_at_all() {
        let mut fake = Fake { fault: Some(Fault::Refuse(1)), ..Fake::default() };
        fake.apply(&steps()).unwrap_err();
        assert_eq!((fake.state.firewall, fake.made), (None, Vec::new()));
    }

    #[test]
    fn a_foreign_device_is_in_the_way() {
        let mut fake = Fake::default();
        fake.devices.insert("br0".parse().unwrap(), "dummy".to_owned());
        let error = fake.apply(&steps()).unwrap_err();
        assert_eq!(
            (error.failure, error.cause.as_str()),
            (Failure::Exists, "br0 exists and is not ours but a dummy")
        );
    }

    #[test]
    fn listeners_hold_ports() {
        let at = "0.0.0.0:80".parse().unwrap();
        let mut fake = Fake {
            listeners: vec![Listener { protocol: Protocol::Tcp, at, process: None }],
            ..Fake::default()
        };
        let mut ask = |address: &str, first, last| {
            fake.port_holder(Protocol::Tcp, address.parse().unwrap(), PortRange { first, last })
        };
        assert_eq!(ask("127.0.0.1", 79, 81).unwrap().unwrap().port, 80);
        assert_eq!(ask("0.0.0.0", 81, 82).unwrap(), None);
        assert_eq!(ask("::", 80, 80).unwrap(), None);
        assert_eq!(ask("192.0.2.1", 80, 80).unwrap_err().failure, Failure::NotFound);
    }
}

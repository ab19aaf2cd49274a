//! What is there of a scope, asked for by name and in batches: never a dump of the whole host.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use linkspan_model::{IfName, Mac, Name};
use linkspan_plan::{Bridge, Failure, KernelError, Namespace as Origin, Peer, Port, Route, Scope, State};
use nix::errno::Errno;

use super::{Host, Sandbox, find_links, foreign};
use crate::error::{Refusal, Result};
use crate::netlink::Socket;
use crate::netns::{self, Pin};
use crate::rtnl::address::{self, Address};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route;
use crate::sysctl;

/// What a port's bridge is called if it is plugged into none: no bridge has this name.
const UNPLUGGED: &str = "-";

impl Host {
    pub(super) fn observe_scope(&mut self, scope: &Scope) -> std::result::Result<State, KernelError> {
        let mut state = State::default();
        for key in &scope.sysctls {
            if let Some(value) =
                sysctl::read(key).map_err(|refusal| refusal.of(format!("read sysctl {key}")))?
            {
                state.sysctls.insert(key.clone(), value);
            }
        }
        let devices = self.host_devices(scope)?;
        self.observe_bridges(scope, &devices, &mut state)
            .map_err(|refusal| refusal.of("look at the host's bridges"))?;
        for (card, bridge) in &scope.uplinks {
            let uplink = self.observe_uplink(card, bridge);
            let uplink = uplink.map_err(|refusal| refusal.of(format!("look at {card}")))?;
            state.uplinks.extend(uplink.map(|uplink| (card.clone(), uplink)));
        }
        self.observe_namespaces(scope, &mut state)
            .map_err(|refusal| refusal.of("look at the pinned network namespaces"))?;
        self.observe_ports(scope, &devices, &mut state)
            .map_err(|refusal| refusal.of("look at the veth pairs and taps"))?;
        self.observe_patches(scope, &devices, &mut state)
            .map_err(|refusal| refusal.of("look at the patches between bridges"))?;
        state.upper = self
            .observe_upper(scope)
            .map_err(|refusal| refusal.of("look at the devices on devices of the host"))?;
        state.firewall = match self.firewall() {
            Ok(firewall) => firewall.observe(&scope.elements)?,
            // Without netfilter there is no table; who wants one is told when it is to be made.
            Err(error) if error.failure == Failure::Unsupported => None,
            Err(error) => return Err(error),
        };
        Ok(state)
    }

    /// The bridges and host sides of `scope` that are there.
    fn host_devices(&mut self, scope: &Scope) -> std::result::Result<BTreeMap<IfName, Link>, KernelError> {
        let bridges = scope.bridges.iter().map(|name| (name, "bridge"));
        let ports = scope.ports.keys().map(|name| (name, "veth"));
        let patches = scope.patches.keys().map(|name| (name, "veth"));
        let taps = scope.taps.iter().map(|name| (name, "tun"));
        let ifbs = scope.shapers.values().flatten().map(|name| (name, "ifb"));
        let wanted: Vec<(&IfName, &str)> =
            bridges.chain(ports).chain(patches).chain(taps).chain(ifbs).collect();
        let found = find_links(&mut self.route, wanted.iter().map(|(name, _)| link::get(name)).collect())
            .map_err(|refusal| refusal.of("look at the host's devices"))?;
        let mut devices = BTreeMap::new();
        for ((name, kind), link) in wanted.into_iter().zip(found) {
            let Some(link) = link else { continue };
            if link.kind.as_deref() != Some(kind) {
                return Err(foreign(name, kind, &link).of(format!("look at {kind} {name}")));
            }
            devices.insert(name.clone(), link);
        }
        Ok(devices)
    }

    fn observe_bridges(
        &mut self,
        scope: &Scope,
        devices: &BTreeMap<IfName, Link>,
        state: &mut State,
    ) -> Result<()> {
        for (name, link) in devices.iter().filter(|(name, _)| scope.bridges.contains(name)) {
            let Some(addresses) = addresses(&mut self.route, link.index)? else { continue };
            let bridge = Bridge {
                mac: mac(link),
                mtu: link.mtu,
                addresses,
                switch: link.is_without_arp(),
                stp: link.stp,
            };
            state.bridges.insert(name.clone(), bridge);
        }
        Ok(())
    }

    /// Where a namespace came from cannot be seen later: all but the host's own count as new. A pin that pins
    /// nothing is given as the path of itself, so that it is there to be deleted.
    fn observe_namespaces(&mut self, scope: &Scope, state: &mut State) -> Result<()> {
        for name in scope.namespaces.union(&scope.pins) {
            let origin = match Pin::look(name)? {
                Pin::Absent => continue,
                Pin::Stale => Origin::Path(netns::pin_path(name)),
                Pin::Alive(namespace) if namespace.is(&self.home) => Origin::Host,
                Pin::Alive(_) => {
                    if scope.namespaces.contains(name) {
                        state.routes.extend(self.default_routes(name)?);
                    }
                    Origin::New
                }
            };
            state.namespaces.insert(name.clone(), origin);
        }
        for name in &scope.insides {
            state.routes.extend(self.default_routes(name)?);
        }
        Ok(())
    }

    fn default_routes(&mut self, name: &Name) -> Result<Vec<Route>> {
        let Some(Sandbox { route: socket, .. }) = self.sandbox(name)? else { return Ok(Vec::new()) };
        let answers = socket.dump(route::dump)?;
        let routes = answers.iter().filter_map(|answer| route::Route::parse(&answer.body));
        let defaults: Vec<_> = routes
            .filter(|route| route.destination.is_none())
            .filter_map(|route| Some((route.via(), route.index?)))
            .collect();
        let requests = defaults.iter().map(|(_, index)| link::get_by_index(*index)).collect();
        let links = find_links(socket, requests)?;
        let named = defaults.into_iter().zip(links).filter_map(|((via, _), link)| {
            Some(Route { namespace: name.clone(), via, ifname: link?.name.parse().ok()? })
        });
        Ok(named.collect())
    }

    fn observe_ports(
        &mut self,
        scope: &Scope,
        devices: &BTreeMap<IfName, Link>,
        state: &mut State,
    ) -> Result<()> {
        let mut bridges = by_index(devices);
        for (name, (namespace, ifname)) in &scope.ports {
            let Some(link) = devices.get(name) else { continue };
            let port = Port {
                bridge: self.master(link, &mut bridges)?,
                mtu: link.mtu,
                isolated: link.isolated,
                hairpin: link.hairpin,
                peer: self.peer(link, namespace, ifname)?,
            };
            state.ports.insert(name.clone(), port);
        }
        self.observe_taps(scope, devices, &mut bridges, state)?;
        self.observe_shapers(scope, devices, state)
    }

    /// The name of the bridge that a device is a port of, remembered in `known`.
    pub(super) fn master(&mut self, port: &Link, known: &mut BTreeMap<u32, IfName>) -> Result<IfName> {
        let Some(index) = port.master else { return unplugged() };
        if let Some(name) = known.get(&index) {
            return Ok(name.clone());
        }
        let found = find_links(&mut self.route, vec![link::get_by_index(index)])?;
        let name = device_name(found.iter().flatten().next().map_or(UNPLUGGED, |link| &link.name))?;
        known.insert(index, name.clone());
        Ok(name)
    }

    /// The other side of `host`, if it is where it was made and is called what it was called.
    fn peer(&mut self, host: &Link, namespace: &Name, ifname: &IfName) -> Result<Option<Peer>> {
        let Some(sandbox) = self.sandbox(namespace)? else { return Ok(None) };
        let found = find_links(&mut sandbox.route, vec![link::get(ifname)])?.into_iter().flatten().next();
        let ours = |link: &Link| host.peer == Some(link.index) && link.peer == Some(host.index);
        let Some(link) = found.filter(ours) else { return Ok(None) };
        let Some(addresses) = addresses(&mut sandbox.route, link.index)? else { return Ok(None) };
        let (namespace, ifname) = (namespace.clone(), ifname.clone());
        Ok(Some(Peer { namespace, ifname, mac: mac(&link), addresses, announce: false }))
    }
}

/// The addresses of one device, without the link-local ones of IPv6; none if it is not there, or went away since
/// its index was asked for.
pub(super) fn addresses(socket: &mut Socket, index: u32) -> Result<Option<BTreeSet<IpNet>>> {
    let answers = match socket.dump(|| address::dump(index)) {
        Err(error) if error.errno == Errno::ENODEV => return Ok(None),
        answers => answers?,
    };
    let found = answers.iter().filter_map(|answer| Address::parse(&answer.body));
    let kept = found.filter(|address| address.index == index && !address.is_link_local());
    Ok(Some(kept.map(|address| address.net).collect()))
}

/// What stands for the bridge of a port that is plugged into none.
pub(super) fn unplugged() -> Result<IfName> {
    device_name(UNPLUGGED)
}

pub(super) fn mac(link: &Link) -> Mac {
    link.mac.unwrap_or(Mac::from_bytes([0; 6]))
}

/// What devices are called, by index.
pub(super) fn by_index(devices: &BTreeMap<IfName, Link>) -> BTreeMap<u32, IfName> {
    devices.iter().map(|(name, link)| (link.index, name.clone())).collect()
}

pub(super) fn device_name(name: &str) -> Result<IfName> {
    name.parse().map_err(|_| Refusal::new(Failure::Other, format!("the kernel names a device '{name}'")))
}

#[cfg(test)]
mod tests {
    use super::addresses;
    use crate::netlink::{Family, Socket};

    #[test]
    fn a_device_that_went_away_between_two_looks_is_absent() {
        let mut socket = Socket::open(Family::Route).unwrap();
        assert_eq!(addresses(&mut socket, 0x7fff_fff0), Ok(None));
        assert!(addresses(&mut socket, 1).unwrap().is_some());
    }
}

//! What the kernel should hold for each object.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linkspan_model::{
    Endpoint, Family, Fixture, Guests, IfName, Isolation, Lease, Name, NamespaceSource, Network, Part,
    Protocol, Published, Sandbox, Side, Uplink, Wire,
};

use crate::upper::desired as upper;
use crate::{Bridge, Detour, Element, Namespace, Peer, Port, Route, Shaper, State, Tap, segment, uplink};

/// The host forwards IPv4.
pub const FORWARD_V4: &str = "net/ipv4/ip_forward";
/// The host forwards IPv6. With it, devices stop to learn routes from routers, unless they are told to go on.
pub const FORWARD_V6: &str = "net/ipv6/conf/all/forwarding";

/// What a network needs before anything is plugged into it: its bridge, forwarding, its place in the firewall, and what
/// plugs it into the network above; that one itself is to be there.
/// Or what its sandboxes sit on.
pub fn network(network: &Network) -> State {
    if let Some(card) = network.uplink_card() {
        return uplink::network(network, card);
    }
    let mut state = State::default();
    if let Some(guests) = &network.guests {
        let admitted = guests.admitted.iter().cloned().map(Fixture::Admitted);
        // They are of the host alone, so that the name is nobody's namespace.
        state.firewall = Some(policies(guests));
        for fixture in guests.ground.iter().cloned().chain(admitted) {
            fit(&mut state, &network.name, fixture);
        }
        return state;
    }
    if let Some(parent) = &network.parent {
        // Nothing of its own in the firewall, which stays for others.
        return State { upper: upper::network(network, parent), firewall: Some([].into()), ..state };
    }
    let Some(mac) = network.bridge_mac() else { return state };
    let name = network.bridge_name();
    segment::plug(network, &mut state);
    if network.is_switch() {
        state.merge(segment::switch(network, name, mac));
        return state;
    }
    for pool in network.pools.iter().filter(|_| !network.internal) {
        let forward = if pool.family() == Family::V4 { FORWARD_V4 } else { FORWARD_V6 };
        state.sysctls.insert(forward.to_owned(), "1".to_owned());
    }
    let gateway = |pool: &linkspan_model::Pool| IpNet::new_assert(pool.gateway, pool.subnet.prefix_len());
    let addresses = network.pools.iter().map(gateway).collect();
    state.bridges.insert(
        name.clone(),
        Bridge { mac, mtu: network.bridge.mtu, addresses, switch: false, stp: network.bridge.stp },
    );

    let mut elements: BTreeSet<_> = [Element::Bridge(name.clone())].into();
    if network.internal {
        elements.insert(Element::Internal(name.clone()));
    } else if network.bridge.masquerade {
        elements.insert(Element::Masquerade(name.clone()));
    }
    if network.pools.iter().any(|pool| pool.default_gateway() != pool.gateway) {
        elements.insert(Element::ForeignGateway(name.clone()));
    }
    if !network.bridge.icc {
        elements.insert(Element::Apart(name));
    }
    state.firewall = Some(elements);
    state
}

/// What holds for the endpoints of a network whose plugins are a runtime's.
fn policies(guests: &Guests) -> BTreeSet<Element> {
    let bridges = |bridges: &BTreeSet<IfName>, element: fn(IfName) -> Element| {
        bridges.iter().cloned().map(element).collect::<Vec<_>>()
    };
    let mut elements: BTreeSet<_> = guests.homes.iter().map(|home| Element::Home(home.trunc())).collect();
    elements.extend(bridges(&guests.bridges, Element::Guest));
    elements.extend(bridges(&guests.closed, Element::Closed));
    // What is sealed is closed too.
    elements.extend(bridges(&guests.sealed, Element::Closed));
    elements.extend(bridges(&guests.sealed, Element::Sealed));
    elements.extend(bridges(&guests.internal, Element::Bridge));
    elements.extend(bridges(&guests.internal, Element::Internal));
    elements.extend(bridges(&guests.masqueraded, Element::Masquerade));
    elements.extend(bridges(&guests.named, Element::Named));
    for (bridge, isolation) in &guests.isolation {
        elements.insert(Element::Segment(bridge.clone()));
        elements.extend(match isolation {
            Isolation::Open => None,
            Isolation::Isolated => Some(Element::Isolated(bridge.clone())),
            Isolation::Strict => Some(Element::Strict(bridge.clone())),
        });
    }
    let outbound = guests.outbound.iter().cloned();
    elements.extend(outbound.map(|(bridge, address)| Element::Outbound { bridge, address }));
    elements.extend(guests.dns.iter().flat_map(|server| asked_at(*server)));
    elements
}

/// What brings questions for a name server on the host to where it listens (RFC 1035, section 4.2: both protocols).
fn asked_at(server: SocketAddr) -> [Element; 2] {
    const DOMAIN: u16 = 53;
    [Protocol::Tcp, Protocol::Udp].map(|protocol| Element::Publish {
        protocol,
        host: server.ip(),
        port: DOMAIN,
        to: server,
    })
}

/// What an access bridge of `network` needs beside the bridge before it: itself, and what plugs it into that.
///
/// A bridge takes 1,023 ports (BR_MAX_PORTS), so what is more goes to others below it.
pub fn access_bridge(network: &Network, number: u16) -> State {
    segment::access(network, number)
}

/// What a sandbox needs beside its networks: its namespace, a veth pair for each endpoint, default routes, and
/// its published ports. `attached` holds every endpoint of it with the network that it is on.
pub fn sandbox(sandbox: &Sandbox, attached: &[(Endpoint, Network)]) -> State {
    let mut state = State { firewall: Some(BTreeSet::new()), ..pin(sandbox) };
    for (endpoint, network) in attached {
        plug(&mut state, sandbox, endpoint, network);
        let apart = endpoint.parts.iter().filter(|part| part.own_table);
        let apart: BTreeSet<_> = apart.flat_map(|part| &part.published).collect();
        let published = endpoint.published.iter().filter(|published| !apart.contains(published));
        let published = published.flat_map(|published| elements(published, endpoint));
        state.firewall.get_or_insert_default().extend(published);
        endpoint.parts.iter().for_each(|each| state.merge(part(sandbox, endpoint, each)));
    }
    if sandbox.is_machine() {
        return state;
    }
    if matches!(sandbox.namespace, NamespaceSource::Path(_))
        && sandbox.is_answered(attached.iter().map(|(endpoint, _)| endpoint))
    {
        state.answered.insert(sandbox.netns_name().clone());
    }
    for family in [Family::V4, Family::V6] {
        if let Some((endpoint, via)) = default_route(attached, family) {
            let (namespace, ifname) = (sandbox.netns_name().clone(), endpoint.ifname.clone());
            state.routes.insert(Route { namespace, via, ifname });
        }
    }
    state
}

/// The pin of a sandbox's namespace, if Linkspan makes it.
pub fn pin(sandbox: &Sandbox) -> State {
    let namespace = match &sandbox.namespace {
        NamespaceSource::New => Some(Namespace::New),
        NamespaceSource::Host => Some(Namespace::Host),
        NamespaceSource::Sandbox(other) => Some(Namespace::Pinned(other.clone())),
        NamespaceSource::Path(path) => Some(Namespace::Path(path.clone())),
        NamespaceSource::Machine => None,
    };
    let namespace = namespace.filter(|_| sandbox.owns_pin());
    let namespaces = namespace.map(|namespace| (sandbox.netns_name().clone(), namespace));
    State { namespaces: namespaces.into_iter().collect(), ..State::default() }
}

/// What one plugin made for an endpoint of `sandbox`, with the ports that it publishes.
pub fn part(sandbox: &Sandbox, endpoint: &Endpoint, part: &Part) -> State {
    let namespace = sandbox.netns_name();
    let mut state = State::default();
    for fixture in &part.fixtures {
        fit(&mut state, namespace, fixture.clone());
    }
    let published = part.published.iter().flat_map(|published| elements(published, endpoint));
    let in_table = |element| if part.own_table { Element::Backend(Box::new(element)) } else { element };
    let mut firewall: BTreeSet<_> = published.map(in_table).collect();
    firewall.extend(part.guest.clone().map(Element::Guest));
    firewall.extend(part.masquerade_from.iter().copied().map(Element::MasqueradeFrom));
    firewall.extend(part.masquerade_to.iter().copied().map(Element::MasqueradeTo));
    firewall.extend(part.spoof.clone().map(|(port, mac)| Element::Spoof { port, mac }));
    State { firewall: Some(firewall), ..state }
}

fn fit(state: &mut State, namespace: &Name, fixture: Fixture) {
    match fixture {
        Fixture::Sysctl { side: Side::Host, key, value } if is_of_whole_host(&key) => {
            state.sysctls.insert(key, value);
        }
        fixture => state.fixtures.push((namespace.clone(), fixture)),
    }
}

/// Whether a sysctl is about more than one device, which may be about to come and to go again.
fn is_of_whole_host(key: &str) -> bool {
    match key.split('/').collect::<Vec<_>>()[..] {
        ["net", _, "conf" | "neigh", device, _] => ["all", "default"].contains(&device),
        _ => true,
    }
}

/// Adds the port or tap of an endpoint, and its limits; or its device on the parent. What plugins made is in their parts.
fn plug(state: &mut State, sandbox: &Sandbox, endpoint: &Endpoint, network: &Network) {
    if endpoint.is_fitted() {
        return;
    }
    if let Some(parent) = &network.parent {
        state.upper.merge(upper::endpoint(sandbox.netns_name(), endpoint, network, parent));
        return;
    }
    let device = endpoint.host_ifname();
    state.sysctls.extend(uplink::sysctls(network, endpoint));
    let bridge = network.bridge_numbered(endpoint.access);
    let (mtu, isolated) = (network.bridge.mtu, !network.bridge.icc);
    if let Some(shaper) = shaper(endpoint) {
        state.shapers.insert(device.clone(), shaper);
    }
    if let Wire::Tap { owner } = endpoint.wire {
        state.taps.insert(device, Tap { bridge, mtu, isolated, owner });
        return;
    }
    let peer = Peer {
        namespace: sandbox.netns_name().clone(),
        ifname: endpoint.ifname.clone(),
        mac: endpoint.mac,
        addresses: endpoint.leases.iter().map(Lease::interface_address).collect(),
        // On a segment with others any of them may have had the address before.
        announce: matches!(network.bridge.uplink, Some(Uplink::Device(_) | Uplink::Ovs(_)))
            || endpoint.leases.iter().any(|lease| lease.reused),
    };
    let hairpin = !endpoint.published.is_empty();
    state.ports.insert(device, Port { bridge, mtu, isolated, hairpin, peer: Some(peer) });
}

fn shaper(endpoint: &Endpoint) -> Option<Shaper> {
    let shaping = endpoint.shaping;
    let detour = |limit| Detour { ifb: endpoint.id.ifb_ifname(), limit, fed: true };
    (!shaping.is_none()).then(|| Shaper { ingress: shaping.ingress, egress: shaping.egress.map(detour) })
}

/// The endpoint that has the default route of `family`, and its gateway: the highest `gw_priority` wins, among
/// equals the first network by name, so that reconnecting changes nothing.
pub fn default_route(attached: &[(Endpoint, Network)], family: Family) -> Option<(&Endpoint, IpAddr)> {
    attached
        .iter()
        .filter(|(endpoint, _)| !endpoint.is_fitted())
        .filter_map(|(endpoint, network)| Some((endpoint, network, endpoint.lease(family)?.gateway?)))
        .min_by(|(a, a_net, _), (b, b_net, _)| {
            b.gw_priority.cmp(&a.gw_priority).then_with(|| a_net.name.cmp(&b_net.name))
        })
        .map(|(endpoint, _, via)| (endpoint, via))
}

/// The elements that publish `published` at `endpoint`'s address of the same family; none if it has no such address.
fn elements(published: &Published, endpoint: &Endpoint) -> Vec<Element> {
    let Some(lease) = endpoint.lease(Family::of(published.host_ip)) else { return Vec::new() };
    let Published { protocol, host_ip: host, .. } = *published;
    if published.host.count() > 1 && published.host == published.target && host.is_unspecified() {
        return vec![Element::PublishRange { protocol, ports: published.host, to: lease.address }];
    }
    let element = |(port, target)| Element::Publish {
        protocol,
        host,
        port,
        to: SocketAddr::new(lease.address, target),
    };
    published.pairs().map(element).collect()
}

//! The steps from one state to another.

use std::collections::BTreeSet;

use linkspan_model::{Family, Fixture, IfName, Name, PortRange, Protocol};

use crate::{Bridge, Element, Port, State, Step, patch, shaper, tap, uplink, upper};

/// The steps that turn `observed` into `desired`, in an order that never shows more than is meant: what goes,
/// goes from the outside in (published ports before the sandbox behind them), what comes, comes from the inside
/// out (isolation before the first port of a bridge, published ports last).
///
/// What is in neither stays as it is; what both have alike needs no step.
pub fn diff(desired: &State, observed: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    let firewall = Firewall::compare(desired, observed);
    steps.extend(firewall.gone.iter().cloned().map(Step::DeleteElement));
    let (unfit, left): (Vec<_>, Vec<_>) =
        unfittings(desired, observed).partition(|step| !step.is_of_own_bridge());
    steps.extend(unfit);
    steps.extend(observed.answered.difference(&desired.answered).cloned().map(Step::Unanswer));
    steps.extend(removals(desired, observed));
    steps.extend(left);
    if desired.firewall.is_none() && observed.firewall.is_some() {
        steps.push(Step::DeleteFirewall);
    }
    for (key, value) in &desired.sysctls {
        if observed.sysctls.get(key) != Some(value) {
            steps.push(Step::SetSysctl { key: key.clone(), value: value.clone() });
        }
    }
    if desired.firewall.is_some() && observed.firewall.is_none() {
        steps.push(Step::CreateFirewall);
    }
    let (policies, published): (Vec<_>, Vec<_>) = firewall.new.into_iter().partition(Element::is_policy);
    steps.extend(policies.into_iter().map(Step::AddElement));
    let (own, fit): (Vec<_>, Vec<_>) = fittings(desired, observed).partition(Step::is_of_own_bridge);
    steps.extend(own);
    steps.extend(additions(desired, observed));
    steps.extend(fit);
    let flushes = flushes(published.iter().chain(&firewall.gone));
    steps.extend(published.into_iter().map(Step::AddElement));
    steps.extend(flushes);
    steps
}

/// What plugins made goes in reverse; what others may use by now stays.
fn unfittings<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    let goes = |fitted: &&(Name, Fixture)| !fitted.1.stays() && !desired.fixtures.contains(fitted);
    let gone = observed.fixtures.iter().rev().filter(goes);
    gone.cloned().map(|(namespace, fixture)| Step::Unfit(namespace, fixture))
}

fn fittings<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    let new = desired.fixtures.iter().filter(|fitted| !observed.fixtures.contains(fitted));
    new.cloned().map(|(namespace, fixture)| Step::Fit(namespace, fixture))
}

/// The elements in which two states differ.
struct Firewall {
    gone: Vec<Element>,
    new: Vec<Element>,
}

impl Firewall {
    fn compare(desired: &State, observed: &State) -> Self {
        let empty = BTreeSet::new();
        let (Some(wanted), found) = (&desired.firewall, observed.firewall.as_ref().unwrap_or(&empty)) else {
            return Self { gone: Vec::new(), new: Vec::new() };
        };
        Self {
            gone: found.difference(wanted).cloned().collect(),
            new: wanted.difference(found).cloned().collect(),
        }
    }
}

fn removals(desired: &State, observed: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    let gone_ports = || observed.ports.iter().filter(|(host, _)| port_goes(desired, observed, host));
    let dies_with_port = |namespace, ifname| {
        let inside = |port: &Port| {
            port.peer.as_ref().is_some_and(|p| (&p.namespace, &p.ifname) == (namespace, ifname))
        };
        gone_ports().any(|(_, port)| inside(port)) || upper::dies(desired, observed, namespace, ifname)
    };
    let namespace_goes = |name| desired.namespaces.get(name) != observed.namespaces.get(name);
    for route in observed.routes.difference(&desired.routes) {
        if !namespace_goes(&route.namespace) && !dies_with_port(&route.namespace, &route.ifname) {
            steps.push(Step::DeleteRoute(route.clone()));
        }
    }
    steps.extend(shaper::removals(desired, observed));
    steps.extend(gone_ports().map(|(host, _)| Step::DeletePort(host.clone())));
    steps.extend(upper::withdrawals(desired, observed));
    steps.extend(patch::removals(desired, observed));
    steps.extend(tap::removals(desired, observed));
    let gone_namespaces = observed.namespaces.keys().filter(|name| namespace_goes(name));
    steps.extend(gone_namespaces.map(|name| Step::DeleteNamespace(name.clone())));
    steps.extend(uplink::releases(desired, observed, |bridge| bridge_moves(desired, observed, bridge)));
    for (name, bridge) in &observed.bridges {
        match desired.bridges.get(name) {
            Some(wanted) if wanted.is_like(bridge) => steps.extend(
                bridge.addresses.difference(&wanted.addresses).map(|a| Step::DeleteAddress(name.clone(), *a)),
            ),
            _ => steps.push(Step::DeleteBridge(name.clone())),
        }
    }
    steps.extend(upper::removals(desired, observed));
    steps
}

/// Whether the observed port `host` has to go: it is not as desired, or something at one of its ends goes.
pub(crate) fn port_goes(desired: &State, observed: &State, host: &IfName) -> bool {
    observed
        .ports
        .get(host)
        .is_some_and(|port| !stays_port(desired, host, port) || ends_move(desired, observed, port))
}

fn stays_port(desired: &State, host: &IfName, found: &Port) -> bool {
    desired.ports.get(host).is_some_and(|wanted| wanted.is_like(found))
}

/// Whether the bridge or the namespace at an end of `port` goes or is made anew, so that the port goes with it.
fn ends_move(desired: &State, observed: &State, port: &Port) -> bool {
    let moves = |name| desired.namespaces.get(name) != observed.namespaces.get(name);
    bridge_moves(desired, observed, &port.bridge)
        || port.peer.as_ref().is_some_and(|peer| moves(&peer.namespace))
}

/// Whether a bridge goes or is made anew, with all that is plugged into it.
pub(crate) fn bridge_moves(desired: &State, observed: &State, name: &IfName) -> bool {
    let stays = |found: &Bridge| desired.bridges.get(name).is_some_and(|wanted| wanted.is_like(found));
    observed.bridges.get(name).is_some_and(|found| !stays(found))
}

fn has_uplink(state: &State, bridge: &IfName) -> bool {
    state.uplinks.values().any(|uplink| uplink.bridge == *bridge)
}

fn additions(desired: &State, observed: &State) -> Vec<Step> {
    let (mut steps, mut later) = (Vec::new(), Vec::new());
    for (name, bridge) in &desired.bridges {
        match observed.bridges.get(name) {
            Some(found) if found.is_like(bridge) => steps.extend(
                bridge.addresses.difference(&found.addresses).map(|a| Step::AddAddress(name.clone(), *a)),
            ),
            _ if has_uplink(desired, name) => {
                // The host's addresses come first, or the network's would be the source of what the host sends.
                let bare = Bridge { addresses: BTreeSet::new(), ..bridge.clone() };
                steps.push(Step::CreateBridge(name.clone(), bare));
                later.extend(bridge.addresses.iter().map(|a| Step::AddAddress(name.clone(), *a)));
            }
            _ => steps.push(Step::CreateBridge(name.clone(), bridge.clone())),
        }
    }
    steps.extend(patch::additions(desired, observed));
    steps.extend(uplink::plugs(desired, observed, |bridge| bridge_moves(desired, observed, bridge)));
    steps.extend(later);
    steps.extend(upper::preparations(desired, observed));
    for (name, namespace) in &desired.namespaces {
        if observed.namespaces.get(name) != Some(namespace) {
            steps.push(Step::CreateNamespace(name.clone(), namespace.clone()));
        }
    }
    steps.extend(tap::additions(desired, observed));
    let mut made = upper::created(desired, observed);
    for (host, port) in &desired.ports {
        let there = observed.ports.get(host).filter(|found| found.is_like(port));
        match there.filter(|_| !ends_move(desired, observed, port)) {
            Some(found) if found.hairpin != port.hairpin => {
                steps.push(Step::SetHairpin(host.clone(), port.hairpin));
            }
            Some(_) => {}
            None => {
                made.extend(port.peer.iter().map(|peer| (&peer.namespace, &peer.ifname)));
                steps.push(Step::CreatePort(host.clone(), port.clone()));
            }
        }
    }
    steps.extend(upper::additions(desired, observed));
    for route in &desired.routes {
        let stays = desired.namespaces.get(&route.namespace) == observed.namespaces.get(&route.namespace);
        let alive = stays && !made.contains(&(&route.namespace, &route.ifname));
        if !alive || !observed.routes.contains(route) {
            steps.push(Step::AddRoute(route.clone()));
        }
    }
    steps.extend(shaper::additions(desired, observed));
    steps.extend(upper::finish(desired, observed));
    steps
}

/// Flows that a changed mapping would leave behind: those of protocols without connections, which the peer never closes.
fn flushes<'a>(changed: impl Iterator<Item = &'a Element>) -> Vec<Step> {
    let published =
        |element: &'a Element| if let Element::Backend(published) = element { published } else { element };
    let flush = |element: &Element| match element {
        Element::Publish { protocol, host, port, .. } => Some((*protocol, *host, PortRange::single(*port))),
        Element::PublishRange { protocol, ports, to } => {
            let any = match Family::of(*to) {
                Family::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            Some((*protocol, any, *ports))
        }
        _ => None,
    };
    let udp: BTreeSet<_> = changed
        .map(published)
        .filter_map(flush)
        .filter(|(protocol, ..)| *protocol == Protocol::Udp)
        .collect();
    udp.into_iter().map(|(protocol, host, ports)| Step::FlushFlows { protocol, host, ports }).collect()
}

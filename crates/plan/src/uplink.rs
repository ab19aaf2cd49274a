//! Bridges plugged into a network card of the host: the card is a port, and what it had as the host's way to its LAN
//! is the bridge's.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use linkspan_model::{Card, Endpoint, Family, IfName, Network};

use crate::desired::{FORWARD_V4, FORWARD_V6};
use crate::{Bridge, Element, State, Step};

/// A network card that is a port of a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The bridge.
    pub bridge: IfName,
    /// Whether it is its port. As observed: false if the card is there and is not.
    pub plugged: bool,
    /// What it was before. Not to be observed.
    pub card: Card,
    /// Addresses of the bridge that are the network's own, not the host's. Not to be observed.
    pub own: BTreeSet<IpNet>,
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {more}"),
        };
        let addresses = plural(self.card.given_addresses.len(), "address", "addresses");
        let routes = plural(self.card.given_routes.len(), "route", "routes");
        write!(f, "{} with {addresses}, {routes}", self.bridge)
    }
}

impl Uplink {
    /// Fills in of what was observed what cannot be: the record.
    pub(crate) fn recall(&mut self, known: Option<&Self>) {
        if let Some(known) = known.filter(|known| known.bridge == self.bridge) {
            self.card.clone_from(&known.card);
            self.own.clone_from(&known.own);
        }
    }
}

/// What a network needs whose bridge is plugged into `name`: it is the host's own way to a LAN, so it is none of the
/// bridges that the firewall keeps apart. Nothing as long as there is no record of the card.
pub fn network(network: &Network, name: &IfName) -> State {
    let mut state = State { firewall: Some(BTreeSet::new()), ..State::default() };
    let (Some(card), Some(mac)) = (&network.card, network.bridge_mac()) else { return state };
    let bridge = network.bridge_name();
    for pool in network.pools.iter().filter(|pool| pool.default_gateway() == pool.gateway) {
        let key = forwarding(pool.family());
        state.sysctls.insert(key.to_owned(), "1".to_owned());
    }
    let own = network.pools.iter().filter(|pool| !has(card, pool.gateway));
    let own: BTreeSet<IpNet> =
        own.map(|pool| IpNet::new_assert(pool.gateway, pool.subnet.prefix_len())).collect();
    let (mtu, stp) = (network.bridge.mtu, network.bridge.stp);
    state.bridges.insert(bridge.clone(), Bridge { mac, mtu, addresses: own.clone(), switch: false, stp });
    let uplink = Uplink { bridge: bridge.clone(), plugged: true, card: card.clone(), own };
    state.uplinks.insert(name.clone(), uplink);
    // Whoever asks for a published port may be a neighbour of the sandbox, whose reply would not come back this way.
    state.firewall.get_or_insert_default().insert(Element::ForeignGateway(bridge));
    state
}

/// Whether the host has `address` through the card.
fn has(card: &Card, address: std::net::IpAddr) -> bool {
    card.addresses.iter().any(|net| net.addr() == address)
}

/// The sysctls without which published ports of `endpoint` on such a network are not reached.
pub fn sysctls(network: &Network, endpoint: &Endpoint) -> Vec<(String, String)> {
    if network.uplink_card().is_none() || endpoint.published.is_empty() {
        return Vec::new();
    }
    let families: BTreeSet<&str> =
        endpoint.published.iter().map(|port| forwarding(Family::of(port.host_ip))).collect();
    families.into_iter().map(|key| (key.to_owned(), "1".to_owned())).collect()
}

const fn forwarding(family: Family) -> &'static str {
    match family {
        Family::V4 => FORWARD_V4,
        Family::V6 => FORWARD_V6,
    }
}

/// The steps that unplug cards. One that was unplugged by hand is released too where it is to stay so: what its bridge
/// still has of it comes back.
pub(crate) fn releases(
    desired: &State,
    observed: &State,
    is_made_anew: impl Fn(&IfName) -> bool,
) -> Vec<Step> {
    let goes = |card: &IfName, found: &Uplink| match desired.uplinks.get(card) {
        None => true,
        Some(wanted) => found.plugged && (wanted != found || is_made_anew(&found.bridge)),
    };
    let gone = observed.uplinks.iter().filter(|(card, found)| goes(card, found));
    gone.map(|(card, found)| Step::Release(card.clone(), found.clone())).collect()
}

/// The steps that plug cards in.
pub(crate) fn plugs(desired: &State, observed: &State, is_made_anew: impl Fn(&IfName) -> bool) -> Vec<Step> {
    let comes = |card: &IfName, wanted: &Uplink| {
        observed.uplinks.get(card) != Some(wanted) || is_made_anew(&wanted.bridge)
    };
    let new = desired.uplinks.iter().filter(|(card, wanted)| comes(card, wanted));
    new.map(|(card, wanted)| Step::Enslave(card.clone(), wanted.clone())).collect()
}

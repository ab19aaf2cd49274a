//! Network cards that become ports of bridges.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_model::{Card, IfName};
use linkspan_plan::{CardFacts, Scope, Step, Uplink};

use super::Fake;

/// A network card of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FakeCard {
    /// What it was and has. Its routes are its own; its addresses are where they are now.
    pub facts: CardFacts,
    /// The bridge that it is a port of, which has its addresses.
    pub bridge: Option<IfName>,
}

impl Fake {
    /// The uplinks of `scope` as they are.
    pub(super) fn seen_uplinks(&self, scope: &Scope) -> BTreeMap<IfName, Uplink> {
        let seen = |(name, bridge): (&IfName, &IfName)| {
            let there = self.state.bridges.contains_key(bridge);
            let plugged = match self.cards.get(name) {
                Some(card) => card.bridge.as_ref() == Some(bridge),
                None if there => true,
                None => return None,
            };
            Some((
                name.clone(),
                Uplink { bridge: bridge.clone(), plugged, card: Card::default(), own: BTreeSet::new() },
            ))
        };
        scope.uplinks.iter().filter_map(seen).collect()
    }

    /// What a card has goes over to its bridge, and comes back but for what is the network's own; with a bridge that is
    /// deleted its addresses are gone, and what the record says is what there is.
    pub(super) fn plug(&mut self, step: &Step) {
        match step {
            Step::Enslave(name, uplink) => {
                let Some(card) = self.cards.get_mut(name) else { return };
                card.bridge = Some(uplink.bridge.clone());
                let mut moving = std::mem::take(&mut card.facts.card.addresses);
                if let Some(bridge) = self.state.bridges.get_mut(&uplink.bridge) {
                    if moving.is_empty() && bridge.addresses.is_empty() {
                        moving.clone_from(&uplink.card.addresses);
                    }
                    bridge.addresses.append(&mut moving);
                }
            }
            Step::Release(name, uplink) => {
                let Some(card) = self.cards.get_mut(name) else { return };
                card.bridge = None;
                if let Some(bridge) = self.state.bridges.get_mut(&uplink.bridge) {
                    card.facts
                        .card
                        .addresses
                        .extend(bridge.addresses.iter().filter(|net| !uplink.own.contains(net)));
                    bridge.addresses.retain(|net| uplink.own.contains(net));
                } else if card.facts.card.addresses.is_empty() {
                    card.facts.card.addresses.clone_from(&uplink.card.addresses);
                }
            }
            Step::DeleteBridge(name) => {
                let ports = self.cards.values_mut().filter(|card| card.bridge.as_ref() == Some(name));
                ports.for_each(|card| card.bridge = None);
            }
            _ => {}
        }
    }
}

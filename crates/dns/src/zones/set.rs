use std::{hash::Hash, net::IpAddr, sync::Arc};

use super::{Key, Map, Member, Network, Seat, Style, Zone, Zones};

impl Zones {
    /// Nothing yet.
    pub fn new(style: Style) -> Self {
        let style = match style {
            Style::Podman { suffixes, forward } => Style::Podman {
                suffixes: suffixes.iter().map(|s| s.trim_matches('.').to_ascii_lowercase()).collect(),
                forward,
            },
            Style::Sandboxes => Style::Sandboxes,
        };
        Self { style, networks: Map::new_sync(), containers: Map::new_sync(), addresses: Map::new_sync() }
    }

    /// Makes a network, or changes what holds for all of one.
    pub fn set_network(&mut self, name: &str, network: Network) {
        self.change(name, |zone| {
            zone.internal = network.internal;
            zone.servers = network.servers.into();
        });
    }

    /// Whether there is such a network.
    pub fn has_network(&self, name: &str) -> bool {
        self.networks.contains_key(name)
    }

    /// Removes a network with all its members.
    pub fn remove_network(&mut self, name: &str) {
        let on_it = |seats: &&Arc<Vec<Arc<Seat>>>| seats.iter().any(|seat| &*seat.network == name);
        let gone: Vec<Arc<str>> =
            self.containers.values().filter(on_it).map(|seats| Arc::clone(&seats[0].container)).collect();
        for container in gone {
            self.remove_member(name, &container);
        }
        self.networks.remove_mut(name);
    }

    /// Puts a container on a network, which is made if there is none of that name; if it is there, this replaces what
    /// was known of it.
    pub fn set_member(&mut self, network: &str, member: Member) {
        self.remove_member(network, &member.container);
        let (name, container) = (self.name_of(network), Arc::<str>::from(member.container));
        let seat = Arc::new(Seat {
            network: name,
            container: Arc::clone(&container),
            addresses: distinct(member.addresses),
            names: distinct(member.names),
            servers: member.servers.into(),
            links: member.links.iter().map(|link| (key(&link.alias), key(&link.target))).collect(),
        });
        for address in &seat.addresses {
            let known = self.addresses.get(address).is_some_and(|all| all.contains(&container));
            if !known {
                push(&mut self.addresses, *address, Arc::clone(&container));
            }
        }
        self.change(network, |zone| {
            for name in keys(&seat.names) {
                push(&mut zone.names, name, Arc::clone(&seat));
            }
            for address in &seat.addresses {
                push(&mut zone.addresses, *address, Arc::clone(&seat));
            }
        });
        push(&mut self.containers, container, seat);
    }

    /// Takes a container off a network.
    pub fn remove_member(&mut self, network: &str, container: &str) {
        let Some(seats) = self.containers.get(container) else { return };
        let Some(seat) = seats.iter().find(|seat| &*seat.network == network).cloned() else { return };
        pull(&mut self.containers, &seat.container, |other| Arc::ptr_eq(other, &seat));
        self.change(network, |zone| {
            for name in keys(&seat.names) {
                pull(&mut zone.names, &name, |other| Arc::ptr_eq(other, &seat));
            }
            for address in &seat.addresses {
                pull(&mut zone.addresses, address, |other| Arc::ptr_eq(other, &seat));
            }
        });
        for address in &seat.addresses {
            if !self.holds(container, address) {
                pull(&mut self.addresses, address, |other| &**other == container);
            }
        }
    }

    /// Whether a container has an address on any of its networks.
    fn holds(&self, container: &str, address: &IpAddr) -> bool {
        self.containers
            .get(container)
            .is_some_and(|seats| seats.iter().any(|seat| seat.addresses.contains(address)))
    }

    fn name_of(&self, network: &str) -> Arc<str> {
        self.networks.get_key_value(network).map_or_else(|| network.into(), |(name, _)| Arc::clone(name))
    }

    fn change(&mut self, network: &str, change: impl FnOnce(&mut Zone)) {
        if let Some(zone) = self.networks.get_mut(network) {
            return change(Arc::make_mut(zone));
        }
        let mut zone = Zone::default();
        change(&mut zone);
        self.networks.insert_mut(network.into(), Arc::new(zone));
    }
}

/// How a name is looked up: in lower case.
pub(super) fn key(name: &str) -> Key {
    name.trim_end_matches('.').to_ascii_lowercase().into_bytes().into()
}

fn keys(names: &[String]) -> Vec<Key> {
    distinct(names.iter().map(|name| key(name)).filter(|name| !name.is_empty()).collect())
}

fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut once = Vec::with_capacity(all.len());
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

fn push<K: Clone + Eq + Hash, V: Clone>(map: &mut Map<K, Arc<Vec<V>>>, key: K, value: V) {
    match map.get_mut(&key) {
        Some(all) => Arc::make_mut(all).push(value),
        None => {
            map.insert_mut(key, Arc::new(vec![value]));
        }
    }
}

fn pull<K: Clone + Eq + Hash, V: Clone>(map: &mut Map<K, Arc<Vec<V>>>, key: &K, gone: impl Fn(&V) -> bool) {
    let Some(all) = map.get_mut(key) else { return };
    let all = Arc::make_mut(all);
    all.retain(|value| !gone(value));
    if all.is_empty() {
        map.remove_mut(key);
    }
}

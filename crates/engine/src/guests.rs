//! What holds for all that a runtime's plugins attach to a network of theirs.

use std::collections::BTreeMap;

use linkspan_model::{BridgeOptions, Driver, Guests, Name, Network, OptionMap};
use linkspan_plan::{Kernel, Scope, State, desired, lacking};
use linkspan_store::{Mode, Object, Tx};

use crate::{Engine, Error, PATIENCE, now, random_id};

impl<K: Kernel> Engine<K> {
    /// Has `guests` hold from now on for what a runtime calls `network`, whoever made what is attached to it.
    ///
    /// # Errors
    /// If a network of another kind has the name, or the kernel refuses.
    pub fn hold(&mut self, network: &Name, guests: &Guests) -> Result<(), Error> {
        self.settle()?;
        let _network = self.store.lock(&Object::Network(network.clone()), Mode::Shared, PATIENCE)?;
        let (network, before) = self.store.write(|tx| {
            let network = own_network(tx, network)?;
            with_guests(tx, network, guests)
        })?;
        let former = self.outdated(&network, before)?;
        self.converge(desired::network(&network), &former)
    }

    /// What the firewall may hold for a network by what held `before` for its guests, and no longer.
    pub(crate) fn outdated(&mut self, network: &Network, before: Guests) -> Result<State, Error> {
        let of = |network: &Network| desired::network(network).firewall.unwrap_or_default();
        let mut former = of(&Network { guests: Some(before), ..network.clone() });
        let now = of(network);
        former.retain(|element| !now.contains(element));
        if former.is_empty() {
            return Ok(State::default());
        }
        let (others, _) = self.held_by_others(network)?;
        former.retain(|element| !others.contains(element));
        Ok(State { firewall: Some(former), ..State::default() })
    }

    /// What of `guests` does not hold any more for what a runtime calls `network`, in words.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn broken(&mut self, network: &Name, guests: &Guests) -> Result<Vec<String>, Error> {
        let Some(known) = self.network_of_guests(network)? else {
            return Ok(vec![format!("nothing is known of the network {network}")]);
        };
        let mut all = known.guests.clone().unwrap_or_default();
        if all.take_in(guests) {
            return Ok(vec![format!("the policies of the network {network} are not known")]);
        }
        let wanted = desired::network(&Network { guests: Some(guests.clone()), ..known });
        let found = self.kernel.observe(&Scope::of([&wanted]))?;
        Ok(lacking(&wanted, &found))
    }

    fn network_of_guests(&mut self, called: &Name) -> Result<Option<Network>, Error> {
        let own = |network: Option<Network>| network.filter(|network| network.guests.is_some());
        let other = second_name(called);
        self.store.read(|tx| Ok(own(tx.network(called.as_str())?).or(own(tx.network(&other)?))))
    }
}

/// What the record of a network is called if one of ours has its name.
fn second_name(called: &Name) -> String {
    format!("{called}.guests")
}

/// The record of a network whose plugins are a runtime's; made at its first use.
pub(crate) fn own_network(tx: &Tx<'_>, called: &Name) -> Result<Network, Error> {
    // One that is nearly as long as a name can be has no second.
    for name in [Some(called.clone()), second_name(called).parse().ok()].into_iter().flatten() {
        match tx.network(name.as_str())?.filter(|found| found.name == name) {
            Some(found) if found.guests.is_some() => return Ok(found),
            None if !Network::PREDEFINED.contains(&name.as_str()) => {
                let network = record(name)?;
                tx.insert_network(&network)?;
                return Ok(network);
            }
            _ => {}
        }
    }
    Err(Error::refused(format!("there is a network '{called}.guests' of another kind"))
        .hinting(format!("`linkspan network inspect {called}.guests` shows it")))
}

fn record(name: Name) -> Result<Network, Error> {
    Ok(Network {
        id: random_id()?,
        name,
        created: now(),
        driver: Driver::Plugins,
        internal: false,
        ipv6: false,
        ipam_driver: "plugins".to_owned(),
        ipam_options: OptionMap::new(),
        pools: Vec::new(),
        options: OptionMap::new(),
        bridge: BridgeOptions::default(),
        parent: None,
        labels: BTreeMap::new(),
        card: None,
        core: None,
        guests: Some(Guests::default()),
    })
}

/// The network with `more` for its guests, and what held for them before.
pub(crate) fn with_guests(
    tx: &Tx<'_>,
    mut network: Network,
    more: &Guests,
) -> Result<(Network, Guests), Error> {
    let before = network.guests.clone().unwrap_or_default();
    let mut guests = before.clone();
    if guests.take_in(more) {
        network.guests = Some(guests);
        tx.update_network(&network)?;
    }
    Ok((network, before))
}

//! What holds for all that a runtime's plugins attach to a network of theirs.

use linkspan_model::{Guests, Name, Network};
use linkspan_plan::{Kernel, Scope, State, desired, lacking};
use linkspan_store::{Mode, Object};

use crate::attachments::{own_network, second_name, with_guests};
use crate::{Engine, Error, PATIENCE};

impl<K: Kernel> Engine<K> {
    /// Has `guests` hold from now on for what a runtime calls `network`, whoever made what is attached to it.
    ///
    /// # Errors
    /// If a network of another kind has the name, or the kernel refuses.
    pub fn hold(&mut self, network: &Name, guests: &Guests) -> Result<(), Error> {
        self.settle()?;
        let _network = self.store.lock(&Object::Network(network.clone()), Mode::Shared, PATIENCE)?;
        let network = self.store.write(|tx| {
            let network = own_network(tx, network)?;
            with_guests(tx, network, guests)
        })?;
        self.converge(desired::network(&network), &State::default())
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

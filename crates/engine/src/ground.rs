//! What a runtime's network has made for all of its containers: it comes with the first of them and goes with the last.

use linkspan_model::Network;
use linkspan_plan::Kernel;
use linkspan_store::{Mode, Object, Tx};

use crate::networks::end_all;
use crate::{Engine, Error, PATIENCE};

/// What the journal calls it when nobody is on such a network any more.
pub const LEAVE: &str = "leave";

/// Notes which of `networks` go as nobody is on them any more, in the transaction in which their endpoints go; whether
/// there is any.
pub(crate) fn note_left<'a>(
    tx: &Tx<'_>,
    networks: impl IntoIterator<Item = &'a Network>,
) -> Result<bool, Error> {
    let mut left = false;
    for network in networks {
        if network.goes_with_the_last() && !tx.network_in_use(network.id)? {
            tx.begin(&Object::Network(network.name.clone()), LEAVE, "")?;
            left = true;
        }
    }
    Ok(left)
}

impl<K: Kernel> Engine<K> {
    /// Puts away networks that this command was the last to leave. The caller has no locks.
    pub(crate) fn put_left_away(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.has_left) {
            return Ok(());
        }
        for entry in self.store.read(|tx| tx.journal())?.iter().filter(|entry| entry.verb == LEAVE) {
            let Object::Network(name) = &entry.object else { continue };
            let _lock = self.store.lock(&entry.object, Mode::Exclusive, PATIENCE)?;
            let network = self.store.read(|tx| tx.network(name.as_str()))?;
            if let Some(network) = network.filter(|network| network.name == *name) {
                self.put_away(&network)?;
            }
        }
        Ok(())
    }

    /// Removes a network unless somebody is on it again. The caller has it alone.
    pub(crate) fn put_away(&mut self, network: &Network) -> Result<(), Error> {
        let object = Object::Network(network.name.clone());
        let goes = self.store.write(|tx| {
            if tx.network_by_id(network.id)?.is_none() || tx.network_in_use(network.id)? {
                end_all(tx, &object)?;
                return Ok(false);
            }
            tx.begin(&object, "remove", "")?;
            Ok::<_, Error>(true)
        })?;
        if goes { self.erase_network(network) } else { Ok(()) }
    }
}

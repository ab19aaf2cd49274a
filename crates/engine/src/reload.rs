//! The firewall, put back after somebody else has emptied it.

use linkspan_model::{Fixture, Name, Network};
use linkspan_plan::{Kernel, Scope, State, Step, diff};
use linkspan_store::{Mode, Object};

use crate::{Engine, Error, PATIENCE};

impl<K: Kernel> Engine<K> {
    /// Makes the firewall anew of what the store calls for, whatever is left of it: rules may be missing where the elements
    /// are not. It is one transaction, so nothing passes meanwhile that should not, and connections go on. Then come the ways
    /// through chains of others.
    ///
    /// # Errors
    /// If the store cannot be read, or the kernel refuses.
    pub fn reload_firewall(&mut self) -> Result<(), Error> {
        self.settle()?;
        if !self.store.read(|tx| tx.networks())?.iter().any(Network::needs_firewall) {
            return Ok(());
        }
        let _host = self.store.lock(&Object::Host, Mode::Exclusive, PATIENCE)?;
        let whole = self.lasting_state()?;
        let there = self.kernel.observe(&Scope::default())?.firewall.is_some();
        let mut steps: Vec<_> = there.then_some(Step::DeleteFirewall).into_iter().collect();
        let firewall = State { firewall: whole.firewall, ..State::default() };
        steps.extend(diff(&firewall, &State::default()));
        steps.extend(self.closed_ways(&whole.fixtures)?);
        self.apply(&steps)
    }

    /// The steps that open again what others' chains were to let pass.
    fn closed_ways(&mut self, fixtures: &[(Name, Fixture)]) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        for (namespace, fixture) in
            fixtures.iter().filter(|(_, fixture)| matches!(fixture, Fixture::Admitted(_)))
        {
            if !self.kernel.lacking(namespace, std::slice::from_ref(fixture))?.is_empty() {
                steps.push(Step::Fit(namespace.clone(), fixture.clone()));
            }
        }
        Ok(steps)
    }
}
